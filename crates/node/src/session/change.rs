//! `edit`, `delete` and `react`: events that change an earlier message.

use hubbub_protocol::RoomId;
use hubbub_protocol::command::{RequestId, Terms};

use super::Session;
use crate::alteration::{Alteration, Editor};
use crate::error::CommandError;

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
        let rights = self.membership(room).await?.rights;
        alteration.check(rights, self.node.config.limits.body_bytes.as_u64())?;
        let deadline = self.node.send_deadline();
        // A muted user may still delete messages.
        if !matches!(alteration, Alteration::Delete) {
            self.node.check_mute(&self.identity.user.id, room)?;
        }
        self.check_user_sends().await?;
        let editor = Editor {
            user: &self.identity.user,
            room,
            rights,
            payer: self.payer(),
        };
        let draft = self
            .node
            .draft_change(&editor, target, &terms, &alteration, deadline)
            .await?;
        self.publish(id, room, draft, terms.ack, deadline).await
    }
}
