//! Digests of settings that are secret, or too long to compare as they are.

use std::fmt::Write;

use aws_lc_rs::hmac;

/// Bytes of a digest: enough that no two settings share one.
const BYTES: usize = 16;

/// Makes digests with the cluster's secret as their key. Without the key a digest says nothing; with it
/// a secret can be guessed no faster than from any token that the secret has signed.
pub(super) struct Digester(hmac::Key);

impl Digester {
    pub(super) fn new(cluster_secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, cluster_secret))
    }

    /// The digest of a text, in 32 hexadecimal digits.
    pub(super) fn digest(&self, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"hubbub settings\0");
        context.update(text.as_bytes());
        let tag = context.sign();
        let bytes = tag.as_ref().iter().take(BYTES);
        bytes.fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_key_and_text_and_shows_neither() {
        let (one, other) = (Digester::new(&[1; 32]), Digester::new(&[2; 32]));
        assert_eq!(one.digest("canary"), one.digest("canary"));
        assert_ne!(one.digest("canary"), other.digest("canary"));
        assert_ne!(one.digest("canary"), one.digest("canary2"));
        assert_eq!(one.digest("canary").len(), 32);
        assert!(!one.digest("canary").contains("canary"));
    }
}
