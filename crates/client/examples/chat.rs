//! A chat in the terminal: each line that is typed is sent to the room.
//!
//! `cargo run --release --example chat -- lobby Ann http://127.0.0.1:3000 http://127.0.0.1:3001`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, io, thread};

use hubbub_client::{Client, ClientConfig, ClientEvent, Event, EventKind, RequestError, Start};
use hubbub_protocol::RoomId;
use serde_json::json;
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut given = env::args().skip(1);
    let room = RoomId::new(&given.next().unwrap_or_else(|| "lobby".to_owned()))?;
    let name = given.next().unwrap_or_else(|| "Rust".to_owned());
    let mut urls: Vec<String> = given.collect();
    if urls.is_empty() {
        urls = ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]
            .map(str::to_owned)
            .into();
    }
    let (client, events) = Client::start(ClientConfig::new(urls).with_guest_name(name))?;
    // The queue of events is bounded: while nobody reads it, answers wait as well.
    let showing = tokio::spawn(show(events));
    client.join(&room, Start::Recent(20)).await?;
    say_lines(&client, &room).await?;
    client.close().await;
    showing.await?;
    Ok(())
}

/// Sends each line, until the end of the input. An error is final: what can be retried, the client
/// has retried.
async fn say_lines(client: &Client, room: &RoomId) -> Result<(), RequestError> {
    let mut lines = typed_lines();
    while let Some(text) = lines.recv().await {
        match client.send(room, &json!({ "text": text })).await {
            Ok(sent) => println!("# kept as number {}", sent.offset),
            Err(error @ RequestError::Refused(_)) => eprintln!("# {error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A terminal can only be waited for; a thread that does so ends with the program.
fn typed_lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if typed.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Shows what is heard until the client is closed.
async fn show(mut events: mpsc::Receiver<ClientEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            ClientEvent::Connected { node, user, .. } => println!("# {} is on {node}", user.name),
            ClientEvent::Disconnected {
                reason, retry_in, ..
            } => {
                println!("# lost ({reason}), back in {retry_in:?}");
            }
            ClientEvent::Event(event) if event.kind == EventKind::Message => show_message(&event),
            ClientEvent::Reset { .. } => println!("# messages may be missing here"),
            ClientEvent::RoomLost { error, .. } => println!("# {error}"),
            ClientEvent::Closed { code, reason } => println!("# over: {code:?} {reason}"),
            _ => {}
        }
    }
}

fn show_message(event: &Event) {
    let name = event.from.as_ref().map_or("?", |user| &*user.name);
    let text = event.body.as_ref().and_then(|body| body["text"].as_str());
    println!("{name}: {}", text.unwrap_or("(no text)"));
}
