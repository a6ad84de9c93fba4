//! A client's credentials when it connects to a namespace: the library's `auth`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::place::Return;

/// The parts of `auth` that mean something here; everything else is not even read.
#[derive(Default, Deserialize)]
pub(super) struct Credentials<'a> {
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    pid: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
    #[serde(borrow)]
    catch_up: Option<&'a RawValue>,
}

impl<'a> Credentials<'a> {
    /// Reads them; without `auth` nothing is said.
    ///
    /// # Errors
    /// A part stands there twice.
    pub(super) fn read(auth: Option<&'a str>) -> Result<Self, serde_json::Error> {
        auth.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }

    /// The token, if there is one.
    ///
    /// # Errors
    /// It is no text.
    pub(super) fn token(&self) -> Result<Option<String>, serde_json::Error> {
        let token = self.token.map(|token| serde_json::from_str(token.get()));
        token.transpose()
    }

    /// Whether the client wants to go on where it was.
    pub(super) fn catches_up(&self) -> bool {
        self.catch_up.is_none_or(|wanted| wanted.get() != "false")
    }

    /// Where the client was.
    pub(super) fn place(&self) -> Return {
        let text = |part: Option<&RawValue>| serde_json::from_str::<String>(part?.get()).ok();
        Return::read(text(self.pid).as_deref(), text(self.offset).as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_means_something_is_read() {
        let auth = r#"{"token":"t","catch_up":false,"x":[[{"":0}]],"pid":"p/5/e","offset":7}"#;
        let said = Credentials::read(Some(auth)).unwrap();
        assert_eq!(said.token().unwrap().as_deref(), Some("t"));
        assert!(!said.catches_up());
        assert_eq!(said.place().since.unwrap().to_string(), "e:5");
        for none in [
            None,
            Some("{}"),
            Some(r#"{"token":null,"catch_up":null,"pid":7}"#),
        ] {
            let said = Credentials::read(none).unwrap();
            assert!(said.token().unwrap().is_none() && said.catches_up());
            assert!(said.place().since.is_none());
        }
        let number = Credentials::read(Some(r#"{"token":7}"#)).unwrap();
        assert!(number.token().is_err());
        assert!(Credentials::read(Some(r#"{"token":"a","token":"b"}"#)).is_err());
    }
}
