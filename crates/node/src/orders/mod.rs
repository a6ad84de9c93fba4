//! What operators order: given to all nodes by the broker, and done on each.

mod audit;
mod census;
mod removal;
mod rules;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hubbub_broker::{BrokerError, Control, ControlReceiver};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::order::Effect;
use hubbub_protocol::{CloseCode, Frame, Issued, Order, RoomId, UserId};
use tokio::time::sleep;

pub use self::census::{ConnectionInfo, ConnectionQuery, Connections, NodeInfo, Nodes};
pub use self::rules::Exclusion;
pub(crate) use self::rules::{Proof, Rules, now_ms};
use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

/// Rules that go back to Redis in one call, and the pause before they are tried again.
const RESTORED_AT_ONCE: usize = 500;
const RESTORE_PAUSE: Duration = Duration::from_secs(1);
/// How often rules that are over are let go of.
const SWEEP: Duration = Duration::from_secs(60);

impl Node {
    /// Gives an order to all nodes; a lasting one holds for `life`, or until it is lifted.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] and [`CommandError::Unknown`], and
    /// [`CommandError::TooManyRules`].
    pub async fn order(
        &self,
        order: &Order,
        life: Option<Duration>,
    ) -> Result<Issued, CommandError> {
        let issued = self.broker.issue(order, life).await;
        let issued = issued.map_err(|error| match error {
            BrokerError::TooManyRules => CommandError::TooManyRules,
            BrokerError::Unknown(_) => CommandError::Unknown,
            other => CommandError::of_read(other),
        })?;
        self.keep_rule(&issued).await;
        Ok(issued)
    }

    /// Whether somebody with this identity, from this address, is kept out.
    #[must_use]
    pub fn exclusion(&self, identity: &Identity, client: Option<IpAddr>) -> Option<Exclusion> {
        self.rules
            .exclusion(&identity.user.id, &Proof::of(identity), client)
    }

    /// Whether nobody from this address is let in.
    #[must_use]
    pub fn is_banned(&self, client: IpAddr) -> bool {
        self.rules.bans_address(client)
    }

    /// Refuses who may only read in a room now.
    ///
    /// # Errors
    /// [`CommandError::Muted`].
    pub fn check_mute(&self, user: &UserId, room: &RoomId) -> Result<(), CommandError> {
        match self.rules.mutes(user, room) {
            true => Err(CommandError::Muted),
            false => Ok(()),
        }
    }

    /// The rules that hold, in the order of their names, after one of them.
    #[must_use]
    pub fn rules(&self, after: &str, limit: usize) -> Vec<(String, Issued)> {
        self.rules.list(after, limit)
    }

    /// Ends when an operator has ordered this node to leave.
    pub async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }

    /// Runs for as long as the node.
    pub(crate) async fn keep_orders(self: Arc<Self>, mut control: ControlReceiver) {
        // What the broker knows comes first: a memory broker may know less than was kept.
        match control.next().await {
            Some(said) => self.hear(said),
            None => return,
        }
        self.restore_rules().await;
        loop {
            tokio::select! {
                said = control.next() => match said {
                    Some(said) => self.hear(said),
                    None => return,
                },
                () = sleep(SWEEP) => self.rules.expire(),
            }
        }
    }

    fn hear(self: &Arc<Self>, said: Control) {
        match said {
            Control::Rules(rules) => {
                self.rules.replace(rules);
                self.obey_rules();
            }
            Control::Remains(rules) => self.hold_on(rules),
            Control::Order(issued) => self.obey(&issued),
            // Whoever is in the room is looked at again where the room itself is told.
            Control::Access(room) => self.access.forget(&room),
            Control::Question(question) => {
                let node = Arc::clone(self);
                self.spawn(async move { node.answer_question(&question).await });
            }
        }
    }

    fn obey(self: &Arc<Self>, issued: &Issued) {
        // Before those who are here are looked at: who comes meanwhile looks at the rules.
        self.rules.apply(issued);
        if issued.order.effect() == Effect::Lasting {
            self.close_excluded();
        }
        match &issued.order {
            Order::Kick { user, room: None } => self.hub.close_where(|attached| {
                (attached.user.id == *user).then_some(CloseCode::Forbidden)
            }),
            Order::Kick {
                user,
                room: Some(room),
            } => self.kick_from(user, room),
            Order::Announce { room, text } => self.announce(room.as_ref(), text, issued.at()),
            Order::Drain { node } if node == self.id() => {
                tracing::info!(%node, "an operator has this node leave");
                self.dismissed.cancel();
            }
            Order::Drain { .. }
            | Order::Ban { .. }
            | Order::Unban { .. }
            | Order::Mute { .. }
            | Order::Unmute { .. }
            | Order::Revoke { .. }
            | Order::Unrevoke { .. } => {}
        }
    }

    /// Redis has lost rules: those that are known here hold on, and go back to it.
    fn hold_on(self: &Arc<Self>, remains: Vec<Issued>) {
        let kept = self.rules.beside(&remains);
        tracing::warn!(
            kept = kept.len(),
            "redis has lost rules: this node gives them back"
        );
        self.rules
            .replace(remains.into_iter().chain(kept.clone()).collect());
        self.obey_rules();
        let node = Arc::clone(self);
        self.spawn(async move {
            for page in kept.chunks(RESTORED_AT_ONCE) {
                while let Err(error) = node.broker.restore_rules(page).await {
                    tracing::debug!(%error, "rules cannot be given back yet");
                    sleep(RESTORE_PAUSE).await;
                }
            }
        });
    }

    /// All rules at once, when nobody can say which of them are new.
    fn obey_rules(&self) {
        self.close_excluded();
        for (room, user) in self.rules.kicked() {
            self.kick_from(&user, &room);
        }
    }

    fn close_excluded(&self) {
        self.hub.close_where(|attached| {
            let excluded =
                self.rules
                    .exclusion(&attached.user.id, &attached.proof, attached.client);
            excluded.map(Exclusion::close_code)
        });
    }

    fn kick_from(&self, user: &UserId, room: &RoomId) {
        let Some(room) = self.hub.room(room) else {
            return;
        };
        for (connection, member) in self.hub.users_of(&room.connections()) {
            if member == *user {
                self.expel(&room, &connection);
            }
        }
    }

    fn announce(&self, room: Option<&RoomId>, text: &str, ts: u64) {
        let frame = Frame::encode(&ServerFrame::Announcement { room, text, ts });
        match room {
            Some(room) => {
                if let Some(room) = self.hub.room(room) {
                    room.push_to_all(&frame, None);
                }
            }
            None => {
                for outbox in self.hub.outboxes() {
                    outbox.push(frame.clone());
                }
            }
        }
    }
}
