//! The secret that signs a webhook's requests, by the Standard Webhooks scheme.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize, Serializer};

/// The prefix of a secret whose bytes are written in base64.
const PREFIX: &str = "whsec_";
const SHORTEST_TEXT: usize = 32;
const SHORTEST_BYTES: usize = 24;

/// A webhook's secret. It is never shown.
#[derive(Clone, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret as it stands in the settings.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The secret itself, for digests.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the key. The error says which form the secret must have.
    pub(crate) fn key(&self) -> Result<hmac::Key, &'static str> {
        let bytes = match self.0.strip_prefix(PREFIX) {
            None if self.0.len() < SHORTEST_TEXT => {
                return Err("secret: 32 bytes or more, or whsec_ and base64");
            }
            None => self.0.clone().into_bytes(),
            Some(text) => BASE64_STANDARD
                .decode(text)
                .ok()
                .filter(|bytes| bytes.len() >= SHORTEST_BYTES)
                .ok_or("secret: after whsec_ the base64 of 24 bytes or more")?,
        };
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// The value of the header `webhook-signature`. `timestamp` is in seconds since 1970.
pub(crate) fn signature(key: &hmac::Key, id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn a_signature_equals_the_example_of_standard_webhooks() {
        let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .key()
            .unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        assert!(Secret::new("short").key().is_err());
        assert!(Secret::new("whsec_c2hvcnQ=").key().is_err());
        assert!(
            Secret::new("whsec_no base64 at all, however long it may be")
                .key()
                .is_err()
        );
        assert!(Secret::new(&"x".repeat(32)).key().is_ok());
        assert_eq!(format!("{:?}", Secret::new("canary")), "(hidden)");
    }
}
