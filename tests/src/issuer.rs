//! An issuer that signs tokens with its own key pair, as an identity provider does.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::people::now;

/// A key pair and its key ID.
#[derive(Clone)]
pub struct Issuer {
    /// The only algorithm of the key.
    pub algorithm: Algorithm,
    /// The key ID, in tokens and in key sets.
    pub kid: String,
    /// The public key as PEM, `-----BEGIN PUBLIC KEY-----`.
    pub public_pem: String,
    /// The private key as PEM, `-----BEGIN PRIVATE KEY-----`.
    pub private_pem: String,
    key: EncodingKey,
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

impl Issuer {
    /// An issuer with a new RSA key of 2048 bits.
    ///
    /// # Panics
    /// Panics if the system has no random bytes.
    #[must_use]
    pub fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("the key can be encoded");
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .expect("the key can be encoded");
        let (private, public) = (pem("PRIVATE KEY", private.as_ref()), public);
        let key = EncodingKey::from_rsa_pem(private.as_bytes()).expect("a key");
        Self::new(kid, Algorithm::RS256, key, public.as_ref(), private)
    }

    /// An issuer with a new P-256 key.
    ///
    /// # Panics
    /// Panics if the system has no random bytes.
    #[must_use]
    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let private = pair.to_pkcs8v1().expect("the key can be encoded");
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .expect("the key can be encoded");
        let private = pem("PRIVATE KEY", private.as_ref());
        let key = EncodingKey::from_ec_pem(private.as_bytes()).expect("a key");
        Self::new(kid, Algorithm::ES256, key, public.as_ref(), private)
    }

    /// An issuer with a new Ed25519 key.
    ///
    /// # Panics
    /// Panics if the system has no random bytes.
    #[must_use]
    pub fn ed(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let private = pair.to_pkcs8v1().expect("the key can be encoded");
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .expect("the key can be encoded");
        let private = pem("PRIVATE KEY", private.as_ref());
        let key = EncodingKey::from_ed_pem(private.as_bytes()).expect("a key");
        Self::new(kid, Algorithm::EdDSA, key, public.as_ref(), private)
    }

    fn new(
        kid: &str,
        algorithm: Algorithm,
        key: EncodingKey,
        public: &[u8],
        private_pem: String,
    ) -> Self {
        Self {
            algorithm,
            kid: kid.to_owned(),
            public_pem: pem("PUBLIC KEY", public),
            private_pem,
            key,
        }
    }

    /// The public key as a JSON Web Key.
    ///
    /// # Panics
    /// Panics if the key has no such form.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("it serializes");
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// A token for this user that is valid for ten minutes.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        self.sign(&json!({"sub": user, "exp": now() + 600}))
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        self.sign_with(&header, claims)
    }

    /// A token with a custom header.
    ///
    /// # Panics
    /// Panics if the header names another algorithm.
    #[must_use]
    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).expect("the claims can be signed")
    }
}
