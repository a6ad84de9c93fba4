//! Applies new edits, deletions and reactions to the messages that they name.
//! The frames of edited messages are rewritten in `supersede`.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_protocol::EventKind;
use serde::Serialize;

use super::insert::{Fresh, MentionRow, insert_mentions, mentions};
use super::search::WordsRow;
use crate::ArchiveError;
use crate::archive::{Pair, Tx, json};
use crate::value::{to_u64, values};
use crate::words::vector;

/// Messages and edits that lose their body, or have another one.
#[derive(Default)]
pub(super) struct Changed<'a> {
    /// Deleted messages: room and offset.
    pub(super) messages: BTreeSet<(i64, u64)>,
    /// Edits of messages that had been deleted already, by id.
    pub(super) late_edits: BTreeSet<i64>,
    /// The words that messages have now.
    pub(super) words: Vec<WordsRow<'a>>,
    /// Messages with a new newest edit.
    pub(super) edits: Vec<(i64, &'a Fresh<'a>)>,
    /// Messages of which a new edit came, be it the newest or not: room and offset.
    pub(super) edited: BTreeSet<(i64, u64)>,
}

/// A message that something refers to, and what is to become of it.
struct Target<'a> {
    id: i64,
    deleted: bool,
    /// The newest edit that is stored.
    edited: Option<u64>,
    edit: Option<&'a Fresh<'a>>,
}

/// Messages by room and offset; two of them only where a stream has forked.
type Targets<'a> = BTreeMap<(i64, u64), Vec<Target<'a>>>;

/// One user's reaction with one key.
type ReactionOf<'a> = (i64, u64, &'a str, &'a str);

/// The state of one reaction after a batch.
#[derive(Default)]
struct Outcome {
    /// It ended in between, so that it is new if it is on.
    ended: bool,
    /// The event since which it is on.
    since: Option<u64>,
}

#[derive(Serialize)]
struct EditRow<'a> {
    id: i64,
    edit: i64,
    number: u64,
    #[serde(skip)]
    words: Option<&'a str>,
    /// The words as PostgreSQL gets them.
    vector: Option<String>,
    room: i64,
}

#[derive(Serialize)]
pub(crate) struct TargetRow {
    pub(crate) room: i64,
    pub(crate) target: u64,
}

#[derive(Serialize)]
struct ReactionRow<'a> {
    room: i64,
    target: u64,
    key: &'a str,
    user: &'a str,
    since: Option<u64>,
}

const TARGETS: &str = "SELECT e.id, e.room_id, e.number, e.deleted, e.edit_number \
    FROM json_each($1) AS j JOIN events e ON e.room_id = CAST(j.value->>'room' AS BIGINT) \
        AND e.number = CAST(j.value->>'target' AS BIGINT) \
    WHERE e.kind = 0";
const EDITS: Pair = Pair {
    sqlite: "UPDATE events SET edit_id = j.value->>'edit', edit_number = j.value->>'number' \
        FROM json_each($1) AS j WHERE events.id = j.value->>'id'",
    postgres: "UPDATE events SET edit_id = edit, edit_number = j.number, \
            search = CAST(vector AS TSVECTOR) \
        FROM json_to_recordset($1::json) AS j (id BIGINT, edit BIGINT, number BIGINT, vector TEXT) \
        WHERE events.id = j.id",
};
const UNMENTION: &str = "DELETE FROM mentions WHERE (room_id, number) IN (SELECT \
    CAST(value->>'room' AS BIGINT), CAST(value->>'target' AS BIGINT) FROM json_each($1))";
const UNREACT: &str = "DELETE FROM reactions WHERE (room_id, target, key, user_id) IN (SELECT \
    CAST(value->>'room' AS BIGINT), CAST(value->>'target' AS BIGINT), value->>'key', value->>'user' \
    FROM json_each($1))";
const REACT: &str = "INSERT INTO reactions (room_id, target, key, user_id, number) \
    SELECT CAST(value->>'room' AS BIGINT), CAST(value->>'target' AS BIGINT), value->>'key', \
        value->>'user', CAST(value->>'since' AS BIGINT) \
    FROM json_each($1) WHERE TRUE ON CONFLICT (room_id, target, key, user_id) DO NOTHING";

/// Applies edits and reactions; says what is to be buried.
pub(super) async fn apply<'a>(
    tx: &mut Tx,
    fresh: &'a [Fresh<'a>],
) -> Result<Changed<'a>, ArchiveError> {
    let mut targets = load(tx, fresh).await?;
    let mut changed = Changed::default();
    // A deletion is final wherever it stands among the events, so deletions come first.
    for (place, _) in of_kind(fresh, EventKind::Deleted) {
        for target in targets.get_mut(&place).into_iter().flatten() {
            target.deleted = true;
            changed.messages.insert(place);
        }
    }
    for (place, edit) in of_kind(fresh, EventKind::Edited) {
        changed.edited.insert(place);
        for target in targets.get_mut(&place).into_iter().flatten() {
            if target.deleted {
                changed.late_edits.insert(edit.id);
            } else if target.edited < Some(edit.entry.event.offset) {
                target.edited = Some(edit.entry.event.offset);
                target.edit = Some(edit);
            }
        }
    }
    changed.edits = newest_edits(&targets);
    changed.words = edit(tx, &targets).await?;
    react(tx, fresh, &targets).await?;
    Ok(changed)
}

