//! Changes of messages: the rights for them, and the events that record them.

use std::time::Instant;

use hubbub_broker::Span;
use hubbub_protocol::command::{Body, Terms};
use hubbub_protocol::{Draft, Envelope, EventKind, ReactionKey, RoomId, StoredEvent, User};

use crate::Rights;
use crate::error::{CommandError, UNREADABLE};
use crate::node::Node;
use crate::reservation::Payer;

/// A change of a message.
#[derive(Debug)]
pub(crate) enum Alteration {
    Edit(Body),
    Delete,
    React { key: ReactionKey, on: bool },
}

/// The user who wants to change a message, and the room.
pub(crate) struct Editor<'a> {
    pub(crate) user: &'a User,
    pub(crate) room: &'a RoomId,
    pub(crate) rights: Rights,
    /// Pays for the reads that the change needs.
    pub(crate) payer: Payer,
}

impl Alteration {
    /// Checks what can be checked without the message.
    pub(crate) fn check(&self, rights: Rights, body_bytes: u64) -> Result<(), CommandError> {
        if let Self::Edit(body) = self {
            check_size(body, body_bytes)?;
        }
        let moderates = rights.moderate && matches!(self, Self::Delete);
        if rights.write || moderates {
            Ok(())
        } else {
            Err(CommandError::Forbidden)
        }
    }

    fn is_allowed(&self, event: &StoredEvent<'_>, editor: &Editor<'_>) -> bool {
        let author = event.from.as_ref();
        let is_author = author.is_some_and(|from| from.id == editor.user.id);
        match self {
            Self::Edit(_) => is_author,
            Self::Delete => is_author || editor.rights.moderate,
            Self::React { .. } => true,
        }
    }
}

/// Bodies have a limit wherever they come from.
pub(crate) fn check_size(body: &Body, limit: u64) -> Result<(), CommandError> {
    let bytes = body.len();
    if bytes as u64 > limit {
        return Err(CommandError::TooLarge { bytes, limit });
    }
    Ok(())
}

impl Node {
    /// The event that changes the message at `target`.
    pub(crate) async fn draft_change(
        &self,
        editor: &Editor<'_>,
        target: u64,
        terms: &Terms,
        alteration: &Alteration,
        deadline: Instant,
    ) -> Result<Draft, CommandError> {
        let room = editor.room;
        let original = self.find_message(editor, target, deadline).await?;
        let original = original.ok_or(CommandError::NotFound)?;
        let event = original.read().map_err(|error| {
            if let Some(now) = UNREADABLE.fail(&error) {
 tracing::error!(%room, %error, events = now.failures, "the stream holds an event that cannot be read");
}
            CommandError::Internal
        })?;
        let is_retry = terms.nonce.is_some();
        if event.deleted && !is_retry {
            return Err(CommandError::NotFound);
        }
        if !alteration.is_allowed(&event, editor) {
            return Err(CommandError::Forbidden);
        }
        if let Alteration::React { key, on: true } = alteration {
            let check = self.check_reaction(editor, target, key);
            let check = tokio::time::timeout_at(deadline.into(), check).await;
            check.map_err(|_| CommandError::Unavailable)??;
        }
        let (by, nonce) = (editor.user, terms.nonce.clone());
        let draft = match alteration {
            Alteration::Edit(body) => Draft::edit(room, by, nonce, target, &event, body),
            Alteration::Delete => Draft::delete(room, by, nonce, target, &event),
            Alteration::React { key, on } => Draft::react(room, by, nonce, target, key, *on),
        };
        let draft = draft.of_epoch(original.position.epoch.clone());
        Ok(if event.deleted {
            draft.too_late()
        } else {
            draft
        })
    }

    /// The message at `offset`, or its tombstone; `None`: there is none, or what is there is none.
    async fn find_message(
        &self,
        editor: &Editor<'_>,
        offset: u64,
        deadline: Instant,
    ) -> Result<Option<Envelope>, CommandError> {
        let found = tokio::time::timeout_at(deadline.into(), self.find_event(editor, offset));
        let found = found.await.map_err(|_| CommandError::Unavailable)??;
        Ok(found.filter(|event| event.kind() == EventKind::Message))
    }

    async fn find_event(
        &self,
        editor: &Editor<'_>,
        offset: u64,
    ) -> Result<Option<Envelope>, CommandError> {
        let room = editor.room;
        let Some(before) = offset.checked_sub(1) else {
            return Ok(None);
        };
        let known = self.hub.room(room).and_then(|here| {
            let state = here.state.lock();
            state.log.as_ref()?.get(offset).cloned()
        });
        if known.is_some() {
            return Ok(known);
        }
        let _reservation = self.reserve(&editor.payer, self.cost_of_page(1)).await?;
        let page = self.broker.peek(room, Span::After(before), 1).await;
        let page = page.map_err(CommandError::of_read)?;
        let first = page.and_then(|page| page.events.into_iter().next());
        if let Some(first) = first.filter(|first| first.position.offset == offset) {
            return Ok(Some(first));
        }
        match &self.archive {
            None => Ok(None),
            Some(archive) => archive
                .event(room, offset)
                .await
                .map_err(CommandError::of_archive),
        }
    }
}
