//! `refresh`: a new token for a connection that stays. What it allows holds at once, in the rooms that
//! the session is in too.

use hubbub_protocol::CloseCode;
use hubbub_protocol::frame::ServerFrame;

use super::{Pace, ReplyId, Session};
use crate::Identity;
use crate::error::CommandError;
use crate::orders::Proof;
use crate::presence::Departure;

impl Session {
    /// Whether a `refresh` may be looked at now; refused by an error otherwise.
    pub fn admits_refresh(&mut self, id: ReplyId<'_>) -> bool {
        match self.check_rate(Pace::Questions) {
            Ok(()) => true,
            Err(error) => {
                self.fail(id, &error);
                false
            }
        }
    }

    /// Goes on with what a new token says; one of somebody else closes with 4501.
    pub async fn refresh(&mut self, id: ReplyId<'_>, new: Identity) {
        if new.user.id != self.identity.user.id {
            return self.close(CloseCode::BadToken);
        }
        if !self.outbox.has_room().await {
            return;
        }
        self.node
            .expiry
            .remove(self.identity.expires, &self.connection);
        self.node.expiry.add(new.expires, &self.connection);
        // The name stays the one that the rooms were told.
        let user = self.identity.user.clone();
        self.identity = Identity { user, ..new };
        let proof = Proof::of(&self.identity);
        self.node.hub.renew(&self.connection, proof);
        if let Some(exclusion) = self.node.exclusion(&self.identity, None) {
            return self.close(exclusion.close_code());
        }
        self.review_rooms();
        let expires = self.identity.expires;
        self.reply(&ServerFrame::Refreshed { id, expires });
    }

    /// Answers a request with an error.
    pub fn fail(&self, id: ReplyId<'_>, error: &CommandError) {
        self.outbox.push(error.to_wire(id));
    }

    /// Takes over the rights that hold now, and leaves the rooms that are not allowed any more.
    fn review_rooms(&mut self) {
        let (config, identity) = (&self.node.config, &self.identity);
        for membership in &mut self.rooms {
            membership.rights = config.granted(identity, &membership.room.id);
        }
        let lost: Vec<_> = self.rooms.extract_if(.., |it| !it.rights.read).collect();
        for membership in lost {
            let room = membership.room.id.clone();
            self.give_up(membership, Departure::Said);
            let (id, room) = (None, &room);
            self.reply(&ServerFrame::Left { id, room });
        }
    }
}
