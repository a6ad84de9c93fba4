//! An endpoint for webhooks: a real HTTP server that records requests, checks each signature with
//! different code than the node's, and fails when a test asks for it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::deadline::eventually;
use crate::port::free_port;

/// The secret of every receiver, in the form of the settings.
pub const SECRET: &str = "whsec_aHViYnViLXRlc3RzLWh1YmJ1Yi10ZXN0cy0wMDAx";
/// How many seconds a timestamp may be off.
const CLOCK: u64 = 120;

/// The endpoint's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// The status 204.
    Fine,
    /// This status, with a location for a 3xx.
    Status(u16),
    /// No answer, ever.
    Silent,
    /// The status 204 after this delay.
    Slow(Duration),
}

/// One request.
#[derive(Debug, Clone)]
pub struct Told {
    /// The header `webhook-id`.
    pub id: String,
    /// The body.
    pub body: Value,
    /// When the request came.
    pub at: Instant,
    /// Whether the endpoint accepted it.
    pub taken: bool,
}

impl Told {
    /// The body's `type`.
    #[must_use]
    pub fn event(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// The body's `room`.
    #[must_use]
    pub fn room(&self) -> &str {
        self.body["room"].as_str().unwrap_or_default()
    }
}

/// Chooses the answer to a body.
type Judge = dyn Fn(&Value) -> Mood + Send + Sync;

struct State {
    told: Mutex<Vec<Told>>,
    judge: Mutex<Arc<Judge>>,
    /// The errors found in requests.
    faults: Mutex<Vec<String>>,
    connections: Mutex<u64>,
}

/// A running endpoint. Nobody answers at its address after it is dropped or has fallen.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinSet<()>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Starts an endpoint that accepts everything.
    pub async fn start() -> Self {
        let mut receiver = Self::down();
        receiver.rise().await;
        receiver
    }

    /// An endpoint that has an address but does not listen yet.
    #[must_use]
    pub fn down() -> Self {
        let fine: Arc<Judge> = Arc::new(|_: &Value| Mood::Fine);
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            state: Arc::new(State {
                told: Mutex::default(),
                judge: Mutex::new(fine),
                faults: Mutex::default(),
                connections: Mutex::default(),
            }),
            server: JoinSet::new(),
        }
    }

    /// Starts to listen.
    ///
    /// # Panics
    /// Panics if the port is taken.
    pub async fn rise(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("a free port");
        self.server.spawn(serve(listener, Arc::clone(&self.state)));
    }

    /// Ends all connections and stops listening.
    pub async fn fall(&mut self) {
        self.server.shutdown().await;
    }

    /// A `[[webhook]]` table for this endpoint, with additional lines.
    #[must_use]
    pub fn table(&self, more: &str) -> String {
        format!(
            "[[webhook]]\nname = \"port-{}\"\nurl = \"http://{}/hook\"\nsecret = \"{SECRET}\"\n{more}\n",
            self.address.port(),
            self.address
        )
    }

    /// Sets the answer to every request from now on.
    pub fn be(&self, mood: Mood) {
        self.judge(move |_| mood);
    }

    /// Sets how answers depend on the body, from now on.
    pub fn judge(&self, judge: impl Fn(&Value) -> Mood + Send + Sync + 'static) {
        *lock(&self.state.judge) = Arc::new(judge);
    }

    /// The address of the endpoint.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        lock(&self.state.told).clone()
    }

    /// The number of connections so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        *lock(&self.state.connections)
    }

    /// The accepted events, each once, in the order of their first acceptance.
    #[must_use]
    pub fn taken(&self) -> Vec<Told> {
        let mut seen = HashSet::new();
        let told = self.told().into_iter();
        told.filter(|told| told.taken && seen.insert(told.id.clone()))
            .collect()
    }

    /// Waits until `count` events were accepted.
    pub async fn wait_taken(&self, count: usize, deadline: Duration) -> Vec<Told> {
        let what = format!("{count} events were accepted");
        let taken = async || Some(self.taken()).filter(|taken| taken.len() >= count);
        let (taken, _) = eventually(&what, deadline, taken).await;
        self.assert_in_order();
        taken
    }

    /// Checks that every signature was right and that each room's events came in order: an event is
    /// first accepted after all events before it.
    ///
    /// # Panics
    /// Panics if not.
    pub fn assert_in_order(&self) {
        let faults = lock(&self.state.faults).clone();
        assert!(faults.is_empty(), "{faults:?}");
        let mut last: HashMap<String, (u64, u64)> = HashMap::new();
        for told in self.taken() {
            let place = place(&told);
            let before = last.insert(told.room().to_owned(), place);
            assert!(
                before.is_none_or(|before| before < place),
                "{before:?} before {told:?}"
            );
        }
    }
}

/// Parses `EPOCH:OFFSET` or `EPOCH:OFFSET.STEP`.
fn place(told: &Told) -> (u64, u64) {
    let sequence = told.body["sequence"].as_str().expect("a sequence");
    let (_, place) = sequence.split_once(':').expect("an epoch");
    let (offset, step) = place.split_once('.').unwrap_or((place, "0"));
    let number = |text: &str| text.parse().expect("a number");
    (number(offset), number(step))
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        *lock(&state.connections) += 1;
        connections.spawn(answer_all(socket, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_all(socket: TcpStream, state: Arc<State>) {
    let mut socket = BufReader::new(socket);
    while let Some(request) = Request::read(&mut socket).await {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Err(fault) = request.check() {
            lock(&state.faults).push(fault);
        }
        let judge = Arc::clone(&lock(&state.judge));
        let mood = judge(&body);
        let taken = matches!(mood, Mood::Fine | Mood::Slow(_));
        if let Mood::Slow(pause) = mood {
            sleep(pause).await;
        }
        lock(&state.told).push(Told {
            id: request.header("webhook-id"),
            body,
            at: Instant::now(),
            taken,
        });
        let answer = match mood {
            Mood::Silent => return std::future::pending().await,
            Mood::Fine | Mood::Slow(_) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            Mood::Status(status) => format!(
                "HTTP/1.1 {status} As Told\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nno"
            ),
        };
        if socket.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct Request {
    line: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    async fn read(socket: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            socket.read_line(&mut header).await.ok()?;
            let Some((name, value)) = header.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.ok()?;
        Some(Self {
            line,
            headers,
            body,
        })
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }

    /// Checks the request as a careful service does, by the rules of Standard Webhooks.
    fn check(&self) -> Result<(), String> {
        let fault = |what: &str| {
            Err(format!(
                "{what}: {} {:?}",
                self.line.trim_end(),
                self.headers
            ))
        };
        if !self.line.starts_with("POST /hook HTTP/1.1") {
            return fault("wrong request line");
        }
        if self.header("content-type") != "application/json" {
            return fault("wrong content-type");
        }
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock after 1970").as_secs();
        if timestamp
            .parse::<u64>()
            .is_ok_and(|t| now.abs_diff(t) > CLOCK)
        {
            return fault("wrong timestamp");
        }
        let key = BASE64_STANDARD.decode(&SECRET["whsec_".len()..]);
        let key = key.expect("the secret is base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key may have any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        if self.header("webhook-signature") == expected {
            Ok(())
        } else {
            fault("wrong signature")
        }
    }
}
