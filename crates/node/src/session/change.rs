//! `edit`, `delete` and `react`: events that change an earlier message.

use std::time::Instant;

use hubbub_broker::Span;
use hubbub_protocol::command::{Body, RequestId, Terms};
use hubbub_protocol::{Draft, Envelope, EventKind, ReactionKey, RoomId, StoredEvent};

use super::Session;
use crate::Rights;
use crate::error::CommandError;
use crate::lock::lock;
use crate::node::Node;
use crate::room::Room;

/// What is to become of a message.
#[derive(Debug)]
pub(super) enum Alteration {
    Edit(Body),
    Delete,
    React { key: ReactionKey, on: bool },
}

impl Session {
    /// Hands the change to the publisher, which answers it.
    pub(super) async fn change(
        &mut self,
        id: Option<RequestId>,
        room: &RoomId,
        target: u64,
        terms: Terms,
        alteration: Alteration,
    ) -> Result<(), CommandError> {
        let limit = self.node.config.limits.body_bytes.as_u64();
        if let Alteration::Edit(body) = &alteration {
            super::send::check_size(body, limit)?;
        }
        let membership = self.membership(room)?;
        let (rights, here) = (membership.rights, membership.room.clone());
        let moderates = rights.moderate && matches!(alteration, Alteration::Delete);
        if !rights.write && !moderates {
            return Err(CommandError::Forbidden);
        }
        // Who is muted may still take back what was said.
        if !matches!(alteration, Alteration::Delete) {
            self.node.check_mute(&self.identity.user.id, room)?;
        }
        let deadline = self.deadline();
        self.check_sends().await?;
        let original = self.node.find_message(&here, target, deadline).await?;
        let original = original.ok_or(CommandError::NotFound)?;
        let is_retry = terms.nonce.is_some();
        let event = original.read().map_err(|error| {
            tracing::error!(%room, %error, "the stream holds an event that cannot be read");
            CommandError::Internal
        })?;
        if event.deleted && !is_retry {
            return Err(CommandError::NotFound);
        }
        self.may_change(&event, &alteration, rights)?;
        let (by, nonce) = (&self.identity.user, terms.nonce);
        let draft = match &alteration {
            Alteration::Edit(body) => Draft::edit(room, by, nonce, target, body),
            Alteration::Delete => Draft::delete(room, by, nonce, target, &event),
            Alteration::React { key, on } => Draft::react(room, by, nonce, target, key, *on),
        };
        let draft = match event.deleted {
            true => draft.too_late(),
            false => draft,
        };
        self.publish(id, room, draft, terms.ack, deadline).await
    }

    fn may_change(
        &self,
        event: &StoredEvent<'_>,
        alteration: &Alteration,
        rights: Rights,
    ) -> Result<(), CommandError> {
        let is_author = event
            .from
            .as_ref()
            .is_some_and(|from| from.id == self.identity.user.id);
        let is_allowed = match alteration {
            Alteration::Edit(_) => is_author,
            Alteration::Delete => is_author || rights.moderate,
            Alteration::React { .. } => true,
        };
        match is_allowed {
            true => Ok(()),
            false => Err(CommandError::Forbidden),
        }
    }
}

impl Node {
    /// The message at `offset`, or its tombstone; `None`: there is none, or what is there is none.
    async fn find_message(
        &self,
        room: &Room,
        offset: u64,
        deadline: Instant,
    ) -> Result<Option<Envelope>, CommandError> {
        let found = tokio::time::timeout_at(deadline.into(), self.find_event(room, offset));
        let found = found.await.map_err(|_| CommandError::Unavailable)??;
        Ok(found.filter(|event| event.kind() == EventKind::Message))
    }

    async fn find_event(&self, room: &Room, offset: u64) -> Result<Option<Envelope>, CommandError> {
        let Some(before) = offset.checked_sub(1) else {
            return Ok(None);
        };
        let known = lock(&room.state)
            .log
            .as_ref()
            .and_then(|log| log.get(offset).cloned());
        if known.is_some() {
            return Ok(known);
        }
        let page = self.broker.peek(&room.id, Span::After(before), 1).await;
        let page = page.map_err(CommandError::of_read)?;
        let first = page.and_then(|page| page.events.into_iter().next());
        if let Some(first) = first.filter(|first| first.position.offset == offset) {
            return Ok(Some(first));
        }
        match &self.archive {
            None => Ok(None),
            Some(archive) => archive
                .event(&room.id, offset)
                .await
                .map_err(CommandError::of_archive),
        }
    }
}
