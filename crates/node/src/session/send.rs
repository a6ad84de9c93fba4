//! `send`, and handing what is to be stored to the publisher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::command::{Body, RequestId, Terms};
use hubbub_protocol::{AckLevel, CloseCode, Draft, RoomId};

use super::{Pace, Session};
use crate::alteration::check_size;
use crate::error::CommandError;
use crate::outbox::DueAnswer;
use crate::publisher::{Answer, Pending};
use crate::token_bucket::Verdict;

/// The pause that a client is told when it is closed for flooding.
const FLOOD_RETRY: Duration = Duration::from_secs(1);

impl Session {
    pub(super) async fn send(
        &mut self,
        id: Option<RequestId>,
        room: &RoomId,
        terms: Terms,
        body: Body,
    ) -> Result<(), CommandError> {
        let membership = self.membership(room).await?;
        if !membership.rights.write {
            return Err(CommandError::Forbidden);
        }
        let typing = membership.typing.clone();
        let is_busy = membership.room.is_busy();
        self.node.check_mute(&self.identity.user.id, room)?;
        check_size(&body, self.node.config.limits.body_bytes.as_u64())?;
        let failpoints = self.node.config.failpoints;
        failpoints.in_session(terms.nonce.as_ref());
        if let Some(task) = failpoints.in_task(terms.nonce.as_ref()) {
            self.node.supervisor.make_panic(task);
        }
        let deadline = self.node.send_deadline();
        self.check_user_sends().await?;
        if let Some(typing) = typing {
            typing.end();
        }
        self.node.metrics.messages_in.inc();
        self.may_rest = is_busy;
        let draft = Draft::message(room, &self.identity.user, terms.nonce, &body);
        self.publish(id, room, draft, terms.ack, deadline).await
    }

    /// Hands an event to the publisher, which answers it. Waits while too many are on their way.
    pub(super) async fn publish(
        &mut self,
        id: Option<RequestId>,
        room: &RoomId,
        draft: Draft,
        ack: Option<AckLevel>,
        deadline: Instant,
    ) -> Result<(), CommandError> {
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let draft = draft.paid_by(self.node.payer_of(room, self.address));
        let least = self.node.config.ack.level;
        let pending = Pending {
            draft,
            ack: ack.map_or(least, |ack| ack.max(least)),
            answer: Answer::Session {
                id,
                due: DueAnswer::new(&self.outbox),
                _permit: permit,
            },
            deadline,
            may_be_stored: false,
        };
        self.node.publish(room, pending);
        Ok(())
    }

    /// Checks the user's rate over all connections. The connection's own was checked before the command
    /// was looked at.
    pub(super) async fn check_user_sends(&mut self) -> Result<(), CommandError> {
        let allowed = self.node.allow_send(&self.identity.user.id).await;
        if allowed.is_err() && self.send_rate.refuse(Instant::now()) == Verdict::Flooding {
            self.close(CloseCode::Flooding);
        }
        allowed
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
