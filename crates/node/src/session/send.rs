//! `send`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::command::{Body, RequestId};
use hubbub_protocol::{CloseCode, Draft, Nonce, RoomId};

use super::{Pace, Session};
use crate::error::CommandError;
use crate::outbox::DueAnswer;
use crate::publisher::Pending;
use crate::rate::Verdict;

/// What a client is told that is closed for flooding.
const FLOOD_RETRY: Duration = Duration::from_secs(1);

impl Session {
    /// Hands the message to the publisher, which answers it.
    pub(super) async fn send(
        &mut self,
        id: Option<RequestId>,
        room: &RoomId,
        nonce: Option<Nonce>,
        body: Body,
    ) -> Result<(), CommandError> {
        let membership = self.membership(room)?;
        if !membership.rights.write {
            return Err(CommandError::Forbidden);
        }
        let typing = membership.typing.clone();
        let limits = &self.node.config.limits;
        let (bytes, limit) = (body.len(), limits.body_bytes.as_u64());
        if bytes as u64 > limit {
            return Err(CommandError::TooLarge { bytes, limit });
        }
        self.node.config.failpoints.in_session(nonce.as_ref());
        // A little early, so that the answer is there when the time is over.
        let deadline = Instant::now() + limits.send_timeout.mul_f64(0.95);
        self.check_rate(Pace::Sends)?;
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        self.node.metrics.messages_in.inc();
        let pending = Pending {
            id,
            draft: Draft::message(room, &self.identity.user, nonce, &body),
            body,
            answer: DueAnswer::new(&self.outbox),
            deadline,
            may_be_stored: false,
            _permit: permit,
        };
        if let Some(typing) = typing {
            typing.end();
        }
        self.node.publish(room, pending);
        Ok(())
    }

    pub(super) fn check_rate(&mut self, pace: Pace) -> Result<(), CommandError> {
        let rate = match pace {
            Pace::Sends => &mut self.send_rate,
            Pace::Questions => &mut self.question_rate,
        };
        let wait = match rate.take(Instant::now()) {
            Verdict::Allowed => return Ok(()),
            Verdict::TooFast(wait) => wait,
            Verdict::Flooding => {
                self.close(CloseCode::Flooding);
                FLOOD_RETRY
            }
        };
        let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Err(CommandError::RateLimited { retry_after_ms })
    }
}
