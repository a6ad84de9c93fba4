//! The messages of the load: bodies that carry a number, and how a member reads it.

use std::fmt::Write;

/// Appends a body of `length` bytes that carries `number`.
pub(crate) fn write_body(out: &mut String, number: u64, length: usize) {
    let start = out.len();
    // Writing to a String cannot fail.
    let _ = write!(out, r#"{{"n":{number},"p":""#);
    let padding = length.saturating_sub(out.len() - start + 2);
    out.extend(std::iter::repeat_n('x', padding));
    out.push_str("\"}");
}

/// Returns the number and the offset of a load message, without parsing all of it.
pub(crate) fn read(frame: &[u8]) -> Option<(u64, u64)> {
    // IDs, a name and a nonce stand before the body; the offset stands at the end.
    let body = find(frame, br#""body":{"n":"#)?;
    let number = leading_number(&frame[body..])?;
    let end = frame.strip_suffix(b"}")?;
    let digits = end.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let offset = leading_number(&end[end.len() - digits.count()..])?;
    Some((number, offset))
}

/// The text value of `"key":"…"`, if it has no escapes.
pub(crate) fn text<'a>(frame: &'a [u8], key: &str) -> Option<&'a str> {
    let start = find(frame, format!(r#""{key}":""#).as_bytes())?;
    let length = frame[start..].iter().position(|&byte| byte == b'"')?;
    std::str::from_utf8(&frame[start..start + length]).ok()
}

/// The number in `"key":…`.
pub(crate) fn number(frame: &[u8], key: &str) -> Option<u64> {
    let start = find(frame, format!(r#""{key}":"#).as_bytes())?;
    leading_number(&frame[start..])
}

/// The index of the first byte after `wanted`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted).map(|at| at + wanted.len())
}

/// The number that these bytes begin with.
pub(crate) fn leading_number(bytes: &[u8]) -> Option<u64> {
    let mut digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let first = u64::from(digits.next()? - b'0');
    Some(digits.fold(first, |number, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_length_and_number() {
        for number in [0, 7, 123_456] {
            let mut body = String::new();
            write_body(&mut body, number, 128);
            assert_eq!(body.len(), 128);
            let frame = format!(
                r#"{{"type":"message","room":"r","from":{{"id":"a","name":"A"}},"body":{body},"ts":1,"epoch":"e","offset":42}}"#
            );
            assert_eq!(read(frame.as_bytes()), Some((number, 42)));
        }
        assert_eq!(read(br#"{"type":"presence","room":"r","count":1}"#), None);
    }

    #[test]
    fn fields_are_found() {
        let frame = br#"{"type":"joined","id":1,"epoch":"k3f9","offset":57,"recovered":true}"#;
        assert_eq!(text(frame, "epoch"), Some("k3f9"));
        assert_eq!(number(frame, "offset"), Some(57));
        assert_eq!(text(frame, "room"), None);
    }
}
