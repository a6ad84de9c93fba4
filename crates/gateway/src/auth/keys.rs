//! The keys that prove tokens, and the one that signs them. A key is good for the algorithms that belong
//! to it, whatever a token's header says.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};

use crate::config::AuthSection;

/// Clocks may differ by so much.
pub(super) const LEEWAY_SECONDS: u64 = 5;
/// The most keys in `auth.public_key`: each is tried.
const MAX_PUBLIC_KEYS: usize = 8;
/// RSA keys of other sizes are not used.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
const P256_BYTES: usize = 32;

/// Why a setting holds no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It names a file, or is a key in some other form, which is not to be shown.
    #[error("{setting}: neither PEM nor the path of a file that can be read: {source}")]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Something else than keys.
    #[error("{setting}: expected {expected} in PEM, or the path of a file that holds it")]
    Expected {
        /// The setting.
        setting: &'static str,
        /// The content that it must have.
        expected: &'static str,
    },
    /// A key that nobody else should have.
    #[error("auth.public_key holds a private key: that belongs into auth.private_key, if anywhere")]
    Private,
    /// Too many.
    #[error("auth.public_key holds more than {MAX_PUBLIC_KEYS} keys")]
    TooMany,
    /// Not used here.
    #[error(
        "{0}: only RSA keys of 2048 to 8192 bits (RS256), keys on P-256 (ES256) and Ed25519 (EdDSA) \
         are used"
    )]
    Unsupported(&'static str),
}

/// Checks tokens, with its own algorithms only.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
}

/// Signs tokens.
pub(super) struct Signer {
    pub(super) encoding: EncodingKey,
    pub(super) algorithm: Algorithm,
}

/// The claims that every token must have, whichever key proves it.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
}

impl Rules {
    pub(super) fn new(section: &AuthSection) -> Self {
        Self {
            issuer: section.issuer.clone(),
            audience: section.audience.clone(),
        }
    }

    fn validation(&self, algorithms: &[Algorithm]) -> Validation {
        let mut validation = Validation::new(algorithms[0]);
        validation.algorithms = algorithms.to_vec();
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.validate_aud = !self.audience.is_empty();
        let mut required = vec!["exp", "sub"];
        if !self.issuer.is_empty() {
            validation.set_issuer(&[&self.issuer]);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&[&self.audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl Key {
    pub(super) fn of_secret(secret: &[u8], rules: &Rules) -> Self {
        let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        Self {
            decoding: DecodingKey::from_secret(secret),
            validation: rules.validation(&algorithms),
        }
    }

    /// `None`: no key that is used here.
    pub(super) fn of_jwk(jwk: &Jwk, rules: &Rules) -> Option<Self> {
        let algorithm = algorithm_of(jwk)?;
        Some(Self {
            decoding: DecodingKey::from_jwk(jwk).ok()?,
            validation: rules.validation(&[algorithm]),
        })
    }

    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.validation.algorithms.contains(&algorithm)
    }
}

/// The one algorithm that a public key is used for. A secret that calls itself public is none.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = bytes(&rsa.n)?;
            let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
            RSA_BITS
                .contains(&((modulus.len() - zeros) * 8))
                .then_some(Algorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            let is_full = |text| bytes(text).is_some_and(|bytes| bytes.len() == P256_BYTES);
            (is_full(&ec.x) && is_full(&ec.y)).then_some(Algorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(ed) if ed.curve == EllipticCurve::Ed25519 => {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    }
}

/// The keys of `auth.public_key`: PEM, or the path of a file with it.
pub(super) fn public_keys(setting: &str, rules: &Rules) -> Result<Vec<Key>, KeyError> {
    const SETTING: &str = "auth.public_key";
    let text = text_or_file(SETTING, setting)?;
    let blocks = blocks(&text);
    if blocks.iter().any(|block| block.is_private()) {
        return Err(KeyError::Private);
    }
    if blocks.len() > MAX_PUBLIC_KEYS {
        return Err(KeyError::TooMany);
    }
    if blocks.is_empty()
        || !blocks
            .iter()
            .all(|block| block.label.ends_with("PUBLIC KEY"))
    {
        return Err(KeyError::Expected {
            setting: SETTING,
            expected: "public keys (-----BEGIN PUBLIC KEY-----)",
        });
    }
    let keys = blocks.iter().map(|block| public_key(block.text, rules));
    let keys: Option<Vec<_>> = keys.collect();
    keys.ok_or(KeyError::Unsupported(SETTING))
}

fn public_key(pem: &str, rules: &Rules) -> Option<Key> {
    let pem = pem.as_bytes();
    let decoding = DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_ed_pem(pem))
        .ok()?;
    Key::of_jwk(&Jwk::from_decoding_key(&decoding, None).ok()?, rules)
}

/// The key of `auth.private_key`, and the one that checks what it signs.
pub(super) fn private_key(setting: &str, rules: &Rules) -> Result<(Signer, Key), KeyError> {
    const SETTING: &str = "auth.private_key";
    let text = text_or_file(SETTING, setting)?;
    let blocks = blocks(&text);
    match blocks.as_slice() {
        // The form of `openssl ecparam -genkey`, which says more than the key.
        [block] if block.is_private() && block.label != "EC PRIVATE KEY" => {
            signer(block.text, rules).ok_or(KeyError::Unsupported(SETTING))
        }
        _ => Err(KeyError::Expected {
            setting: SETTING,
            expected: "one private key (-----BEGIN PRIVATE KEY-----, as `openssl pkcs8 -topk8 \
                       -nocrypt` writes it)",
        }),
    }
}

fn signer(pem: &str, rules: &Rules) -> Option<(Signer, Key)> {
    let pem = pem.as_bytes();
    let rsa = EncodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256));
    let (encoding, algorithm) = rsa
        .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256)))
        .or_else(|_| EncodingKey::from_ed_pem(pem).map(|key| (key, Algorithm::EdDSA)))
        .ok()?;
    let key = Key::of_jwk(&Jwk::from_encoding_key(&encoding, algorithm).ok()?, rules)?;
    let signer = Signer {
        encoding,
        algorithm,
    };
    key.is_for(algorithm).then_some((signer, key))
}