/// The new events of one kind that name a message, and where that is.
fn of_kind<'a>(
    fresh: &'a [Fresh<'a>],
    kind: EventKind,
) -> impl Iterator<Item = ((i64, u64), &'a Fresh<'a>)> {
    let fresh = fresh.iter().filter(move |fresh| {
        let event = &fresh.entry.event;
        event.kind == kind && !event.deleted
    });
    fresh.filter_map(|fresh| Some(((fresh.entry.room_id, fresh.entry.event.target?), fresh)))
}

async fn load<'a>(tx: &mut Tx, fresh: &[Fresh<'_>]) -> Result<Targets<'a>, ArchiveError> {
    let named = fresh
        .iter()
        .filter(|fresh| fresh.entry.event.kind != EventKind::Message);
    let places: BTreeSet<(i64, u64)> = named
        .filter_map(|fresh| Some((fresh.entry.room_id, fresh.entry.event.target?)))
        .collect();
    if places.is_empty() {
        return Ok(Targets::new());
    }
    let places = target_rows(&places);
    let rows: Vec<(i64, i64, i64, bool, Option<i64>)> =
        tx.rows(TARGETS, values![json(&places)]).await?;
    let mut targets = Targets::new();
    for (id, room, number, deleted, edited) in rows {
        let target = Target {
            id,
            deleted,
            edited: edited.map(to_u64),
            edit: None,
        };
        targets
            .entry((room, to_u64(number)))
            .or_default()
            .push(target);
    }
    Ok(targets)
}

pub(super) fn target_rows(places: &BTreeSet<(i64, u64)>) -> Vec<TargetRow> {
    let places = places.iter();
    places
        .map(|(room, target)| TargetRow {
            room: *room,
            target: *target,
        })
        .collect()
}

fn newest_edits<'a>(targets: &Targets<'a>) -> Vec<(i64, &'a Fresh<'a>)> {
    let targets = targets.values().flatten();
    targets
        .filter_map(|target| Some((target.id, target.edit?)))
        .collect()
}

/// Points the messages to their newest edits, whose words and mentions take the place of the old ones.
async fn edit<'a>(tx: &mut Tx, targets: &Targets<'a>) -> Result<Vec<WordsRow<'a>>, ArchiveError> {
    let mut edits = Vec::new();
    let mut places = BTreeSet::new();
    let mut named: Vec<MentionRow<'_>> = Vec::new();
    for (place, target) in targets
        .iter()
        .flat_map(|(place, all)| all.iter().map(move |t| (place, t)))
    {
        let Some(edit) = target.edit else { continue };
        edits.push(EditRow {
            id: target.id,
            edit: edit.id,
            number: edit.entry.event.offset,
            words: edit.words.as_deref(),
            vector: if tx.is_sqlite() {
                None
            } else {
                edit.words.as_deref().map(vector)
            },
            room: place.0,
        });
        places.insert(*place);
        named.extend(mentions(edit.entry, place.1));
    }
    tx.run_many(EDITS, &edits).await?;
    tx.run_many(UNMENTION, &target_rows(&places)).await?;
    insert_mentions(tx, &named).await?;
    let words = edits.iter().map(|edit| WordsRow {
        id: edit.id,
        room: edit.room,
        words: edit.words,
    });
    Ok(words.collect())
}

async fn react(
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    targets: &Targets<'_>,
) -> Result<(), ArchiveError> {
    let mut outcomes: BTreeMap<ReactionOf<'_>, Outcome> = BTreeMap::new();
    for (place, fresh) in of_kind(fresh, EventKind::Reacted) {
        let event = &fresh.entry.event;
        let stands = targets
            .get(&place)
            .into_iter()
            .flatten()
            .any(|target| !target.deleted);
        let (Some(user), Some(key)) = (&event.from, &event.key) else {
            continue;
        };
        if !stands {
            continue;
        }
        let of = (place.0, place.1, key.as_str(), user.id.as_str());
        let outcome = outcomes.entry(of).or_default();
        if event.on.unwrap_or(true) {
            outcome.since = outcome.since.or(Some(event.offset));
        } else {
            *outcome = Outcome {
                ended: true,
                since: None,
            };
        }
    }
    let rows = |wanted: fn(&Outcome) -> bool| -> Vec<ReactionRow<'_>> {
        let outcomes = outcomes.iter().filter(|(_, outcome)| wanted(outcome));
        let rows = outcomes.map(|((room, target, key, user), outcome)| ReactionRow {
            room: *room,
            target: *target,
            key,
            user,
            since: outcome.since,
        });
        rows.collect()
    };
    tx.run_many(UNREACT, &rows(|outcome| outcome.ended)).await?;
    tx.run_many(REACT, &rows(|outcome| outcome.since.is_some()))
        .await
}

/// Takes mentions and reactions of messages away.
pub(crate) async fn strip(tx: &mut Tx, places: &[TargetRow]) -> Result<(), ArchiveError> {
    tx.run_many(UNMENTION, places).await?;
    let unreact = "DELETE FROM reactions WHERE (room_id, target) IN (SELECT \
        CAST(value->>'room' AS BIGINT), CAST(value->>'target' AS BIGINT) FROM json_each($1))";
    tx.run_many(unreact, places).await
}
