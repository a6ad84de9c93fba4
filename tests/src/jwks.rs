//! A small server of an identity provider's public keys, which counts who asks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::issuer::Issuer;

/// A running server; gone when dropped.
pub struct JwksServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// `None`: whoever asks is hung up on.
    body: Option<String>,
    asked: Vec<String>,
}

impl JwksServer {
    /// Serves the keys of these.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(issuers: &[&Issuer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let state = Arc::<Mutex<State>>::default();
        let mut task = JoinSet::new();
        let shared = Arc::clone(&state);
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = timeout(Duration::from_secs(5), answer(stream, &shared));
                // Whoever hangs up has asked all the same.
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

    /// `auth.jwks_url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/keys.json", self.address)
    }

    /// From now on the keys of these, and no others.
    pub fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        self.say(Some(json!({ "keys": keys }).to_string()));
    }

    /// From now on nobody gets an answer.
    pub fn go_down(&self) {
        self.say(None);
    }

    fn say(&self, body: Option<String>) {
        self.state.lock().expect("no panic holds it").body = body;
    }

    /// The request lines of all who asked.
    ///
    /// # Panics
    /// Never: nothing panics while it is held.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().expect("no panic holds it").asked.clone()
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
        let mut state = state.lock().expect("no panic holds it");
        state.asked.push(line);
        state.body.clone()
    };
    let Some(body) = body else { return Ok(()) };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
