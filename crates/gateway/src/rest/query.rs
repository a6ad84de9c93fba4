//! The parameters in a request's query string. Unknown names are ignored.

use axum::http::Uri;
use hubbub_protocol::id::OFFSET_LIMIT;

use crate::auth::bearer::query_without_token;
use crate::error::ApiError;

/// The names and values of a query string.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        query_without_token(uri).map(Self)
    }

    /// The value of a name, which may be given once.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        let first = found.next().map(|(_, value)| value.as_str());
        match found.next() {
            None => Ok(first),
            Some(_) => Err(ApiError::BadRequest(format!("give '{name}' only once"))),
        }
    }

    /// The values of a name that may be given often.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A whole number, `1e9` too; beyond what an offset can be it is the highest offset.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let (digits, zeros) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(digits) || !is_number(zeros) {
            let wrong = format!("'{name}' must be a whole number, 0 or more");
            return Err(ApiError::BadRequest(wrong));
        }
        let power = zeros
            .parse()
            .ok()
            .and_then(|zeros| 10_u64.checked_pow(zeros));
        let number = digits.parse().ok().zip(power);
        let number = number.and_then(|(digits, power): (u64, u64)| digits.checked_mul(power));
        Ok(Some(
            number.map_or(OFFSET_LIMIT, |number| number.min(OFFSET_LIMIT)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/x?{text}").parse().unwrap()).unwrap()
    }

    #[test]
    fn numbers_are_whole_and_given_once() {
        assert_eq!(query("a=5&b=x").number("a").unwrap(), Some(5));
        assert_eq!(query("b=x").number("a").unwrap(), None);
        let huge = "9".repeat(40);
        assert_eq!(
            query(&format!("a={huge}")).number("a").unwrap(),
            Some(OFFSET_LIMIT)
        );
        assert_eq!(query("a=1e9").number("a").unwrap(), Some(1_000_000_000));
        assert_eq!(query("a=1e999").number("a").unwrap(), Some(OFFSET_LIMIT));
        for bad in [
            "a=", "a=x", "a=e9", "a=1e", "a=1e-3", "a=-1", "a=+1", "a=1.5", "a=1&a=2", "a=0x1",
        ] {
            assert!(query(bad).number("a").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_refused() {
        for bad in ["token=x", "a=1&Access_Token=x", "jwt="] {
            assert!(
                Query::of(&format!("/x?{bad}").parse().unwrap()).is_err(),
                "{bad}"
            );
        }
    }
}
