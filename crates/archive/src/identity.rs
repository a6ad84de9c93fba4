//! Identity: what tells an archive from another one, and which cluster it belongs to.

use std::time::Duration;

use crate::archive::Pair;
use crate::value::values;
use crate::{Archive, ArchiveError};

/// A cluster lives on while one of its nodes has said so within this time.
const LIFE: Duration = Duration::from_secs(10);

/// An archive's own ID, and its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Made when the schema is created, and never changed.
    pub id: String,
    /// The cluster that the archive belongs to; `None`: none yet.
    pub owner: Option<Owner>,
}

/// The cluster that an archive belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The cluster's ID.
    pub cluster: String,
    /// The ID of the Redis data that its nodes use.
    pub home: String,
    /// Whether a node of it has said within 10 s that it lives.
    pub is_alive: bool,
}

type Columns = (String, Option<String>, Option<String>, bool);

/// The clocks of the two databases, in milliseconds since 1970.
const READ: Pair = Pair {
    sqlite: "SELECT id, cluster, home, \
        seen > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - $1 FROM identity",
    postgres: "SELECT id, cluster, home, \
        seen > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - $1 FROM identity",
};
const CLAIM: Pair = Pair {
    sqlite: "UPDATE identity SET cluster = $1, home = $2, \
            seen = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) \
        WHERE cluster IS NULL OR cluster = $1 AND (home = $2 OR \
            seen <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - $3)",
    postgres: "UPDATE identity SET cluster = $1, home = $2, \
            seen = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) \
        WHERE cluster IS NULL OR cluster = $1 AND (home = $2 OR \
            seen <= CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - $3)",
};
const RELEASE: Pair = Pair {
    sqlite: "UPDATE identity SET cluster = NULL, home = NULL, seen = 0 WHERE \
        seen <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - $1",
    postgres: "UPDATE identity SET cluster = NULL, home = NULL, seen = 0 WHERE \
        seen <= CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - $1",
};

impl Archive {
    /// The archive's ID and its cluster.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn identity(&self) -> Result<Identity, ArchiveError> {
        let rows = self.rows::<Columns>(READ, values![milliseconds(LIFE)]);
        let row = self.state().watch(rows).await?.pop();
        let (id, cluster, home, is_alive) =
            row.ok_or(ArchiveError::BadRow("the archive's identity"))?;
        let owner = cluster.zip(home).map(|(cluster, home)| Owner {
            cluster,
            home,
            is_alive,
        });
        Ok(Identity { id, owner })
    }

    /// Says that the archive belongs to this cluster, and that the cluster lives with the Redis data
    /// `home`. Whether that is so: the archive may belong to another cluster, or this one may live with
    /// other Redis data. Repeated calls keep the claim.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn claim(&self, cluster: &str, home: &str) -> Result<bool, ArchiveError> {
        self.change(CLAIM, values![cluster, home, milliseconds(LIFE)])
            .await
    }

    /// Says that a node of this cluster has ended. If no other node lives, the cluster may come back at
    /// once with other Redis data.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn rest(&self, cluster: &str, home: &str) -> Result<(), ArchiveError> {
        let sql = "UPDATE identity SET seen = 0 WHERE cluster = $1 AND home = $2";
        self.change(sql, values![cluster, home]).await?;
        Ok(())
    }

    /// Takes the archive from its cluster, so that the next one may claim it. Whether that was
    /// possible: not while a node of the cluster lives.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn release(&self) -> Result<bool, ArchiveError> {
        self.change(RELEASE, values![milliseconds(LIFE)]).await
    }

    async fn change(
        &self,
        sql: impl Into<Pair>,
        values: Vec<crate::value::Value>,
    ) -> Result<bool, ArchiveError> {
        let write = async {
            let mut tx = self.begin().await?;
            let rows = tx.run(sql, values).await?;
            tx.commit().await?;
            Ok(rows > 0)
        };
        self.state().watch(write).await
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("seconds fit")
}
