//! A room as one plain list, which defines the correct history.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_protocol::fold::Reactions;
use hubbub_protocol::{Epoch, ReactionKey, UserId};
use serde_json::{Value, json};

/// One event of the room.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) offset: u64,
    pub(super) epoch: Epoch,
    pub(super) ts: u64,
    /// `None` if the event changes another one.
    pub(super) message: Option<Message>,
    /// Whether it is in no store any more.
    pub(super) is_gone: bool,
}

/// The present state of a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) text: String,
    /// The offset of its newest edit.
    pub(super) edited: Option<u64>,
    pub(super) is_deleted: bool,
    pub(super) reactions: BTreeMap<ReactionKey, BTreeSet<UserId>>,
}

impl Message {
    pub(super) fn react(&mut self, key: &ReactionKey, user: &UserId, on: bool) {
        let users = self.reactions.entry(key.clone()).or_default();
        if on {
            users.insert(user.clone());
        } else {
            users.remove(user);
        }
        self.reactions.retain(|_, users| !users.is_empty());
    }

    /// The fields of its frame that a page of history must have.
    fn shown(&self, offset: u64) -> Value {
        if self.is_deleted {
            return json!({"offset": offset, "deleted": true});
        }
        let mut shown = json!({"offset": offset, "text": self.text});
        if let Some(edit) = self.edited {
            shown["edited"] = edit.into();
        }
        let mut reactions: Vec<_> = self
            .reactions
            .iter()
            .map(|(key, users)| Reactions {
                key: key.clone(),
                count: users.len() as u64,
                users: users.iter().cloned().collect(),
            })
            .collect();
        if !reactions.is_empty() {
            sort(&mut reactions);
            shown["reactions"] = json!(reactions);
        }
        shown
    }
}

/// The order of the reactions to one message is not compared: a store that has only some of the
/// events cannot know which reaction began first.
fn sort(reactions: &mut [Reactions]) {
    reactions.sort_by(|a, b| a.key.cmp(&b.key));
    for reaction in reactions {
        reaction.users.sort();
    }
}

/// The same fields of a frame as in [`Message::shown`].
pub(super) fn shown(frame: &str) -> Value {
    let frame: Value = serde_json::from_str(frame).unwrap();
    let mut shown = json!({"offset": frame["offset"]});
    if frame["deleted"] == true {
        shown["deleted"] = true.into();
    } else {
        shown["text"] = frame["body"]["text"].clone();
    }
    if frame["edited"].is_object() {
        shown["edited"] = frame["edited"]["offset"].clone();
    }
    if frame["reactions"].is_array() {
        let mut reactions: Vec<Reactions> =
            serde_json::from_value(frame["reactions"].clone()).unwrap();
        sort(&mut reactions);
        shown["reactions"] = json!(reactions);
    }
    shown
}

/// All events, in order.
#[derive(Debug, Default)]
pub(super) struct Model(pub(super) Vec<Event>);

impl Model {
    pub(super) fn top(&self) -> u64 {
        self.0.last().map_or(0, |event| event.offset)
    }

    /// A message of this epoch that can be changed, chosen by `pick`.
    pub(super) fn choose(&self, epoch: &Epoch, pick: usize) -> Option<u64> {
        let can_change = |event: &&Event| {
            let message = event.message.as_ref();
            let stands = message.is_some_and(|message| !message.is_deleted);
            stands && !event.is_gone && event.epoch == *epoch
        };
        let all: Vec<_> = self.0.iter().filter(can_change).collect();
        // Every second pick is among the newest, so that some messages change more than once.
        let some = if pick.is_multiple_of(2) {
            all.len()
        } else {
            all.len().min(3)
        };
        let back = (pick / 2).checked_rem(some)?;
        Some(all[all.len() - 1 - back].offset)
    }

    pub(super) fn message(&mut self, offset: u64) -> &mut Message {
        let event = self.0.iter_mut().find(|event| event.offset == offset);
        event.unwrap().message.as_mut().unwrap()
    }

    /// Removes events below this offset from every store.
    pub(super) fn lose_below(&mut self, floor: u64) {
        for event in &mut self.0 {
            event.is_gone |= event.offset < floor;
        }
    }

    /// The messages of a part, as history shows them.
    fn messages(&self, part: impl Fn(u64) -> bool) -> Vec<Value> {
        let events = self
            .0
            .iter()
            .filter(|event| !event.is_gone && part(event.offset));
        let shown = events.filter_map(|event| Some(event.message.as_ref()?.shown(event.offset)));
        shown.collect()
    }

    /// The page before `before`, and whether there is more.
    pub(super) fn before(&self, before: Option<u64>, limit: usize) -> (Vec<Value>, bool) {
        let mut all = self.messages(|offset| before.is_none_or(|before| offset < before));
        let more = all.len() > limit;
        (all.split_off(all.len().saturating_sub(limit)), more)
    }

    /// The page after `after`, and whether there is more.
    pub(super) fn after(&self, after: u64, limit: usize) -> (Vec<Value>, bool) {
        let mut all = self.messages(|offset| offset > after);
        let more = all.len() > limit;
        all.truncate(limit);
        (all, more)
    }

    /// The page around an offset, half of it before it, and whether there is more that is older.
    pub(super) fn around(&self, offset: u64, limit: usize) -> (Vec<Value>, bool) {
        let older = limit / 2;
        let (mut page, more) = self.before(Some(offset), older);
        let (newer, _) = self.after(offset.saturating_sub(1), limit - older);
        page.extend(newer);
        (page, more)
    }

    /// Whether an event may have this text. Only the newest body of a message that exists may.
    pub(super) fn may_say(&self, offset: u64, target: Option<u64>, text: &str) -> bool {
        let place = target.unwrap_or(offset);
        let event = self.0.iter().find(|event| event.offset == place);
        let message = event.and_then(|event| event.message.as_ref());
        message.is_some_and(|message| {
            let is_newest = target.is_none() || message.edited == Some(offset);
            !message.is_deleted && is_newest && message.text == text
        })
    }
}