/// The keys of `auth.public_key` as they are written, each in one text without white space, so that
/// nodes can compare them.
#[must_use]
pub fn public_key_blocks(section: &AuthSection) -> Vec<String> {
    if section.public_key.is_empty() {
        return Vec::new();
    }
    // A file that cannot be read was refused at the start.
    let text = text_or_file("auth.public_key", &section.public_key).unwrap_or_default();
    let without_space = |block: &Block<'_>| block.text.split_whitespace().collect();
    blocks(&text).iter().map(without_space).collect()
}

fn text_or_file(setting: &'static str, value: &str) -> Result<String, KeyError> {
    if value.contains("-----BEGIN") {
        return Ok(value.to_owned());
    }
    std::fs::read_to_string(value).map_err(|source| KeyError::Unreadable { setting, source })
}

/// One block of PEM.
struct Block<'a> {
    label: &'a str,
    text: &'a str,
}

impl Block<'_> {
    fn is_private(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    const BEGIN: &str = "-----BEGIN ";
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let block = |(start, end): (&usize, usize)| {
        let text = &text[*start..end];
        let label = text[BEGIN.len()..].split("-----").next()?;
        Some(Block { label, text })
    };
    starts.iter().zip(ends).filter_map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::new(&AuthSection::default())
    }

    fn refusal(setting: &str) -> String {
        let public = public_keys(setting, &rules()).err();
        public.expect("it is no key").to_string()
    }

    fn jwk(json: &str) -> Option<Algorithm> {
        algorithm_of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn nonsense_is_refused_by_what_it_is() {
        let missing = refusal("/nowhere/key.pem");
        assert!(missing.contains("auth.public_key") && missing.contains("No such file"));
        assert!(!missing.contains("nowhere"), "it may be a key: {missing}");
        assert!(
            refusal("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----")
                .contains("expected public keys")
        );
        assert!(
            refusal("-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----")
                .contains("private key")
        );
        let rubbish = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n";
        assert!(refusal(rubbish).contains("only RSA keys"));
        assert!(refusal(&rubbish.repeat(9)).contains("more than 8"));
        let private = private_key(rubbish, &rules()).err().expect("it is public");
        assert!(private.to_string().contains("auth.private_key"));
    }

    #[test]
    fn a_key_has_one_algorithm_or_is_not_used() {
        let rsa = |bytes: usize| {
            let modulus = URL_SAFE_NO_PAD.encode(vec![0xc3; bytes]);
            jwk(&format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB"}}"#))
        };
        assert_eq!(rsa(256), Some(Algorithm::RS256));
        assert_eq!((rsa(128), rsa(2_048)), (None, None));
        let ec = |curve: &str, bytes: usize| {
            let x = URL_SAFE_NO_PAD.encode(vec![7; bytes]);
            jwk(&format!(
                r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{x}"}}"#
            ))
        };
        assert_eq!(ec("P-256", 32), Some(Algorithm::ES256));
        assert_eq!((ec("P-256", 31), ec("P-384", 48)), (None, None));
        assert_eq!(jwk(r#"{"kty":"oct","k":"AAAA"}"#), None);
        assert_eq!(jwk(r#"{"kty":"new","k":"AAAA"}"#), None);
    }
}
