//! Claims on the cluster-wide limits per user, by one script.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::keys::Key;
use crate::BrokerError;
use crate::pace::{Claim, Grant};

impl RedisBroker {
    pub(crate) async fn claim(
        &self,
        claim: &Claim,
        deadline: Instant,
    ) -> Result<Grant, BrokerError> {
        let key = self.0.keys.pace(claim.kind.as_str(), claim.user.as_str());
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let ask = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.pace.call(&[Key::from(&key)]);
            call.arg(micros(claim.given));
            call.arg(micros(claim.cost)).arg(micros(claim.burst));
            call.invoke::<(bool, u64)>(connection).await
        };
        let (is_allowed, ahead) = self.0.link.call(deadline, ask).await?;
        Ok(Grant {
            is_allowed,
            ahead: Duration::from_micros(ahead),
        })
    }
}
