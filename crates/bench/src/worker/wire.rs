//! The client's side of WebSocket frames and of the handshake.

/// The kind of a frame from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Ping,
    Close,
    Other,
}

/// Splits off the first whole frame of `bytes`: its kind, its payload, and its length in all.
pub(crate) fn split(bytes: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let &[first, second, ref rest @ ..] = bytes else {
        return None;
    };
    let (length, header): (usize, usize) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(header..header.checked_add(length)?)?;
    let kind = match first & 0x0F {
        1 => Kind::Text,
        8 => Kind::Close,
        9 => Kind::Ping,
        _ => Kind::Other,
    };
    Some((kind, payload, header + length))
}

/// Appends a frame to the server. Its mask is zero, which is valid and costs nothing.
pub(crate) fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// The request for an upgrade. Each of `headers` ends its line.
pub(crate) fn upgrade(host: &str, path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Returns the index where frames begin after the answer to the handshake, once the answer is
/// complete.
///
/// # Errors
/// The server refused; the error is its status line and its body.
pub(crate) fn upgraded(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    if bytes.starts_with(b"HTTP/1.1 101") {
        return Ok(Some(end + 4));
    }
    let line = bytes
        .split(|&byte| byte == b'\r')
        .next()
        .unwrap_or_default();
    // The body of a refusal says why, if it came with the head.
    let (line, why) = (
        String::from_utf8_lossy(line),
        String::from_utf8_lossy(&bytes[end + 4..]),
    );
    Err(format!("{line} {why}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_and_the_rest_waits() {
        let mut bytes = b"\x81\x02hi\x89\x00\x81\x7e\x01\x00".to_vec();
        bytes.extend([b'x'; 256]);
        assert_eq!(split(&bytes), Some((Kind::Text, b"hi".as_slice(), 4)));
        assert_eq!(split(&bytes[4..]), Some((Kind::Ping, b"".as_slice(), 2)));
        let (kind, payload, length) = split(&bytes[6..]).unwrap();
        assert_eq!((kind, payload.len(), length), (Kind::Text, 256, 260));
        for cut in 1..260 {
            assert_eq!(split(&bytes[6..6 + cut]), None);
        }
    }

    #[test]
    fn an_upgrade_is_told_from_a_refusal() {
        assert_eq!(upgraded(b"HTTP/1.1 101 Switching"), Ok(None));
        assert_eq!(
            upgraded(b"HTTP/1.1 101 X\r\na: b\r\n\r\n\x81"),
            Ok(Some(24))
        );
        let told = upgraded(b"HTTP/1.1 503 X\r\na: b\r\n\r\nit is full");
        assert_eq!(told, Err("HTTP/1.1 503 X it is full".to_owned()));
        let refused = upgraded(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert_eq!(refused, Err("HTTP/1.1 503 Service Unavailable".to_owned()));
    }
}
