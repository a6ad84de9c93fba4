//! Tickets in Redis: one key each, which expires or is deleted when the ticket is used.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use crate::BrokerError;

impl RedisBroker {
    pub(crate) async fn keep_ticket(
        &self,
        digest: &str,
        content: &str,
        life: Duration,
    ) -> Result<(), BrokerError> {
        let key = self.0.keys.ticket(digest);
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        let keep = async |mut connection: MultiplexedConnection| {
            redis::cmd("SET")
                .arg(&key)
                .arg(content)
                .arg("PX")
                .arg(life)
                .exec_async(&mut connection)
                .await
        };
        self.0.link.call(self.deadline(), keep).await
    }

    pub(crate) async fn ticket(
        &self,
        digest: &str,
        once: bool,
    ) -> Result<Option<String>, BrokerError> {
        let key = self.0.keys.ticket(digest);
        let command = if once { "GETDEL" } else { "GET" };
        let find = async |mut connection: MultiplexedConnection| {
            redis::cmd(command)
                .arg(&key)
                .query_async(&mut connection)
                .await
        };
        self.0.link.call(self.deadline(), find).await
    }
}
