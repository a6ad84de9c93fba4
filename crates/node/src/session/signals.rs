//! `typing` and `read`: what is told to the others in passing, and answered by nothing.

use std::sync::Arc;

use hubbub_protocol::RoomId;

use super::Session;
use crate::error::CommandError;

impl Session {
    pub(super) async fn typing(&mut self, room: &RoomId, on: bool) -> Result<(), CommandError> {
        let (node, user) = (Arc::clone(&self.node), self.identity.user.clone());
        let connection = self.connection.clone();
        let voice = node.voice(&connection, &user, room);
        let membership = self.membership(room).await?;
        if !membership.rights.write {
            return Err(CommandError::Forbidden);
        }
        node.check_mute(&user.id, room)?;
        let of_user = || node.signals.typing.of(&user.id, room);
        let typing = membership.typing.get_or_insert_with(of_user);
        Arc::clone(typing).say(voice, Some(&connection), on);
        Ok(())
    }

    pub(super) async fn read(&mut self, room: &RoomId, offset: u64) -> Result<(), CommandError> {
        let (node, user) = (Arc::clone(&self.node), self.identity.user.clone());
        let voice = node.voice(&self.connection, &user, room);
        let membership = self.membership(room).await?;
        let offset = offset.min(membership.room.head());
        node.note_read(&user.id, room, offset, false);
        let of_user = || node.signals.reading.of(&user.id, room);
        let reading = membership.reading.get_or_insert_with(of_user);
        Arc::clone(reading).say(voice, offset);
        Ok(())
    }
}
