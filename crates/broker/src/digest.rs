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
}
