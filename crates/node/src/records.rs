//! Rooms with a record: a title, a topic, and whether only members may come in.

use std::net::IpAddr;

use hubbub_archive::{Archive, NewRoom, Record, RecordError, RoomChange};
use hubbub_protocol::{RoomId, UserId};

use crate::error::CommandError;
use crate::node::Node;
use crate::{Identity, Rights};

/// Members of a private room that are listed.
const LISTED: usize = 1_000;

impl Node {
    /// The archive, for what cannot do without.
    pub(crate) fn needed_archive(&self) -> Result<&Archive, CommandError> {
        self.archive.as_ref().ok_or(CommandError::NoArchive)
    }

    /// Makes a room's record. A user who may write in a room of this name may make it. A room that the
    /// settings name is everybody's: only a user with the right `m` or `p` there may make its record, or
    /// the first to come could close it to all others. The client's `address` pays for a new room too.
    ///
    /// # Errors
    /// [`CommandError::Conflict`]: there is one; or what the archive cannot do now.
    pub async fn create_room(
        &self,
        identity: &Identity,
        address: Option<IpAddr>,
        new: &NewRoom,
    ) -> Result<Record, CommandError> {
        let archive = self.needed_archive()?;
        let granted = self.config.granted(identity, &new.room);
        let is_everybodys = self.config.is_named(&new.room);
        let may_manage = granted.moderate || granted.publish;
        if new.room.is_direct() || is_everybodys && !may_manage || !granted.write {
            return Err(CommandError::Forbidden);
        }
        if !granted.publish {
            self.may_begin(identity, address, &new.room).await?;
        }
        let record = archive.create_room(new).await.map_err(of_record)?;
        self.announce_access(&new.room, Some(new.private)).await?;
        Ok(record)
    }

    /// A room's record, for whoever may read the room.
    ///
    /// # Errors
    /// [`CommandError::NotFound`]: it has none; [`CommandError::Forbidden`]: there is no such room, or
    /// it is not allowed; or what the archive cannot do now.
    pub async fn record(&self, identity: &Identity, room: &RoomId) -> Result<Record, CommandError> {
        let archive = self.needed_archive()?;
        self.may_read(identity, room).await?;
        self.record_of(archive, room).await
    }

    /// Changes a record: whoever made the room may, and moderators.
    ///
    /// # Errors
    /// [`CommandError::NotFound`], [`CommandError::Forbidden`], or what the archive cannot do now.
    pub async fn change_room(
        &self,
        identity: &Identity,
        room: &RoomId,
        change: &RoomChange,
    ) -> Result<Record, CommandError> {
        let (record, rights) = self.record_and_rights(identity, room).await?;
        if !may_manage(identity, &record, rights) {
            return Err(CommandError::Forbidden);
        }
        let archive = self.needed_archive()?;
        let is_moderator = rights.moderate;
        let changed = archive.update_room(room, change, is_moderator).await;
        let record = changed.map_err(of_record)?;
        if change.private.is_some() {
            self.announce_access(room, Some(record.private)).await?;
        }
        Ok(record)
    }

    /// Makes a user a member of a room. Any member of a private room may, and in a public one only
    /// those who manage it: its members are the ones who stay when it becomes private.
    ///
    /// # Errors
    /// [`CommandError::NotFound`], [`CommandError::Forbidden`], or what the archive cannot do now.
    pub async fn invite(
        &self,
        identity: &Identity,
        room: &RoomId,
        user: &UserId,
    ) -> Result<(), CommandError> {
        let (record, rights) = self.record_and_rights(identity, room).await?;
        let may_invite = record.private && rights.write;
        if !may_invite && !may_manage(identity, &record, rights) {
            return Err(CommandError::Forbidden);
        }
        let archive = self.needed_archive()?;
        let added = archive.add_member(room, user, &identity.user.id).await;
        // A member already: nothing has changed that other nodes would have to look at.
        if added.map_err(of_record)? {
            self.announce_access(room, None).await?;
        }
        Ok(())
    }

    /// Ends a membership: one's own, or as whoever made the room, or as a moderator.
    ///
    /// # Errors
    /// [`CommandError::NotFound`], [`CommandError::Forbidden`], or what the archive cannot do now.
    pub async fn remove_member(
        &self,
        identity: &Identity,
        room: &RoomId,
        user: &UserId,
    ) -> Result<(), CommandError> {
        let (record, rights) = self.record_and_rights(identity, room).await?;
        if *user != identity.user.id && !may_manage(identity, &record, rights) {
            return Err(CommandError::Forbidden);
        }
        let archive = self.needed_archive()?;
        let removed = archive.remove_member(room, user).await;
        let removed = removed.map_err(CommandError::of_archive)?;
        // Even if nobody was: an earlier try may have removed them, and told nobody.
        self.announce_access(room, None).await?;
        if removed {
            Ok(())
        } else {
            Err(CommandError::NotFound)
        }
    }

    /// The members of a private room, present or not; `None`: the room is not private.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], or what the archive cannot do now.
    pub async fn invited(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<Option<Vec<UserId>>, CommandError> {
        self.may_read(identity, room).await?;
        if let Some(pair) = room.pair() {
            let users = pair.into_iter().map(UserId::new).collect::<Result<_, _>>();
            return Ok(users.ok());
        }
        let Some(archive) = &self.archive else {
            return Ok(None);
        };
        if !self.is_private(archive, room).await? {
            return Ok(None);
        }
        let members = archive.members(room, LISTED).await;
        members.map(Some).map_err(CommandError::of_archive)
    }

    async fn record_and_rights(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<(Record, Rights), CommandError> {
        let archive = self.needed_archive()?;
        let rights = self.rights(identity, room).await?;
        Ok((self.record_of(archive, room).await?, rights))
    }

    /// A room of which nothing is known looks like one that is not allowed.
    async fn record_of(&self, archive: &Archive, room: &RoomId) -> Result<Record, CommandError> {
        let record = archive.record(room).await;
        if let Some(record) = record.map_err(CommandError::of_archive)? {
            return Ok(record);
        }
        match archive.incarnation(room).await {
            Ok(Some(life)) if life.epoch.is_some() => Err(CommandError::NotFound),
            Ok(Some(_) | None) => Err(CommandError::Forbidden),
            Err(error) => Err(CommandError::of_archive(error)),
        }
    }
}

fn may_manage(identity: &Identity, record: &Record, rights: Rights) -> bool {
    rights.moderate || record.created_by.id == identity.user.id
}

fn of_record(error: RecordError) -> CommandError {
    match error {
        RecordError::Exists => CommandError::Conflict,
        RecordError::NotFound => CommandError::NotFound,
        RecordError::Archive(error) => CommandError::of_archive(error),
    }
}
