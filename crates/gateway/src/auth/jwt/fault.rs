//! The fault of a token, in words for the person who sent it.

use std::borrow::Cow;

use jsonwebtoken::errors::{Error, ErrorKind};

/// A sentence for an error of the JWT library, which says the names of its own variants.
pub(super) fn words_of(error: &Error) -> Cow<'static, str> {
    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired".into(),
        ErrorKind::ImmatureSignature => {
            "the token is not valid yet: its 'nbf' is in the future".into()
        }
        ErrorKind::InvalidSignature => {
            "the token's signature does not fit: it was signed with another key, or changed".into()
        }
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => {
            "the token is signed with an algorithm that is not accepted here".into()
        }
        ErrorKind::InvalidIssuer => "the token's 'iss' is not the one expected here".into(),
        ErrorKind::InvalidAudience => "the token's 'aud' is not the one expected here".into(),
        ErrorKind::InvalidSubject => "the token's 'sub' is not the one expected here".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no '{claim}'").into(),
        ErrorKind::InvalidClaimFormat(claim) => {
            format!("the token's '{claim}' has another type than expected").into()
        }
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_) => "the token is no JWT, or a damaged one".into(),
        _ => format!("the token cannot be checked: {error}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_sentence_without_names_of_the_library() {
        for kind in [
            ErrorKind::InvalidToken,
            ErrorKind::InvalidSignature,
            ErrorKind::ExpiredSignature,
            ErrorKind::ImmatureSignature,
            ErrorKind::InvalidAlgorithm,
            ErrorKind::InvalidAudience,
            ErrorKind::MissingRequiredClaim("exp".to_owned()),
        ] {
            let name = format!("{kind:?}");
            let words = words_of(&Error::from(kind));
            assert!(
                words.starts_with("the token") && !words.contains(&name),
                "{words}"
            );
        }
    }
}
