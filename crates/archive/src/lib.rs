//! Long-term history. So far only its setting: this version keeps history in the broker's streams
//! and refuses to promise more.

use serde::{Deserialize, Serialize};

/// Section `archive`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveSection {
    /// Where the archive is; empty: there is none.
    pub url: String,
}

/// Why there can be no such archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// One file cannot serve many nodes.
    #[error("archive.url: sqlite cannot be used together with redis.url, use postgres://")]
    SqliteInCluster,
    /// A known form that this version has no code for.
    #[error("archive.url: {scheme}:// is not there yet, leave it empty")]
    NotYet {
        /// The form.
        scheme: &'static str,
    },
    /// No form that there will ever be.
    #[error("archive.url: expected sqlite://FILE, postgres://… or nothing")]
    BadUrl,
}

impl ArchiveSection {
    /// Checks the setting against whether there is a Redis.
    ///
    /// # Errors
    /// [`ArchiveError`] for every URL as yet: no archive is opened that would not be written.
    pub fn check(&self, with_redis: bool) -> Result<(), ArchiveError> {
        match self.url.split("://").next().unwrap_or_default() {
            "" => Ok(()),
            "sqlite" if with_redis => Err(ArchiveError::SqliteInCluster),
            "sqlite" => Err(ArchiveError::NotYet { scheme: "sqlite" }),
            "postgres" | "postgresql" => Err(ArchiveError::NotYet { scheme: "postgres" }),
            _ => Err(ArchiveError::BadUrl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_no_archive_is_accepted_and_the_rest_says_why() {
        let check = |url: &str, with_redis| {
            ArchiveSection {
                url: url.to_owned(),
            }
            .check(with_redis)
        };
        assert_eq!(check("", true), Ok(()));
        assert_eq!(
            check("sqlite://hubbub.db", true),
            Err(ArchiveError::SqliteInCluster)
        );
        assert_eq!(
            check("postgres://db/chat", true),
            Err(ArchiveError::NotYet { scheme: "postgres" })
        );
        assert_eq!(check("hubbub.db", false), Err(ArchiveError::BadUrl));
    }
}
