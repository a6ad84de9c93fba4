//! The audit log: each operator's command as a log line and a row in the archive. Also the storage
//! of rules for a single node without Redis, which can keep them only in the archive.

use hubbub_archive::{AuditEntry, KeptRule};
use hubbub_broker::Broker;
use hubbub_outage::Outage;
use hubbub_protocol::order::Effect;
use hubbub_protocol::{Issued, Order};

use super::rules::now_ms;
use crate::error::CommandError;
use crate::node::Node;

/// Operators' commands that the archive did not record.
static UNNOTED: Outage = Outage::new();

impl Node {
    /// Records an operator's command. Returns whether the archive has it; false if there is no
    /// archive.
    pub async fn audit(&self, entry: &AuditEntry) -> bool {
        let AuditEntry {
            who,
            address,
            action,
            target,
            detail,
            result,
            ..
        } = entry;
        tracing::info!(
            target: "hubbub::audit",
            who, address, action, about = target, detail, result, node = %self.id(), "audit"
        );
        let Some(archive) = &self.archive else {
            return false;
        };
        let kept = archive.note_audit(entry).await;
        if let Err(error) = &kept
            && let Some(now) = UNNOTED.fail(error)
        {
            tracing::warn!(%error, action, failures = now.failures,
                "the archive did not record an operator's command");
        }
        kept.is_ok()
    }

    /// The operators' commands, newest first: those before an entry's ID, or the newest.
    ///
    /// # Errors
    /// [`CommandError::NoArchive`], or the archive's present failure.
    pub async fn audited(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, CommandError> {
        let archive = self.needed_archive()?;
        let entries = archive.audit(before, limit).await;
        entries.map_err(CommandError::of_archive)
    }

    /// Stores or removes the order's rule in the archive. Without Redis, no other storage outlives
    /// the process.
    pub(super) async fn keep_rule(&self, issued: &Issued) {
        let (Broker::Memory(_), Some(archive), Some(name)) =
            (&self.broker, &self.archive, issued.order.key())
        else {
            return;
        };
        let kept = match issued.order.effect() {
            Effect::Lasting => {
                let rule = KeptRule {
                    name,
                    sequence: issued.sequence,
                    until: issued.until,
                    body: serde_json::to_string(&issued.order).expect("plain enums serialize"),
                };
                archive.keep_rule(&rule, now_ms()).await
            }
            Effect::Lifting => archive.drop_rule(&name).await,
            Effect::Passing => Ok(()),
        };
        if let Err(error) = kept {
            tracing::error!(%error, "cannot store a rule in the archive, it ends with this process");
        }
    }

    /// Gives the broker the rules that an earlier process has stored.
    pub(super) async fn restore_rules(&self) {
        let (Broker::Memory(broker), Some(archive)) = (&self.broker, &self.archive) else {
            return;
        };
        let kept = match archive.kept_rules(now_ms()).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "cannot read the stored rules, they do not hold");
                return;
            }
        };
        let read = |rule: KeptRule| {
            Some(Issued {
                sequence: rule.sequence,
                until: rule.until,
                order: serde_json::from_str::<Order>(&rule.body).ok()?,
            })
        };
        let rules = broker.restore(kept.into_iter().filter_map(read).collect());
        self.rules.replace(rules);
        self.obey_rules();
    }
}
