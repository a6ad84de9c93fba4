//! A short keyed name for (sender, nonce), so that a nonce costs Redis 23 bytes and nobody can
//! make two nonces collide on purpose.

use std::hash::Hasher;

use hubbub_protocol::{Draft, Nonce, UserId};
use siphasher::sip128::{Hasher128, SipHasher24};

/// Bytes of a digest: 2^56 sends within 15 minutes make one false duplicate likely.
pub(crate) const DIGEST_BYTES: usize = 14;

/// The digest of one draft's sender and nonce.
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// The cluster's key for digests; the same on all nodes.
#[derive(Clone, Copy)]
pub(crate) struct DigestKey([u8; 16]);

impl DigestKey {
    /// Derives the key from the cluster's secret.
    pub(crate) fn derive(secret: &[u8; 32]) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&secret[..16]);
        let mut hasher = SipHasher24::new_with_key(&first);
        hasher.write(&secret[16..]);
        hasher.write(b"nonce digest");
        Self(hasher.finish128().as_bytes())
    }

    pub(crate) fn digest(&self, draft: &Draft) -> Digest {
        self.digest_of(&draft.from, &draft.nonce)
    }

    /// The length before the sender keeps ("ab", "c") apart from ("a", "bc").
    pub(crate) fn digest_of(&self, from: &UserId, nonce: &Nonce) -> Digest {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        let from = from.as_str();
        hasher.write_u64(from.len() as u64);
        hasher.write(from.as_bytes());
        hasher.write(nonce.as_str().as_bytes());
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&hasher.finish128().as_bytes()[..DIGEST_BYTES]);
        digest
    }

    /// The user and the address that pay for a room which begins with these drafts, as the publish
    /// script takes them; neither is readable. `- -`: nobody pays.
    pub(crate) fn payers(&self, drafts: &[Draft]) -> String {
        let first = drafts.first();
        let Some((draft, address)) = first.and_then(|draft| Some((draft, draft.address?))) else {
            return "- -".to_owned();
        };
        let name_of = |kind: u8, name: &[u8]| {
            let mut hasher = SipHasher24::new_with_key(&self.0);
            hasher.write_u8(kind);
            hasher.write(name);
            format!("{:016x}", hasher.finish128().h1)
        };
        let user = name_of(b'u', draft.from.as_str().as_bytes());
        format!("{user} {}", name_of(b'a', address.to_string().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubbub_protocol::MessageId;

    use super::*;

    fn draft(from: &str, nonce: &str) -> Draft {
        Draft {
            message: MessageId::generate(),
            from: UserId::new(from).unwrap(),
            nonce: Nonce::new(nonce).unwrap(),
            change: None,
            address: None,
            open: Bytes::new(),
        }
    }

    #[test]
    fn a_digest_depends_on_sender_nonce_and_key() {
        let key = DigestKey::derive(&[7; 32]);
        let digest = key.digest(&draft("ab", "c"));
        assert_eq!(digest, key.digest(&draft("ab", "c")));
        assert_ne!(digest, key.digest(&draft("a", "bc")));
        assert_ne!(
            digest,
            DigestKey::derive(&[8; 32]).digest(&draft("ab", "c"))
        );
    }

    #[test]
    fn whoever_has_an_address_pays() {
        let key = DigestKey::derive(&[7; 32]);
        let from = |user: &str, address: &str| {
            let address = address.parse().ok();
            key.payers(&[Draft {
                address,
                ..draft(user, "n")
            }])
        };
        assert_eq!(from("alice", ""), "- -");
        let (user, address) = from("alice", "10.0.0.1")
            .split_once(' ')
            .map(|(user, address)| (user.to_owned(), address.to_owned()))
            .unwrap();
        assert_eq!(from("alice", "10.0.0.1"), format!("{user} {address}"));
        assert!(from("bob", "10.0.0.1").ends_with(&format!(" {address}")));
        assert!(from("alice", "10.0.0.2").starts_with(&format!("{user} ")));
        assert_ne!(user, address);
    }
}
