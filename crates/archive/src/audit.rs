//! The audit log of operators' commands, and the rules that they set where nothing else keeps them.

use serde::Serialize;

use crate::value::{to_i64, to_u64, values};
use crate::{Archive, ArchiveError};

/// One thing that somebody did, or was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number in the archive; 0 before it is there.
    pub id: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The owner of the key that was used.
    pub who: String,
    /// The address that the command came from.
    pub address: String,
    /// The command, such as `ban`.
    pub action: String,
    /// The user, room or message that it was about.
    pub target: String,
    /// The command's arguments, as JSON.
    pub detail: String,
    /// `ok`, or the code of the error.
    pub result: String,
}

/// A ban, mute or revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRule {
    /// There is one of a name.
    pub name: String,
    /// Its place among all orders.
    pub sequence: u64,
    /// Its end in milliseconds since 1970.
    pub until: Option<u64>,
    /// The rule, in the form that the node writes.
    pub body: String,
}

type AuditColumns = (i64, i64, String, String, String, String, String, String);

const NOTE: &str = "INSERT INTO audit (at, who, address, action, target, detail, result) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const LIST: &str = "SELECT id, at, who, address, action, target, detail, result FROM audit \
    WHERE id < $1 ORDER BY id DESC LIMIT $2";
const KEEP: &str = "INSERT INTO rules (name, sequence, ends, body) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, ends = excluded.ends, \
        body = excluded.body";

impl Archive {
    /// Keeps an entry; its `id` is not looked at.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn note_audit(&self, entry: &AuditEntry) -> Result<(), ArchiveError> {
        let values = values![
            entry.at,
            entry.who.as_str(),
            entry.address.as_str(),
            entry.action.as_str(),
            entry.target.as_str(),
            entry.detail.as_str(),
            entry.result.as_str(),
        ];
        self.write(vec![(NOTE, values)]).await
    }

    /// The newest entries before one, newest first.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn audit(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, ArchiveError> {
        let before = before.map_or(i64::MAX, to_i64);
        let rows = self.rows::<AuditColumns>(LIST, values![before, limit]);
        let rows = self.state().watch(rows).await?;
        let entry =
            |(id, at, who, address, action, target, detail, result): AuditColumns| AuditEntry {
                id: to_u64(id),
                at: to_u64(at),
                who,
                address,
                action,
                target,
                detail,
                result,
            };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Keeps a rule in place of that of its name, and lets go of those that were over before `now`.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn keep_rule(&self, rule: &KeptRule, now: u64) -> Result<(), ArchiveError> {
        let over = "DELETE FROM rules WHERE ends <= $1";
        let values = values![
            rule.name.as_str(),
            rule.sequence,
            rule.until.map(to_i64),
            rule.body.as_str(),
        ];
        self.write(vec![(over, values![now]), (KEEP, values)]).await
    }

    /// Lets go of a rule.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn drop_rule(&self, name: &str) -> Result<(), ArchiveError> {
        let sql = "DELETE FROM rules WHERE name = $1";
        self.write(vec![(sql, values![name])]).await
    }

    /// All rules that are not over.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn kept_rules(&self, now: u64) -> Result<Vec<KeptRule>, ArchiveError> {
        let sql = "SELECT name, sequence, ends, body FROM rules WHERE ends IS NULL OR ends > $1";
        let rows = self.rows::<(String, i64, Option<i64>, String)>(sql, values![now]);
        let rows = self.state().watch(rows).await?;
        let rule = |(name, sequence, until, body): (String, i64, Option<i64>, String)| KeptRule {
            name,
            sequence: to_u64(sequence),
            until: until.map(to_u64),
            body,
        };
        Ok(rows.into_iter().map(rule).collect())
    }

    async fn write(
        &self,
        statements: Vec<(&'static str, Vec<crate::value::Value>)>,
    ) -> Result<(), ArchiveError> {
        let write = async {
            let mut tx = self.begin().await?;
            for (sql, values) in statements {
                tx.run(sql, values).await?;
            }
            tx.commit().await
        };
        self.state().watch(write).await
    }
}
