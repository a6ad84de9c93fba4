//! What users have taken of the cluster's limits: one script call for all of them.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use crate::pace::Claim;
use crate::BrokerError;

impl RedisBroker {
    pub(crate) async fn settle(
        &self,
        claims: &[Claim],
        deadline: Instant,
    ) -> Result<Vec<Duration>, BrokerError> {
        let settle = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.pace.prepare_invoke();
            for claim in claims {
                script.key(self.0.keys.pace(claim.kind.as_str(), claim.user.as_str()));
                script.arg(claim.taken);
                script.arg(u64::try_from(claim.interval.as_micros()).unwrap_or(u64::MAX));
            }
            let waits: Vec<u64> = script.invoke_async(&mut connection).await?;
            Ok(waits)
        };
        let waits = self.0.link.call(deadline, settle).await?;
        Ok(waits.into_iter().map(Duration::from_micros).collect())
    }
}
