//! A small server for an identity provider's public keys. It counts the requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::issuer::Issuer;

/// A running server. It stops when dropped.
pub struct JwksServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// The key set. With `None` the server closes each connection without an answer.
    body: Option<String>,
    asked: Vec<String>,
}

impl JwksServer {
    /// Serves the keys of these issuers.
    ///
    /// # Panics
    /// Panics if there is no free port.
    pub async fn start(issuers: &[&Issuer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::<Mutex<State>>::default();
        let mut task = JoinSet::new();
        let shared = Arc::clone(&state);
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = timeout(Duration::from_secs(5), answer(stream, &shared));
                // A client that closes early is counted all the same.
                drop(answer.await);
            }
        });
        let server = Self {
            address,
            state,
            _task: task,
        };
        server.publish(issuers);
        server
    }

    /// The value of `auth.jwks_url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/keys.json", self.address)
    }

    /// Serves the keys of these issuers, and no others, from now on.
    pub fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        self.say(Some(json!({ "keys": keys }).to_string()));
    }

    /// Answers no request from now on.
    pub fn go_down(&self) {
        self.say(None);
    }

    fn say(&self, body: Option<String>) {
        self.state
            .lock()
            .expect("no thread panicked with the lock")
            .body = body;
    }

    /// The request lines so far.
    ///
    /// # Panics
    /// Never panics: no thread panics with the lock.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state
            .lock()
            .expect("no thread panicked with the lock")
            .asked
            .clone()
    }
}

async fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < 16 * 1024 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(());
        }
        request.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&request);
    let line = text.lines().next().unwrap_or_default().to_owned();
    let body = {
        let mut state = state.lock().expect("no thread panicked with the lock");
        state.asked.push(line);
        state.body.clone()
    };
    let Some(body) = body else { return Ok(()) };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
