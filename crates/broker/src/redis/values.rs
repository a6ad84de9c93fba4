//! Reads the answers of scripts and the entries of streams.

use hubbub_protocol::{Envelope, Epoch, Frame, MessageId, Position};
use redis::{FromRedisValue, Value};

use crate::BrokerError;

pub(super) fn parse_number(value: Value) -> Result<u64, BrokerError> {
    u64::from_redis_value(value).map_err(|error| BrokerError::Unexpected(error.to_string()))
}

pub(super) fn parse_epoch(value: Value) -> Result<Epoch, BrokerError> {
    let text = String::from_redis_value(value)
        .map_err(|error| BrokerError::Unexpected(error.to_string()))?;
    Epoch::new(&text).map_err(|error| BrokerError::Unexpected(error.to_string()))
}

/// Reads `[OFFSET-0, [e, EPOCH, m, MESSAGE, f, FRAME]]`.
pub(super) fn parse_entry(value: Value) -> Result<Envelope, BrokerError> {
    let unexpected = |what: &str| BrokerError::Unexpected(format!("stream entry: {what}"));
    let (id, fields): (String, Vec<(String, Vec<u8>)>) =
        FromRedisValue::from_redis_value(value).map_err(|error| unexpected(&error.to_string()))?;
    let offset = id
        .strip_suffix("-0")
        .and_then(|offset| offset.parse().ok())
        .ok_or_else(|| unexpected("an id that is no offset"))?;
    let (mut epoch, mut message, mut frame) = (None, None, None);
    for (name, bytes) in fields {
        match name.as_str() {
            "e" => {
                epoch = std::str::from_utf8(&bytes)
                    .ok()
                    .and_then(|text| Epoch::new(text).ok());
            }
            "m" => {
                message = std::str::from_utf8(&bytes)
                    .ok()
                    .and_then(|text| MessageId::new(text).ok());
            }
            "f" => frame = Frame::from_json(bytes.into()),
            _ => {}
        }
    }
    let (Some(epoch), Some(message), Some(frame)) = (epoch, message, frame) else {
        return Err(unexpected("a field is missing"));
    };
    Ok(Envelope {
        position: Position { epoch, offset },
        message,
        previous: None,
        frame,
    })
}
