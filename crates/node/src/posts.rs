//! Sends, edits, deletions and reactions of who has no session here: programs that come by HTTP.
//! They go through the same publisher as everything else, so a room has one order.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hubbub_protocol::command::{Body, Terms};
use hubbub_protocol::{Draft, Frame, ReactionKey, RoomId, User};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::alteration::{Alteration, Editor, check_size};
use crate::error::CommandError;
use crate::node::Node;
use crate::publisher::{Answer, Pending};
use crate::{Identity, Pace, Payer, Rights};

/// Something to be stored.
#[derive(Debug)]
pub struct Post {
    /// Which room.
    pub room: RoomId,
    /// How it is stored.
    pub terms: Terms,
    /// The action.
    pub action: Action,
    /// Where it comes from, which pays for a room that it begins; `None`: not known.
    pub address: Option<IpAddr>,
}

/// The ways to add something to a room.
#[derive(Debug)]
pub enum Action {
    /// A message.
    Send {
        /// Any JSON value.
        body: Body,
        /// In whose name; `None`: one's own. The nonce belongs to whoever it is.
        from: Option<User>,
    },
    /// Another body for a message of one's own.
    Edit {
        /// The message's offset.
        target: u64,
        /// The new one.
        body: Body,
    },
    /// A message loses its body.
    Delete {
        /// The message's offset.
        target: u64,
    },
    /// A reaction, or its end.
    React {
        /// The message's offset.
        target: u64,
        /// Which reaction.
        key: ReactionKey,
        /// `false`: no longer.
        on: bool,
    },
}

/// It has a place.
#[derive(Debug)]
pub struct Receipt {
    /// The `sent` object.
    pub frame: Frame,
    /// The nonce was known: this is the first one's place.
    pub duplicate: bool,
}

/// A receipt that is still to come.
type Awaited = oneshot::Receiver<Result<Receipt, CommandError>>;

impl Node {
    /// Stores one thing; answered within `limits.send_timeout`.
    ///
    /// # Errors
    /// Why it is not stored; [`CommandError::Unknown`]: perhaps it is.
    pub async fn post(
        self: &Arc<Self>,
        identity: &Identity,
        post: Post,
    ) -> Result<Receipt, CommandError> {
        let awaited = self.submit(identity, post, self.send_deadline()).await?;
        receipt(awaited).await
    }

    /// Stores many things. Those of one room keep their order: after one that is to be tried again
    /// later, none of its room is stored.
    pub async fn post_all(
        self: &Arc<Self>,
        identity: &Identity,
        posts: Vec<Post>,
    ) -> Vec<Result<Receipt, CommandError>> {
        let deadline = self.send_deadline();
        let mut stuck: HashSet<RoomId> = HashSet::new();
        let mut submitted = Vec::new();
        for post in posts {
            let room = post.room.clone();
            let mut awaited = if stuck.contains(&room) {
                Err(CommandError::Unavailable)
            } else {
                self.submit(identity, post, deadline).await
            };
            // Refused before it was in the room's queue: what follows must not overtake it.
            if let Err(CommandError::RateLimited { .. } | CommandError::Unavailable) = &mut awaited
            {
                stuck.insert(room);
            }
            submitted.push(awaited);
        }
        let mut receipts = Vec::new();
        for awaited in submitted {
            receipts.push(match awaited {
                Ok(awaited) => receipt(awaited).await,
                Err(error) => Err(error),
            });
        }
        receipts
    }

    /// Checks and hands it to the publisher.
    async fn submit(
        self: &Arc<Self>,
        identity: &Identity,
        post: Post,
        deadline: Instant,
    ) -> Result<Awaited, CommandError> {
        self.beat();
        let Post {
            room,
            terms,
            action,
            address,
        } = post;
        // Before anything is looked up, so that refused ones cost no more than others.
        self.keep_posting_pace(identity, self.config.granted(identity, &room))
            .await?;
        let rights = timeout_at(deadline.into(), self.rights(identity, &room));
        let rights = rights.await.unwrap_or(Err(CommandError::Unavailable))?;
        let editor = Editor {
            user: &identity.user,
            room: &room,
            rights,
            payer: Payer {
                connection: None,
                user: Some(identity.user.id.clone()),
                address,
            },
        };
        let draft = match action {
            Action::Send { body, from } => {
                let from = may_send(identity, rights, from.as_ref())?;
                check_size(&body, self.config.limits.body_bytes.as_u64())?;
                self.check_mute(&from.id, &room)?;
                if !rights.publish {
                    let begin = self.may_begin(identity, address, &room);
                    let begin = timeout_at(deadline.into(), begin);
                    begin.await.unwrap_or(Err(CommandError::Unavailable))?;
                }
                if let Some(typing) = self.signals.typing.known(&from.id, &room) {
                    typing.end();
                }
                self.metrics.messages_in.inc();
                Draft::message(&room, from, terms.nonce.clone(), &body)
            }
            Action::Edit { target, body } => {
                let change = (target, Alteration::Edit(body));
                self.alter(&editor, change, &terms, deadline).await?
            }
            Action::Delete { target } => {
                let change = (target, Alteration::Delete);
                self.alter(&editor, change, &terms, deadline).await?
            }
            Action::React { target, key, on } => {
                let change = (target, Alteration::React { key, on });
                self.alter(&editor, change, &terms, deadline).await?
            }
        };
        // A backend speaks for many, so its rooms are nobody's.
        let address = address.filter(|_| !rights.publish);
        let draft = draft.paid_by(self.payer_of(&room, address));
        let (caller, awaited) = oneshot::channel();
        let least = self.config.ack.level;
        let pending = Pending {
            draft,
            ack: terms.ack.map_or(least, |ack| ack.max(least)),
            answer: Answer::Caller(caller),
            deadline,
            may_be_stored: false,
        };
        self.publish(&room, pending);
        Ok(awaited)
    }

    async fn alter(
        &self,
        editor: &Editor<'_>,
        (target, alteration): (u64, Alteration),
        terms: &Terms,
        deadline: Instant,
    ) -> Result<Draft, CommandError> {
        alteration.check(editor.rights, self.config.limits.body_bytes.as_u64())?;
        // A muted user may still delete messages.
        if !matches!(alteration, Alteration::Delete) {
            self.check_mute(&editor.user.id, editor.room)?;
        }
        self.draft_change(editor, target, terms, &alteration, deadline)
            .await
    }

    /// A backend speaks for many, so it is not held to the pace of one.
    async fn keep_posting_pace(
        &self,
        identity: &Identity,
        granted: Rights,
    ) -> Result<(), CommandError> {
        if granted.publish {
            return Ok(());
        }
        self.keep_pace(identity, Pace::Writes)?;
        self.allow_send(&identity.user.id).await
    }

    /// When what is sent now must be answered: a little early, so that the answer is there when the
    /// time is over.
    pub(crate) fn send_deadline(&self) -> Instant {
        Instant::now() + self.config.limits.send_timeout.mul_f64(0.95)
    }
}

/// In whose name a message is sent.
fn may_send<'a>(
    identity: &'a Identity,
    rights: Rights,
    from: Option<&'a User>,
) -> Result<&'a User, CommandError> {
    let (is_allowed, from) = match from {
        Some(from) => (rights.publish, from),
        None => (rights.write, &identity.user),
    };
    if is_allowed {
        Ok(from)
    } else {
        Err(CommandError::Forbidden)
    }
}

async fn receipt(awaited: Awaited) -> Result<Receipt, CommandError> {
    // Dropped unanswered: the node stops, and the publish may be on its way.
    awaited.await.unwrap_or(Err(CommandError::Unknown))
}
