//! Deletes messages for an operator, as a moderator would, but without being in the room.

use std::time::Instant;

use hubbub_broker::{BrokerError, Published, Span};
use hubbub_protocol::{Draft, Envelope, EventKind, Position, RoomId, User};

use crate::error::{CommandError, UNREADABLE};
use crate::node::Node;

impl Node {
    /// Deletes a message in the name of `by`. Returns the position of the deletion event.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]: there is no such message, or it is deleted already. Otherwise
    /// the broker's present failure.
    pub async fn remove_message(
        &self,
        by: &User,
        room: &RoomId,
        offset: u64,
    ) -> Result<Position, CommandError> {
        let found = self.stored_event(room, offset).await?;
        let found = found.filter(|event| event.kind() == EventKind::Message);
        let found = found.ok_or(CommandError::NotFound)?;
        let event = found.read().map_err(|error| {
            if let Some(now) = UNREADABLE.fail(&error) {
 tracing::error!(%room, %error, events = now.failures, "the stream holds an event that cannot be read");
}
            CommandError::Internal
        })?;
        if event.deleted {
            return Err(CommandError::NotFound);
        }
        let draft = Draft::delete(room, by, None, offset, &event);
        let draft = draft.of_epoch(found.position.epoch.clone());
        let deadline = Instant::now() + self.config.limits.send_timeout;
        let published = self.store(room, &[draft], deadline).await;
        let published = published.map_err(|error| match error {
            BrokerError::Unknown(_) => CommandError::Unknown,
            other => CommandError::of_read(other),
        })?;
        match published.into_iter().next() {
            Some(Published::Stored { position, .. } | Published::Duplicate { position, .. }) => {
                Ok(position)
            }
            Some(Published::Gone | Published::Crowded) | None => Err(CommandError::NotFound),
        }
    }

    async fn stored_event(
        &self,
        room: &RoomId,
        offset: u64,
    ) -> Result<Option<Envelope>, CommandError> {
        let Some(before) = offset.checked_sub(1) else {
            return Ok(None);
        };
        let page = self.broker.peek(room, Span::After(before), 1).await;
        let page = page.map_err(CommandError::of_read)?;
        let first = page.and_then(|page| page.events.into_iter().next());
        if let Some(first) = first.filter(|first| first.position.offset == offset) {
            return Ok(Some(first));
        }
        let Some(archive) = &self.archive else {
            return Ok(None);
        };
        let event = archive.event(room, offset).await;
        event.map_err(CommandError::of_archive)
    }
}
