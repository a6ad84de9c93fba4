//! Orders of operators, as nodes hand them on: each has a number, and one that lasts a rule.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{NodeId, RoomId, UserId};

/// An order to every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Ends a user's connections, after which coming back is allowed; or only takes the user out of a
    /// room, and keeps the user out of it while the rule lasts.
    Kick {
        /// The user.
        user: UserId,
        /// From where; `None`: from everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
    },
    /// Keeps somebody out.
    Ban {
        /// The user or address.
        subject: Subject,
        /// For those who read the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Takes a ban back.
    Unban {
        /// The user.
        subject: Subject,
    },
    /// Lets a user of a room read only.
    Mute {
        /// The user.
        user: UserId,
        /// Where.
        room: RoomId,
        /// For those who read the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Takes a mute back.
    Unmute {
        /// The user whose tokens it is about.
        user: UserId,
        /// Where.
        room: RoomId,
    },
    /// Tokens count no more.
    Revoke {
        /// Which.
        tokens: Tokens,
    },
    /// Takes a revocation back.
    Unrevoke {
        /// Which.
        tokens: Tokens,
    },
    /// Tells clients something.
    Announce {
        /// Its members only; `None`: everybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomId>,
        /// For people.
        text: String,
    },
    /// Has a node move its clients to others and end.
    Drain {
        /// Its name, as in `node.id`.
        node: NodeId,
    },
}

/// The user or address that a ban keeps out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// By id.
    User(UserId),
    /// All addresses of a network; of one address, the network that holds it alone.
    Address(IpNet),
}

/// Tokens that are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// All of a user that were made before the order.
    Of(UserId),
    /// The one with this `jti`.
    Id(String),
}

/// The rule that an order leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is done once.
    Passing,
    /// A rule that nodes which come later keep too.
    Lasting,
    /// Takes the rule of the same key away.
    Lifting,
}

/// An order with its place among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Rises with each order: microseconds since 1970 by the broker's clock, or one more than the last.
    pub sequence: u64,
    /// When its rule ends, in milliseconds since 1970; `None`: when it is lifted.
    pub until: Option<u64>,
    /// The order.
    pub order: Order,
}

impl Order {
    /// The rule that it leaves behind.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Kick { room: Some(_), .. }
            | Self::Ban { .. }
            | Self::Mute { .. }
            | Self::Revoke { .. } => Effect::Lasting,
            Self::Unban { .. } | Self::Unmute { .. } | Self::Unrevoke { .. } => Effect::Lifting,
            Self::Kick { room: None, .. } | Self::Announce { .. } | Self::Drain { .. } => {
                Effect::Passing
            }
        }
    }

    /// The name of the rule that it sets or lifts; there is one rule of a name at a time.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Ban { subject, .. } | Self::Unban { subject } => Some(match subject {
                Subject::User(user) => format!("ban user {user}"),
                Subject::Address(net) => format!("ban address {net}"),
            }),
            // A room id has no space in it.
            Self::Kick {
                user,
                room: Some(room),
            } => Some(format!("kick {room} {user}")),
            Self::Mute { user, room, .. } | Self::Unmute { user, room } => {
                Some(format!("mute {room} {user}"))
            }
            Self::Revoke { tokens } | Self::Unrevoke { tokens } => Some(match tokens {
                Tokens::Of(user) => format!("revoke user {user}"),
                Tokens::Id(id) => format!("revoke token {id}"),
            }),
            Self::Kick { room: None, .. } | Self::Announce { .. } | Self::Drain { .. } => None,
        }
    }
}

impl Issued {
    /// When it was given, in milliseconds since 1970 by the broker's clock.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.sequence / 1_000
    }

    /// Whether its rule is over.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.until.is_some_and(|until| until <= now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let room = RoomId::new("lobby").unwrap();
        let net: IpNet = "2001:db8::/64".parse().unwrap();
        let orders = [
            Order::Kick {
                user: user("a b"),
                room: Some(room.clone()),
            },
            Order::Ban {
                subject: Subject::Address(net),
                reason: Some("\"spam\"".to_owned()),
            },
            Order::Revoke {
                tokens: Tokens::Id("x".to_owned()),
            },
            Order::Announce {
                room: None,
                text: "hi".to_owned(),
            },
        ];
        for order in orders {
            let json = serde_json::to_string(&order).unwrap();
            assert_eq!(
                serde_json::from_str::<Order>(&json).unwrap(),
                order,
                "{json}"
            );
        }
    }

    #[test]
    fn a_rule_and_its_lifting_have_one_key() {
        let room = RoomId::new("lobby").unwrap();
        let mute = Order::Mute {
            user: user("eve"),
            room: room.clone(),
            reason: None,
        };
        let unmute = Order::Unmute {
            user: user("eve"),
            room,
        };
        assert_eq!(mute.key(), unmute.key());
        assert_eq!(
            (mute.effect(), unmute.effect()),
            (Effect::Lasting, Effect::Lifting)
        );
    }
}
