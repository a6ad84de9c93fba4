//! Operators' orders: the broker passes them to all nodes, and each node carries them out.

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

/// Rules that are restored to Redis in one call, and the pause before a failed call is retried.
const RESTORED_AT_ONCE: usize = 500;
const RESTORE_PAUSE: Duration = Duration::from_secs(1);
/// How often expired rules are removed.
const SWEEP: Duration = Duration::from_secs(60);

impl Node {
    /// Issues an order to all nodes. A lasting order holds for `life`, or until it is lifted.
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

    /// Why a client with this identity and address is kept out. `None`: it is not.
    #[must_use]
    pub fn exclusion(&self, identity: &Identity, client: Option<IpAddr>) -> Option<Exclusion> {
        self.rules
            .exclusion(&identity.user.id, &Proof::of(identity), client)
    }

    /// Whether clients from this address are banned.
    #[must_use]
    pub fn is_banned(&self, client: IpAddr) -> bool {
        self.rules.bans_address(client)
    }

    /// Refuses users who may only read in the room at present.
    ///
    /// # Errors
    /// [`CommandError::Muted`].
    pub fn check_mute(&self, user: &UserId, room: &RoomId) -> Result<(), CommandError> {
        if self.rules.mutes(user, room) {
            Err(CommandError::Muted)
        } else {
            Ok(())
        }
    }

    /// The rules in force, by name, after `after`.
    #[must_use]
    pub fn rules(&self, after: &str, limit: usize) -> Vec<(String, Issued)> {
        self.rules.list(after, limit)
    }

    /// Waits until an operator orders this node to leave.
    pub async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }

    /// Runs as long as the node.
    pub(crate) async fn keep_orders(self: Arc<Self>, mut control: ControlReceiver) {
        // The broker's rules come first. An embedded broker may know fewer than the archive has
        // stored.
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
            // The room's own message makes the node check its members.
            Control::Access(room) => self.access.forget(&room),
            Control::Question(question) => {
                let node = Arc::clone(self);
                self.spawn(async move { node.answer_question(&question).await });
            }
        }
    }

    fn obey(self: &Arc<Self>, issued: &Issued) {
        // Applied before the present sessions are checked: sessions that attach meanwhile check the
        // rules.
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
                tracing::info!(%node, "an operator ordered this node to leave");
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

    /// Handles a Redis that has lost rules: the rules that this node knows stay in force and are
    /// restored.
    fn hold_on(self: &Arc<Self>, remains: Vec<Issued>) {
        let kept = self.rules.beside(&remains);
        tracing::warn!(
            kept = kept.len(),
            "redis has lost rules, this node restores them"
        );
        self.rules
            .replace(remains.into_iter().chain(kept.clone()).collect());
        self.obey_rules();
        let node = Arc::clone(self);
        self.spawn(async move {
            for page in kept.chunks(RESTORED_AT_ONCE) {
                while let Err(error) = node.broker.restore_rules(page).await {
                    tracing::debug!(%error, "cannot restore rules yet");
                    sleep(RESTORE_PAUSE).await;
                }
            }
        });
    }

    /// Applies all rules, for the case that the new ones among them are not known.
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
