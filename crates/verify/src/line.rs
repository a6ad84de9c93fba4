//! A log as JSON Lines: one server frame per line as the client received it, and a line for each
//! send that got no frame.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::ClientId;
use crate::verifier::{Ack, Received, Start, Verifier};

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is not a JSON object of a known form.
    #[error("not a frame: {0}")]
    Json(#[from] serde_json::Error),
    /// A frame lacks a field that its type needs.
    #[error("a frame of type {kind:?} needs {field:?}")]
    Missing {
        /// The frame's type.
        kind: String,
        /// The missing field.
        field: &'static str,
    },
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    offset: Option<u64>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    nonce: Option<Cow<'a, str>>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    recovered: Option<bool>,
    #[serde(default, borrow)]
    events: Vec<&'a RawValue>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

impl Line<'_> {
    fn missing(&self, field: &'static str) -> LineError {
        LineError::Missing {
            kind: self.kind.clone().into_owned(),
            field,
        }
    }

    fn room(&self) -> Result<&str, LineError> {
        self.room.as_deref().ok_or_else(|| self.missing("room"))
    }

    fn nonce(&self) -> Result<&str, LineError> {
        self.nonce.as_deref().ok_or_else(|| self.missing("nonce"))
    }

    fn place(&self) -> Result<(&str, &str, u64), LineError> {
        let epoch = self.epoch.as_deref().ok_or_else(|| self.missing("epoch"))?;
        let offset = self.offset.ok_or_else(|| self.missing("offset"))?;
        Ok((self.room()?, epoch, offset))
    }
}

impl Verifier {
    /// Reads one line of a client's log. It ignores types that say nothing about durable events.
    ///
    /// # Errors
    /// [`LineError`] when the line cannot be read.
    pub fn line(&mut self, client: ClientId, text: &str) -> Result<(), LineError> {
        let line: Line<'_> = serde_json::from_str(text)?;
        match line.kind.as_ref() {
            "message" | "edited" | "deleted" | "reacted" => {
                let (room, epoch, offset) = line.place()?;
                let received = Received {
                    room,
                    epoch,
                    offset,
                    frame: text.trim_end(),
                };
                self.event(client, &received)?;
            }
            "joined" => self.joined_line(client, &line)?,
            "reset" => {
                let (room, epoch, offset) = line.place()?;
                self.reset(client, room, epoch, offset);
            }
            "left" => self.left(client, line.room()?),
            "sent" => {
                let (room, epoch, offset) = line.place()?;
                let ack = Ack {
                    room,
                    epoch,
                    offset,
                    nonce: line.nonce.as_deref(),
                    message: line.message.as_deref(),
                    in_turn: !line.duplicate,
                };
                self.sent(client, &ack);
            }
            "refused" => self.refused(client, line.room()?, line.nonce()?),
            "unknown" => self.unknown(line.room()?),
            "welcome" => {
                if let Some(user) = &line.user {
                    self.identify(client, &user.id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn joined_line(&mut self, client: ClientId, line: &Line<'_>) -> Result<(), LineError> {
        let (room, epoch, offset) = line.place()?;
        let is_lost = line.recovered == Some(false);
        let is_first = !self.has_joined(client, room);
        let start = if is_lost || (is_first && !line.events.is_empty()) {
            Start::Anywhere
        } else {
            Start::After
        };
        self.joined(client, room, epoch, offset, start);
        for event in &line.events {
            self.line(client, event.get())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str]) -> crate::Report {
        let mut verifier = Verifier::new();
        let client = verifier.client("a");
        for line in lines {
            verifier.line(client, line).unwrap();
        }
        verifier.report()
    }

    const WELCOME: &str = r#"{"type":"welcome","connection":"c","node":"n","user":{"id":"u","name":"U"},"ping_ms":1,"limits":{}}"#;
    const FIRST: &str = r#"{"type":"message","room":"r","message":"M5","from":{"id":"u","name":"U"},"ts":1,"nonce":"n5","body":1,"epoch":"e","offset":5}"#;
    const SECOND: &str = r#"{"type":"message","room":"r","message":"M6","from":{"id":"u","name":"U"},"ts":1,"nonce":"n6","body":1,"epoch":"e","offset":6}"#;

    #[test]
    fn a_valid_log_is_read() {
        let joined = format!(
            r#"{{"type":"joined","id":1,"room":"r","epoch":"e","offset":5,"recovered":true,"members":1,"rights":"rw","events":[{FIRST}]}}"#
        );
        let report = judged(&[
            WELCOME,
            &joined,
            SECOND,
            r#"{"type":"sent","id":2,"room":"r","epoch":"e","offset":6,"message":"M6","ts":1,"duplicate":false,"ack":"stream"}"#,
            r#"{"type":"refused","room":"r","nonce":"n7"}"#,
            r#"{"type":"unknown","room":"r","nonce":"n8"}"#,
            r#"{"type":"presence","room":"r","count":1,"joined":[],"left":[]}"#,
            r#"{"type":"lagged","room":"r","from":5,"to":6}"#,
        ]);
        assert!(report.is_kept(), "{report}");
        let total = &report.total;
        assert_eq!((total.events, total.acked), (2, 1));
        assert_eq!((total.refused, total.unknown), (1, 1));
    }

    #[test]
    fn a_reset_allows_a_jump_and_nothing_else_does() {
        let other = SECOND.replace(r#""epoch":"e","offset":6"#, r#""epoch":"f","offset":9"#);
        let jump = judged(&[FIRST, &other]);
        assert_eq!(jump.total.counts.out_of_order, 1, "{jump}");
        let reset = r#"{"type":"reset","room":"r","epoch":"f","offset":8}"#;
        let told = judged(&[FIRST, reset, &other]);
        assert!(told.is_kept(), "{told}");
        let unrecovered =
            r#"{"type":"joined","room":"r","epoch":"f","offset":9,"recovered":false,"events":[]}"#;
        let told = judged(&[FIRST, unrecovered, &other]);
        assert!(told.is_kept(), "{told}");
    }

    #[test]
    fn a_resume_continues_the_log() {
        let resumed = format!(
            r#"{{"type":"joined","room":"r","epoch":"e","offset":6,"recovered":true,"events":[{SECOND}]}}"#
        );
        assert!(judged(&[FIRST, &resumed]).is_kept());
        let third = SECOND.replace("6", "7");
        let holed = resumed.replace(SECOND, &third);
        assert_eq!(judged(&[FIRST, &holed]).total.counts.out_of_order, 1);
    }

    #[test]
    fn the_nonce_of_another_user_was_not_refused() {
        let joined =
            r#"{"type":"joined","room":"r","epoch":"e","offset":4,"recovered":true,"events":[]}"#;
        let refused = r#"{"type":"refused","room":"r","nonce":"n5"}"#;
        let mine = judged(&[WELCOME, joined, FIRST, refused]);
        assert_eq!(mine.total.counts.phantoms, 1, "{mine}");
        let theirs = FIRST.replace(r#"{"id":"u""#, r#"{"id":"v""#);
        assert!(judged(&[WELCOME, joined, &theirs, refused]).is_kept());
    }

    #[test]
    fn the_error_of_an_unreadable_line_says_why() {
        let mut verifier = Verifier::new();
        let client = verifier.client("a");
        let mut refusal = |line: &str| verifier.line(client, line).unwrap_err().to_string();
        assert!(refusal("garbage").contains("not a frame"));
        assert!(refusal(r#"{"type":"sent","room":"r","epoch":"e"}"#).contains("\"offset\""));
        assert!(refusal(r#"{"type":"refused","room":"r"}"#).contains("\"nonce\""));
    }
}
