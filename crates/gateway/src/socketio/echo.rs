//! A WebSocket that sends back what it receives, over the real upgrade and frame code: for outside suites
//! that judge them, in no product's routes.

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hubbub_protocol::CloseCode;
use tokio_util::task::TaskTracker;

use crate::ws::decoder::MessageLimits;
use crate::ws::handshake::{check_request, raw_stream, switching_protocols};
use crate::ws::socket::{Data, End, Progress, Socket};
use crate::ws::wire::Opcode;

/// From a message's first byte to its last.
const ASSEMBLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Upgrades the request and echoes text and binary messages of up to `max_bytes`. The connection's
/// task is held by `tasks`.
pub fn echo_socket(mut request: Request, max_bytes: usize, tasks: &TaskTracker) -> Response {
    let accept = match check_request(request.method(), request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(error) => return error.into_response(),
    };
    let pending = hyper::upgrade::on(&mut request);
    tasks.spawn(async move {
        let Ok((stream, early)) = raw_stream(pending).await else {
            return;
        };
        let limits = MessageLimits {
            bytes: max_bytes,
            fragments: 0,
            binary: true,
        };
        let mut socket = Box::new(Socket::with_limits(
            stream,
            &early,
            limits,
            ASSEMBLE_TIMEOUT,
        ));
        let end = echo(&mut socket).await;
        socket.finish(end).await;
    });
    switching_protocols(&accept, false)
}

async fn echo(socket: &mut Socket) -> End {
    let (mut reader, writer) = socket.split();
    loop {
        let data = tokio::select! {
            biased;
            data = reader.next_data() => data.map(Some),
            () = writer.has_unsent() => Ok(None),
        };
        let frame = match data {
            // Nobody pays here.
            Ok(Some(Data::Large(bytes))) => {
                reader.admit(bytes);
                continue;
            }
            Ok(Some(Data::Text(text))) => Some((Opcode::Text, Bytes::from(text))),
            Ok(Some(Data::Binary(bytes))) => Some((Opcode::Binary, bytes.into())),
            Ok(None) => None,
            Err(end) => return end,
        };
        let mut frames = frame.into_iter();
        loop {
            match writer.try_write(&mut frames) {
                Ok(Progress::Done) => break,
                Ok(Progress::Blocked) if writer.writable().await.is_ok() => {}
                Ok(Progress::Blocked) => return End::Gone,
                Err(_) => return End::Ours(CloseCode::Internal),
            }
        }
    }
}
