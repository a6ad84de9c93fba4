//! Assembles a client's messages into packets with their attachments, and checks their namespaces.

use bytes::Bytes;

use super::packet::{ClientPacket, ClientPacketError, decode};

/// Reads the packets of one connection.
#[derive(Debug)]
pub struct PacketReader {
    /// The namespaces that the client has joined. They are few.
    joined: Vec<String>,
    /// A packet that still waits for attachments.
    open: Option<Box<Assembly>>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Assembly {
    packet: ClientPacket<'static>,
    missing: usize,
    bytes: usize,
}

impl PacketReader {
    /// A reader for one connection. All attachments of one packet may have `max_bytes` together.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            joined: Vec::new(),
            open: None,
            max_bytes,
        }
    }

    /// The client has joined a namespace.
    pub fn enter(&mut self, namespace: &str) {
        // Most clients join one namespace, and a vector would reserve space for four.
        self.joined.reserve_exact(1);
        self.joined.push(namespace.to_owned());
    }

    /// The client has left a namespace.
    pub fn leave(&mut self, namespace: &str) {
        self.joined.retain(|joined| joined != namespace);
    }

    /// Reads a text message. Returns `None` if attachments must follow.
    ///
    /// # Errors
    /// The packet is refused. The connection must end.
    pub fn read_text<'a>(
        &mut self,
        text: &'a str,
    ) -> Result<Option<ClientPacket<'a>>, ClientPacketError> {
        if self.open.is_some() {
            return Err(ClientPacketError::MissingBinary);
        }
        let (packet, missing) = decode(text)?;
        self.check_namespace(&packet)?;
        if missing == 0 {
            return Ok(Some(packet));
        }
        self.open = Some(Box::new(Assembly {
            packet: packet.into_owned(),
            missing,
            bytes: 0,
        }));
        Ok(None)
    }

    /// Reads a binary message. Returns `None` if more attachments must follow.
    ///
    /// # Errors
    /// The packet is refused. The connection must end.
    pub fn read_binary(
        &mut self,
        bytes: Bytes,
    ) -> Result<Option<ClientPacket<'static>>, ClientPacketError> {
        let Some(mut open) = self.open.take() else {
            return Err(ClientPacketError::UnexpectedBinary);
        };
        open.bytes += bytes.len();
        if open.bytes > self.max_bytes {
            return Err(ClientPacketError::TooManyAttachments);
        }
        open.missing -= 1;
        match &mut open.packet {
            ClientPacket::Event { attachments, .. } | ClientPacket::Ack { attachments, .. } => {
                attachments.push(bytes);
            }
            ClientPacket::Connect { .. } | ClientPacket::Disconnect { .. } => {}
        }
        if open.missing == 0 {
            return Ok(Some(open.packet));
        }
        self.open = Some(open);
        Ok(None)
    }

    fn check_namespace(&self, packet: &ClientPacket<'_>) -> Result<(), ClientPacketError> {
        let (namespace, must_be_in) = match packet {
            ClientPacket::Connect { namespace, .. } => (namespace, false),
            ClientPacket::Disconnect { namespace }
            | ClientPacket::Event { namespace, .. }
            | ClientPacket::Ack { namespace, .. } => (namespace, true),
        };
        match (self.joined.contains(namespace), must_be_in) {
            (true, true) | (false, false) => Ok(()),
            (false, true) => Err(ClientPacketError::NotJoined),
            (true, false) => Err(ClientPacketError::AlreadyJoined),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Args;
    use super::*;

    fn reader() -> PacketReader {
        let mut reader = PacketReader::new(100);
        reader.enter("/");
        reader
    }

    #[test]
    fn attachments_complete_a_packet() {
        let mut reader = reader();
        let text = r#"52-7["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        assert_eq!(reader.read_text(text), Ok(None));
        assert_eq!(reader.read_binary(Bytes::from_static(b"a")), Ok(None));
        let Ok(Some(ClientPacket::Event {
            attachments, id, ..
        })) = reader.read_binary(Bytes::from_static(b"b"))
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
            reader.read_binary(Bytes::new()),
            Err(ClientPacketError::UnexpectedBinary)
        );
    }

    #[test]
    fn text_between_attachments_and_too_many_bytes_are_refused() {
        let text = r#"52-["x",{"_placeholder":true,"num":0}]"#;
        let mut between = reader();
        between.read_text(text).unwrap();
        assert_eq!(
            between.read_text("2[\"a\"]"),
            Err(ClientPacketError::MissingBinary)
        );
        let mut large = reader();
        large.read_text(text).unwrap();
        large.read_binary(vec![0; 60].into()).unwrap();
        assert_eq!(
            large.read_binary(vec![0; 60].into()),
            Err(ClientPacketError::TooManyAttachments)
        );
    }

    #[test]
    fn a_namespace_is_joined_once_and_before_anything_else() {
        let mut reader = reader();
        assert_eq!(reader.read_text("0"), Err(ClientPacketError::AlreadyJoined));
        assert_eq!(
            reader.read_text("2/a,[\"x\"]"),
            Err(ClientPacketError::NotJoined)
        );
        assert_eq!(reader.read_text("1/a"), Err(ClientPacketError::NotJoined));
        assert!(reader.read_text("0/a").unwrap().is_some());
        reader.enter("/a");
        assert!(reader.read_text("2/a,[\"x\"]").unwrap().is_some());
        reader.leave("/a");
        assert_eq!(
            reader.read_text("2/a,[\"x\"]"),
            Err(ClientPacketError::NotJoined)
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
            let mut reader = reader();
            for (text, is_binary) in texts {
                let bytes = Bytes::from(text.clone());
                let packet = if is_binary { reader.read_binary(bytes) } else { reader.read_text(&text) };
                if packet.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn events_are_read_as_they_were_written(name in "[a-z]{1,9}x", text: String, id in prop::option::of(0_u64..1 << 53)) {
            let json = serde_json::json!([name, text]).to_string();
            let packet = format!("2{}{json}", id.map(|id| id.to_string()).unwrap_or_default());
            let packet = reader().read_text(&packet).unwrap();
            let args = Args::read(&json).unwrap();
            prop_assert_eq!(packet, Some(ClientPacket::Event { namespace: "/".to_owned(), id, args, attachments: Vec::new() }));
        }
    }
}
