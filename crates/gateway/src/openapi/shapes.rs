//! The shapes of what other crates read and write, as the document shows them; schemathesis holds
//! them against a running node.

#![expect(dead_code, reason = "only their shape is of interest")]

use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A text that has to look like a pattern.
macro_rules! text {
    ($name:ident, $least:literal..=$most:literal, $pattern:expr, $about:expr) => {
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .min_length(Some($least))
                    .max_length(Some($most))
                    .pattern(Some($pattern))
                    .description(Some($about));
                text.into()
            }
        }

        impl ToSchema for $name {}
    };
}

/// The characters that `char::is_control` finds.
const CONTROLS: &str = "\\u0000-\\u001f\\u007f-\\u009f";
/// See `auth::name::turns_or_controls`.
const TURNS: &str = "\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u206f\\ufff9-\\ufffb";
/// The characters that are trimmed; engines of patterns do not agree about `\s`.
const BLANK: &str =
    "\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
/// See `auth::name::is_invisible`; not every engine can name what lies above U+FFFF.
const INVISIBLE: &str = "\\u00ad\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200d\\u2060-\\u2065\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0";

fn printable() -> String {
    format!("^[^{CONTROLS}]+$")
}

/// Nor a character that turns the text's direction; blanks around it are trimmed.
fn plain() -> String {
    format!("^[{BLANK}]*[^{CONTROLS}{TURNS}]*[{BLANK}]*$")
}

/// The same without exception, and something can be seen.
fn visible() -> String {
    let bad = format!("{CONTROLS}{TURNS}");
    format!("^[^{bad}]*[^{bad}{BLANK}{INVISIBLE}][^{bad}]*$")
}

text!(RoomId, 1..=128, "^[A-Za-z0-9_.:-]+$", "A room's name.");
text!(
    UserId,
    1..=128,
    printable(),
    "A user: the `sub` of a token; 128 bytes at most."
);
text!(
    Nonce,
    1..=64,
    printable(),
    "The sender's own name for one send; 64 bytes at most. Within 15 minutes the same one is stored once."
);
text!(
    ReactionKey,
    1..=64,
    printable(),
    "What one reacts with, such as an emoji; 64 bytes at most."
);
text!(
    Name,
    1..=64,
    visible(),
    "A name for people: no control characters, and none that turn the text's direction."
);

text!(Title, 0..=200, plain(), "A room's title for people.");
text!(
    Topic,
    0..=1_000,
    plain(),
    "What a room is about, for people."
);

/// The number of an event in its room.
pub(crate) struct Offset;

impl PartialSchema for Offset {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .minimum(Some(0))
            .maximum(Some((1_u64 << 53) - 1))
            .description(Some("The number of an event in its room."));
        number.into()
    }
}

impl ToSchema for Offset {}

/// How many, or where: what is beyond the largest counts as the largest.
pub(crate) struct Whole;

impl PartialSchema for Whole {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .minimum(Some(0));
        number.into()
    }
}

impl ToSchema for Whole {}

/// How safe a message is before it is acked: in the room's stream, on a replica too, in the archive
/// too.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum AckLevel {
    Stream,
    Replicated,
    Archived,
}

/// A user as others see them.
#[derive(ToSchema)]
pub(crate) struct User {
    id: UserId,
    /// For people; not unique.
    name: String,
}

/// Why a request is refused (RFC 9457).
#[derive(ToSchema)]
pub(crate) struct Problem {
    r#type: String,
    title: String,
    status: u16,
    code: ErrorCode,
    /// The fault and the remedy.
    detail: String,
    /// As `Retry-After`, but finer.
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
}

/// The code for programs.
pub(crate) struct ErrorCode;

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let codes = hubbub_protocol::ErrorCode::ALL.map(hubbub_protocol::ErrorCode::as_str);
        let text = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(codes))
            .description(Some("Stable: programs may go by it."));
        text.into()
    }
}

impl ToSchema for ErrorCode {}

