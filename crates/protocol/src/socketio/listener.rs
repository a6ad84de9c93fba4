//! From a client's messages to what it says: packets with their attachments, in the namespaces
//! that it is in.

use bytes::Bytes;

use super::packet::{Heard, PacketError, decode};

/// The server's ear for one connection.
#[derive(Debug)]
pub struct Listener {
    /// Few at most.
    joined: Vec<String>,
    /// A packet whose attachments are not all here yet.
    open: Option<Box<Assembly>>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Assembly {
    heard: Heard<'static>,
    missing: usize,
    bytes: usize,
}

impl Listener {
    /// For a connection whose packets may have so many bytes of attachments in all.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            joined: Vec::new(),
            open: None,
            max_bytes,
        }
    }

    /// The client has been let into a namespace.
    pub fn enter(&mut self, namespace: &str) {
        // Most clients are in one, and a vector would make room for four.
        self.joined.reserve_exact(1);
        self.joined.push(namespace.to_owned());
    }

    /// The client is no longer in a namespace.
    pub fn leave(&mut self, namespace: &str) {
        self.joined.retain(|joined| joined != namespace);
    }

    /// Takes a text message; `None`: its attachments are still to come.
    ///
    /// # Errors
    /// [`PacketError`]: the connection must end.
    pub fn hear_text<'a>(&mut self, text: &'a str) -> Result<Option<Heard<'a>>, PacketError> {
        if self.open.is_some() {
            return Err(PacketError::MissingBinary);
        }
        let (heard, missing) = decode(text)?;
        self.check_namespace(&heard)?;
        if missing == 0 {
            return Ok(Some(heard));
        }
        self.open = Some(Box::new(Assembly {
            heard: heard.into_owned(),
            missing,
            bytes: 0,
        }));
        Ok(None)
    }

    /// Takes a binary message; `None`: more attachments are still to come.
    ///
    /// # Errors
    /// [`PacketError`]: the connection must end.
    pub fn hear_binary(&mut self, bytes: Bytes) -> Result<Option<Heard<'static>>, PacketError> {
        let Some(mut open) = self.open.take() else {
            return Err(PacketError::UnexpectedBinary);
        };
        open.bytes += bytes.len();
        if open.bytes > self.max_bytes {
            return Err(PacketError::TooManyAttachments);
        }
        open.missing -= 1;
        match &mut open.heard {
            Heard::Event { attachments, .. } | Heard::Ack { attachments, .. } => {
                attachments.push(bytes);
            }
            Heard::Connect { .. } | Heard::Disconnect { .. } => {}
        }
        if open.missing == 0 {
            return Ok(Some(open.heard));
        }
        self.open = Some(open);
        Ok(None)
    }

    fn check_namespace(&self, heard: &Heard<'_>) -> Result<(), PacketError> {
        let (namespace, must_be_in) = match heard {
            Heard::Connect { namespace, .. } => (namespace, false),
            Heard::Disconnect { namespace }
            | Heard::Event { namespace, .. }
            | Heard::Ack { namespace, .. } => (namespace, true),
        };
        match (self.joined.contains(namespace), must_be_in) {
            (true, true) | (false, false) => Ok(()),
            (false, true) => Err(PacketError::NotJoined),
            (true, false) => Err(PacketError::AlreadyJoined),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Args;
    use super::*;

    fn listener() -> Listener {
        let mut listener = Listener::new(100);
        listener.enter("/");
        listener
    }

    #[test]
    fn attachments_complete_a_packet() {
        let mut listener = listener();
        let text = r#"52-7["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        assert_eq!(listener.hear_text(text), Ok(None));
        assert_eq!(listener.hear_binary(Bytes::from_static(b"a")), Ok(None));
        let Ok(Some(Heard::Event {
            attachments, id, ..
        })) = listener.hear_binary(Bytes::from_static(b"b"))
        else {
            panic!("no event")
        };
        assert_eq!(
            (attachments, id),
            (
                vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")],
                Some(7)
            )
        );
        assert_eq!(
            listener.hear_binary(Bytes::new()),
            Err(PacketError::UnexpectedBinary)
        );
    }

    #[test]
    fn nothing_comes_between_and_nothing_grows_without_end() {
        let text = r#"52-["x",{"_placeholder":true,"num":0}]"#;
        let mut between = listener();
        between.hear_text(text).unwrap();
        assert_eq!(
            between.hear_text("2[\"a\"]"),
            Err(PacketError::MissingBinary)
        );
        let mut large = listener();
        large.hear_text(text).unwrap();
        large.hear_binary(vec![0; 60].into()).unwrap();
        assert_eq!(
            large.hear_binary(vec![0; 60].into()),
            Err(PacketError::TooManyAttachments)
        );
    }

    #[test]
    fn a_namespace_is_entered_once_and_before_anything_else() {
        let mut listener = listener();
        assert_eq!(listener.hear_text("0"), Err(PacketError::AlreadyJoined));
        assert_eq!(
            listener.hear_text("2/a,[\"x\"]"),
            Err(PacketError::NotJoined)
        );
        assert_eq!(listener.hear_text("1/a"), Err(PacketError::NotJoined));
        assert!(listener.hear_text("0/a").unwrap().is_some());
        listener.enter("/a");
        assert!(listener.hear_text("2/a,[\"x\"]").unwrap().is_some());
        listener.leave("/a");
        assert_eq!(
            listener.hear_text("2/a,[\"x\"]"),
            Err(PacketError::NotJoined)
        );
    }

    /// Texts near to real packets: type, attachments, namespace, number, JSON.
    fn packets() -> impl Strategy<Value = String> {
        let json = prop_oneof![
            Just(String::new()),
            Just("{}".to_owned()),
            Just("[\"a\",1]".to_owned()),
            Just("[\"a\",{\"_placeholder\":true,\"num\":0}]".to_owned()),
            "\\PC{0,20}",
            "[\\[\\]{}\",:0-9a-z_-]{0,30}",
        ];
        (
            "[0-9]?",
            "([0-9]{0,3}-)?",
            "(/[a-z]{0,3},?)?",
            "[0-9]{0,20}",
            json,
        )
            .prop_map(|(kind, count, namespace, id, json)| {
                format!("{kind}{count}{namespace}{id}{json}")
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_message_panics(texts in prop::collection::vec((packets(), any::<bool>()), 1..6)) {
            let mut listener = listener();
            for (text, is_binary) in texts {
                let bytes = Bytes::from(text.clone());
                let heard = if is_binary { listener.hear_binary(bytes) } else { listener.hear_text(&text) };
                if heard.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn events_survive_the_way(name in "[a-z]{1,9}x", text: String, id in prop::option::of(0_u64..1 << 53)) {
            let json = serde_json::json!([name, text]).to_string();
            let packet = format!("2{}{json}", id.map(|id| id.to_string()).unwrap_or_default());
            let heard = listener().hear_text(&packet).unwrap();
            let args = Args::read(&json).unwrap();
            prop_assert_eq!(heard, Some(Heard::Event { namespace: "/".to_owned(), id, args, attachments: Vec::new() }));
        }
    }
}
