//! Section `archive`: where long-term history is kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;

use crate::ArchiveError;

/// Section `archive`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveSection {
    /// Where the archive is: `sqlite://FILE`, `postgres://…`; empty: there is none.
    pub url: String,
    /// Connections to the database that one node holds at most.
    pub pool: u32,
    /// How long one statement may take or wait for a lock. A call as a whole ends within twice that.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Connections for searches that one node holds at most, beside `pool`: so many run at once.
    pub search_pool: u32,
    /// How long one search may take, and how long it may wait for its turn before.
    #[serde(with = "humantime_serde")]
    pub search_timeout: Duration,
}

/// The database that a URL names.
pub(crate) enum Place {
    Nowhere,
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

impl Default for ArchiveSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            pool: 8,
            statement_timeout: Duration::from_secs(5),
            search_pool: 2,
            search_timeout: Duration::from_secs(2),
        }
    }
}

impl ArchiveSection {
    /// Checks the setting against whether there is a Redis.
    ///
    /// # Errors
    /// [`ArchiveError::SqliteInCluster`], or [`ArchiveError::BadUrl`] and [`ArchiveError::BadSetting`]
    /// for what can never work.
    pub fn check(&self, with_redis: bool) -> Result<(), ArchiveError> {
        if self.pool == 0 {
            return Err(ArchiveError::BadSetting("archive.pool must be at least 1"));
        }
        if self.statement_timeout < Duration::from_millis(1) {
            return Err(ArchiveError::BadSetting(
                "archive.statement_timeout must be at least 1ms",
            ));
        }
        if self.search_pool == 0 {
            return Err(ArchiveError::BadSetting(
                "archive.search_pool must be at least 1",
            ));
        }
        if self.search_timeout < Duration::from_millis(1) {
            return Err(ArchiveError::BadSetting(
                "archive.search_timeout must be at least 1ms",
            ));
        }
        match self.place()? {
            Place::File(_) if with_redis => Err(ArchiveError::SqliteInCluster),
            Place::Nowhere | Place::File(_) | Place::Server(_) => Ok(()),
        }
    }

    pub(crate) fn place(&self) -> Result<Place, ArchiveError> {
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return match self.url.as_str() {
                "" => Ok(Place::Nowhere),
                _ => Err(ArchiveError::BadUrl),
            };
        };
        match scheme {
            // A question mark would be read as options, and each connection to `:memory:` would
            // have a database of its own.
            "sqlite" if rest.is_empty() || rest.contains(['?', '#']) || rest == ":memory:" => {
                Err(ArchiveError::BadUrl)
            }
            "sqlite" => Ok(Place::File(rest.into())),
            "postgres" | "postgresql" => {
                let options =
                    PgConnectOptions::from_str(&self.url).map_err(|_| ArchiveError::BadUrl)?;
                check_files(rest)?;
                Ok(Place::Server(Box::new(options)))
            }
            _ => Err(ArchiveError::BadUrl),
        }
    }
}

/// A file that is not there would be told at each connection only, and without its name.
fn check_files(url: &str) -> Result<(), ArchiveError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (key, problem) in [
        (
            "sslrootcert",
            "archive.url: the file of sslrootcert is not there",
        ),
        ("sslcert", "archive.url: the file of sslcert is not there"),
        ("sslkey", "archive.url: the file of sslkey is not there"),
    ] {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut paths = pairs.filter(|(name, path)| *name == key && path.starts_with('/'));
        if paths.any(|(_, path)| !path.contains('%') && !Path::new(path).exists()) {
            return Err(ArchiveError::BadSetting(problem));
        }
    }
    Ok(())
}

/// Without the URL's password.
impl fmt::Debug for ArchiveSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self.url.split_once("://") {
            Some((scheme, rest)) => match rest.rsplit_once('@') {
                Some((_, place)) => format!("{scheme}://…@{place}"),
                None => self.url.clone(),
            },
            None => self.url.clone(),
        };
        // A password may stand in the query too.
        let url = url.split('?').next().unwrap_or_default();
        f.debug_struct("ArchiveSection")
            .field("url", &url)
            .field("pool", &self.pool)
            .field("statement_timeout", &self.statement_timeout)
            .field("search_pool", &self.search_pool)
            .field("search_timeout", &self.search_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(url: &str) -> ArchiveSection {
        ArchiveSection {
            url: url.to_owned(),
            ..ArchiveSection::default()
        }
    }

    #[test]
    fn a_url_names_a_file_a_server_or_nothing() {
        let check =
            |url: &str, with_redis| section(url).check(with_redis).map_err(|e| e.to_string());
        for (url, with_redis) in [
            ("", true),
            ("", false),
            ("sqlite://hubbub.db", false),
            ("sqlite:///var/lib/hubbub.db", false),
            ("postgres://db/chat", true),
            ("postgresql://u:p@db:5433/chat?sslmode=require", false),
        ] {
            assert_eq!(check(url, with_redis), Ok(()), "{url}");
        }
        for url in [
            "hubbub.db",
            "sqlite://",
            "sqlite://:memory:",
            "sqlite://a.db?mode=memory",
            "mysql://h/db",
            "postgres://h:port/db",
            "postgres://h/db?sslmode=perhaps",
            "postgres://h/db?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        ] {
            let error = check(url, false).unwrap_err();
            assert!(error.contains("archive.url"), "{url}: {error}");
        }
        let error = check("sqlite://hubbub.db", true).unwrap_err();
        assert!(error.contains("redis"), "{error}");
    }

    #[test]
    fn a_password_is_not_shown() {
        for url in [
            "postgres://u:hunter2@db/chat",
            "postgres://u:hun@ter2@db/chat",
            "postgres://db/chat?password=hunter2",
        ] {
            let shown = format!("{:?}", section(url));
            assert!(!shown.contains("ter2"), "{shown}");
        }
        let error = section("postgres://u:hunter2@db:x/chat").check(true);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