/// Stored, and where.
#[derive(ToSchema)]
pub(crate) struct Sent {
    /// Always `sent`.
    r#type: String,
    room: RoomId,
    /// The life of the room's stream.
    epoch: String,
    offset: Offset,
    /// The event's id; absent where the first send's event has left the stream.
    #[schema(nullable = false)]
    message: Option<String>,
    /// Milliseconds since 1970; absent like `message`.
    #[schema(nullable = false)]
    ts: Option<u64>,
    /// The nonce was known: this is the first send's place.
    duplicate: bool,
    ack: AckLevel,
}

/// Why one message of a batch was refused.
#[derive(ToSchema)]
pub(crate) struct Refused {
    /// Always `error`.
    r#type: String,
    code: ErrorCode,
    message: String,
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
}

/// The result of one message of a batch.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Sent(Sent),
    Refused(Refused),
}

/// A message as it stands now. A deleted one has no `body`.
#[derive(ToSchema)]
pub(crate) struct Message {
    /// Always `message`.
    r#type: String,
    room: RoomId,
    /// Its id.
    message: String,
    /// The sender; absent where nothing but the place is left.
    #[schema(nullable = false)]
    from: Option<User>,
    /// Milliseconds since 1970.
    ts: u64,
    #[schema(nullable = false)]
    nonce: Option<String>,
    /// Any JSON; by convention `{"text": …}`, or `{"event": …, "data": …}`.
    body: Option<Value>,
    /// Users whom the text names.
    #[schema(nullable = false)]
    mentions: Option<Vec<UserId>>,
    #[schema(nullable = false)]
    deleted: Option<bool>,
    /// Its newest edit.
    #[schema(nullable = false)]
    edited: Option<Edited>,
    #[schema(nullable = false)]
    reactions: Option<Vec<Reactions>>,
    epoch: String,
    offset: Offset,
}

/// When and by whom a message was edited last.
#[derive(ToSchema)]
pub(crate) struct Edited {
    ts: u64,
    by: User,
    offset: Offset,
}

/// The users who reacted with one key.
#[derive(ToSchema)]
pub(crate) struct Reactions {
    key: ReactionKey,
    count: u64,
    /// The first 50 of them.
    users: Vec<UserId>,
}

/// A page of messages, newest last.
#[derive(ToSchema)]
pub(crate) struct Page {
    room: RoomId,
    events: Vec<Message>,
    /// There are more in the direction that was asked for.
    more: bool,
}

/// A room, and what is new in it for the caller if it is one of theirs.
#[derive(ToSchema)]
pub(crate) struct RoomEntry {
    room: RoomId,
    /// Users present.
    members: u64,
    offset: Offset,
    /// One of the caller's own.
    #[schema(nullable = false)]
    mine: Option<bool>,
    #[schema(nullable = false)]
    title: Option<String>,
    #[schema(nullable = false)]
    topic: Option<String>,
    #[schema(nullable = false)]
    private: Option<bool>,
    /// The newest message.
    #[schema(nullable = false)]
    last: Option<Message>,
    #[schema(nullable = false)]
    read: Option<Offset>,
    /// Messages of others after that; 100 means more than 99.
    #[schema(nullable = false)]
    unread: Option<u64>,
    /// Those among them that name the caller.
    #[schema(nullable = false)]
    mentions: Option<u64>,
    /// An invitation: the caller was made a member and has not joined the room yet.
    #[schema(nullable = false)]
    invited: Option<bool>,
}

/// A room's record.
#[derive(ToSchema)]
pub(crate) struct Record {
    room: RoomId,
    title: Option<String>,
    topic: Option<String>,
    /// Only its members may join.
    private: bool,
    created_by: User,
    /// Milliseconds since 1970.
    created: u64,
    /// The room's own.
    settings: serde_json::Map<String, Value>,
}

/// A part of a text.
#[derive(ToSchema)]
pub(crate) struct Fragment {
    text: String,
    /// A word that was looked for.
    hit: bool,
}
