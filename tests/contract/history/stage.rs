//! A node with real stores, and one room that is compared with its model.

use std::sync::Arc;
use std::time::Duration;

use hubbub_archive::Archive;
use hubbub_broker::{
    Broker, Declaration, Head, Journal, MemoryCluster, NewEpoch, Outcome, Reconciliation, Span,
};
use hubbub_node::{Action, Identity, Node, Post, keep_journal};
use hubbub_protocol::command::{Body, HistorySpan, Terms};
use hubbub_protocol::{Envelope, Epoch, NodeId, ReactionKey, RoomId, User, UserId};
use hubbub_supervisor::Supervisor;
use hubbub_tests::deadline::eventually;
use hubbub_tests::local;
use hubbub_tests::postgres::Postgres;
use hubbub_tests::redis::{Fsync, Redis};
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::model::{Event, Message, Model, shown};
use super::{Step, Way};

const DEADLINE: Duration = Duration::from_secs(20);
/// The number of events that a stream keeps; Redis rounds up to a hundred.
const STREAM_LEN: (&str, &str) = ("history.stream_len", "40");

type Played<T = ()> = Result<T, TestCaseError>;

/// One pair of stores and a node that uses it.
pub(super) struct Stage {
    node: Arc<Node>,
    broker: Broker,
    archive: Option<Archive>,
    redis: Option<Redis>,
    postgres: Option<(Arc<Postgres>, String)>,
    journal: Option<JoinHandle<()>>,
    _folder: Option<TempDir>,
}

impl Stage {
    /// A memory broker, alone or with a file.
    pub(super) async fn memory(url: Option<&str>) -> Self {
        let settings = local::settings(0, &[STREAM_LEN, ("archive.url", url.unwrap_or(""))]);
        let archive = Archive::open(&settings.archive).await.unwrap();
        let mut journal = None;
        let mut commits = None;
        if let Some(archive) = archive.clone() {
            archive.connect().await.unwrap();
            let (sender, requests) = Journal::new();
            journal = Some(tokio::spawn(keep_journal(archive, requests)));
            commits = Some(sender);
        }
        let cluster = MemoryCluster::new(settings.broker_config(), commits);
        let (broker, inbox) = Broker::memory(&cluster);
        let id = NodeId::new("played").unwrap();
        let node = Node::start(
            id,
            settings.node_config(),
            broker.clone(),
            archive.clone(),
            inbox,
            Supervisor::default(),
        );
        Self {
            node,
            broker,
            archive,
            redis: None,
            postgres: None,
            journal,
            _folder: None,
        }
    }

    pub(super) async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("hubbub.db").display());
        let mut stage = Self::memory(Some(&url)).await;
        stage._folder = Some(folder);
        stage
    }

    /// A Redis, alone or with a database.
    pub(super) async fn redis(url: Option<&str>) -> Self {
        let redis = Redis::start(Fsync::EverySecond).await;
        let redis_url = redis.url();
        let settings = [
            STREAM_LEN,
            ("redis.url", &redis_url),
            ("archive.url", url.unwrap_or("")),
        ];
        let settings = local::settings(0, &settings);
        let archive = Archive::open(&settings.archive).await.unwrap();
        if let Some(archive) = &archive {
            archive.connect().await.unwrap();
        }
        let id = NodeId::new("played").unwrap();
        let (broker, inbox) =
            Broker::redis(&settings.broker_config(), &id, &Supervisor::default()).unwrap();
        broker.declare(Declaration::default());
        assert!(broker.joined(DEADLINE).await, "the node joins");
        eventually("the broker is ready", DEADLINE, async || {
            broker.health().problem.is_none().then_some(())
        })
        .await;
        let node = Node::start(
            id,
            settings.node_config(),
            broker.clone(),
            archive.clone(),
            inbox,
            Supervisor::default(),
        );
        Self {
            node,
            broker,
            archive,
            redis: Some(redis),
            postgres: None,
            journal: None,
            _folder: None,
        }
    }

    pub(super) async fn postgres() -> Self {
        let postgres = Postgres::shared().await;
        let url = postgres.database().await;
        let mut stage = Self::redis(Some(&url)).await;
        stage.postgres = Some((postgres, url));
        stage
    }

    pub(super) async fn close(self) {
        self.node.shutdown().await;
        if let Some(journal) = self.journal {
            journal.abort();
        }
        if let Some(archive) = self.archive {
            archive.close().await;
        }
    }
}

/// One room and its model.
pub(super) struct Play<'a> {
    stage: &'a Stage,
    room: RoomId,
    model: Model,
    /// A lock that keeps the archive from writing.
    hold: Option<PgConnection>,
    said: usize,
}

impl<'a> Play<'a> {
    pub(super) fn new(stage: &'a Stage) -> Self {
        let name = format!("played-{}", fastrand::u64(..));
        Self {
            stage,
            room: RoomId::new(&name).unwrap(),
            model: Model::default(),
            hold: None,
            said: 0,
        }
    }

    pub(super) async fn step(&mut self, step: &Step) -> Played {
        match *step {
            Step::Send(count) => self.send(count).await,
            Step::Edit(pick) => self.edit(pick).await,
            Step::Delete(pick) => self.delete(pick).await,
            Step::React(pick, who, on) => self.react(pick, who, on).await,
            Step::Trim(percent) => self.trim(percent).await,
            Step::Hold(true) => self.hold().await,
            Step::Hold(false) => self.release().await,
            Step::Expire(percent) => self.expire(percent).await,
            Step::Fork(gap) => self.fork(gap).await,
            Step::Read(way, percent, size) => {
                let at = self.model.top() * percent / 100;
                self.read(way, at, size).await
            }
        }
    }

    /// Reads the whole room, in small and in large pages, while the archive is behind and after it
    /// has caught up, and searches for old bodies.
    pub(super) async fn finish(&mut self) -> Played {
        self.walk(7).await?;
        self.release().await?;
        self.walk(300).await?;
        self.check_stores().await
    }
}

/// Steps that change the room.
impl Play<'_> {
    async fn send(&mut self, count: usize) -> Played {
        let mut posts = Vec::new();
        for number in 0..count {
            posts.push(self.post(Action::Send {
                body: text(self.said + number),
                from: None,
            }));
        }
        let receipts = self.stage.node.post_all(&identity("alice"), posts).await;
        for receipt in receipts {
            let said = self.said;
            self.said += 1;
            let message = Message {
                text: said.to_string(),
                ..Message::default()
            };
            let receipt = receipt.map_err(failed)?;
            self.note(receipt.frame.as_str(), Some(message)).await?;
        }
        Ok(())
    }

    async fn edit(&mut self, pick: usize) -> Played {
        let Some(target) = self.choose(pick).await? else {
            return Ok(());
        };
        let body = text(self.said);
        let offset = self.change("alice", Action::Edit { target, body }).await?;
        let message = self.model.message(target);
        (message.text, message.edited) = (self.said.to_string(), Some(offset));
        self.said += 1;
        Ok(())
    }

    async fn delete(&mut self, pick: usize) -> Played {
        let Some(target) = self.choose(pick).await? else {
            return Ok(());
        };
        self.change("alice", Action::Delete { target }).await?;
        self.model.message(target).is_deleted = true;
        Ok(())
    }

    async fn react(&mut self, pick: usize, who: u8, on: bool) -> Played {
        let Some(target) = self.choose(pick).await? else {
            return Ok(());
        };
        let user = format!("user-{}", who % 2);
        let key = ReactionKey::new(["👍", "x"][usize::from(who / 2)]).unwrap();
        let action = Action::React {
            target,
            key: key.clone(),
            on,
        };
        self.change(&user, action).await?;
        let user = UserId::new(&user).unwrap();
        self.model.message(target).react(&key, &user, on);
        Ok(())
    }

    /// A message of the present epoch.
    async fn choose(&mut self, pick: usize) -> Played<Option<u64>> {
        self.forget_what_left().await?;
        let Some(head) = self.head().await? else {
            return Ok(None);
        };
        Ok(self.model.choose(&head.epoch, pick))
    }

    async fn change(&mut self, user: &str, action: Action) -> Played<u64> {
        let post = self.post(action);
        let receipt = self.stage.node.post(&identity(user), post).await;
        let receipt = receipt.map_err(failed)?;
        self.note(receipt.frame.as_str(), None).await
    }

    fn post(&self, action: Action) -> Post {
        let (nonce, ack) = (None, None);
        Post {
            room: self.room.clone(),
            terms: Terms { nonce, ack },
            action,
            address: None,
        }
    }

    async fn note(&mut self, sent: &str, message: Option<Message>) -> Played<u64> {
        let sent: Value = serde_json::from_str(sent).unwrap();
        let offset = sent["offset"].as_u64().unwrap();
        prop_assert!(offset > self.model.top(), "{sent}");
        self.model.0.push(Event {
            offset,
            epoch: Epoch::new(sent["epoch"].as_str().unwrap()).unwrap(),
            ts: sent["ts"].as_u64().unwrap(),
            message,
            is_gone: false,
        });
        Ok(offset)
    }
}

/// Steps that change the stores.
impl Play<'_> {
    /// Redis loses the oldest entries of the stream: all that it may, or only the archived ones.
    async fn trim(&mut self, percent: u64) -> Played {
        let Some(redis) = &self.stage.redis else {
            return Ok(());
        };
        let page = self.stage.broker.peek(&self.room, Span::Newest, 0).await;
        let Some(page) = page.map_err(failed)? else {
            return Ok(());
        };
        let most = if self.stage.archive.is_some() {
            page.archived.unwrap_or(page.base)
        } else {
            page.head.offset
        };
        let first = format!("{}-0", 1 + most * percent / 100);
        if let Some(stream) = self.key("stream").await {
            let _: u64 = redis.command(&["XTRIM", &stream, "MINID", &first]).await;
        }
        self.forget_what_left().await
    }

    /// The key of a part of the room, if it exists.
    async fn key(&self, part: &str) -> Option<String> {
        let pattern = format!("*:room:{}:{part}", self.room);
        let redis = self.stage.redis.as_ref()?;
        let keys: Vec<String> = redis.command(&["KEYS", &pattern]).await;
        keys.into_iter().next()
    }

    async fn hold(&mut self) -> Played {
        if let (None, Some((_, url))) = (&self.hold, &self.stage.postgres) {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let lock = sqlx::raw_sql("BEGIN; LOCK TABLE events IN SHARE MODE");
            lock.execute(&mut connection).await.unwrap();
            self.hold = Some(connection);
        }
        Ok(())
    }

    /// Lets the archive write, and waits until it has everything.
    async fn release(&mut self) -> Played {
        if let Some(connection) = self.hold.take() {
            connection.close().await.unwrap();
        }
        if self.stage.postgres.is_none() {
            return Ok(());
        }
        let (broker, room) = (&self.stage.broker, &self.room);
        let is_archived = async || {
            let page = broker.peek(room, Span::Newest, 0).await.unwrap();
            let waits = page
                .is_some_and(|page| page.archived.unwrap_or(0).max(page.base) < page.head.offset);
            (!waits).then_some(())
        };
        eventually("the archive has everything", DEADLINE, is_archived).await;
        Ok(())
    }

    async fn expire(&mut self, percent: u64) -> Played {
        self.release().await?;
        let place = self.model.0.len() as u64 * percent / 100;
        let Some(event) = self.model.0.get(usize::try_from(place).unwrap()) else {
            return Ok(());
        };
        let cutoff = event.ts;
        let broker = &self.stage.broker;
        while broker.expire(&self.room, cutoff).await.map_err(failed)? {}
        if let Some(archive) = &self.stage.archive {
            while archive
                .expire(&self.room, cutoff, 50)
                .await
                .map_err(failed)?
                > 0
            {}
        }
        for event in &mut self.model.0 {
            event.is_gone |= event.ts < cutoff;
        }
        Ok(())
    }

    /// Begins a new epoch above all offsets seen. The old epoch's entries stay below it.
    async fn fork(&mut self, gap: u64) -> Played {
        self.release().await?;
        let Some(Head { epoch, offset }) = self.head().await? else {
            return Ok(());
        };
        let decision = Reconciliation {
            run: self.stage.broker.run(&self.room),
            found: Some(epoch.clone()),
            is_final: true,
            is_private: false,
            outcome: Outcome::Begin(NewEpoch {
                above: offset + gap,
                floor: epoch.number(),
                ..NewEpoch::first()
            }),
        };
        let begun = self.stage.broker.reconcile(&self.room, &decision).await;
        prop_assert!(begun.map_err(failed)?.is_some(), "nobody else decides");
        Ok(())
    }

    async fn head(&self) -> Played<Option<Head>> {
        let page = self.stage.broker.peek(&self.room, Span::Newest, 0).await;
        Ok(page.map_err(failed)?.map(|page| page.head))
    }

    /// Without an archive, events that have left the stream are lost.
    async fn forget_what_left(&mut self) -> Played {
        if self.stage.archive.is_none() {
            let oldest = self.stage.broker.peek(&self.room, Span::After(0), 1).await;
            let oldest = oldest.map_err(failed)?;
            let first = oldest.and_then(|page| Some(page.events.first()?.position.offset));
            self.model.lose_below(first.unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// Checks of the room's content.
impl Play<'_> {
    async fn read(&mut self, way: Way, at: u64, size: usize) -> Played {
        self.forget_what_left().await?;
        let (span, (expected, more)) = match way {
            Way::Newest => (HistorySpan::Before(None), self.model.before(None, size)),
            Way::Before => {
                let before = Some(at);
                (HistorySpan::Before(before), self.model.before(before, size))
            }
            Way::After => (HistorySpan::After(at), self.model.after(at, size)),
            Way::Around => (HistorySpan::Around(at), self.model.around(at, size)),
        };
        let (events, has_more) = self.page(span, size).await?;
        prop_assert_eq!(&events, &expected, "{:?} with {}", span, size);
        prop_assert_eq!(has_more, more, "more of {:?} with {}", span, size);
        Ok(())
    }

    async fn page(&self, span: HistorySpan, size: usize) -> Played<(Vec<Value>, bool)> {
        let (node, alice) = (&self.stage.node, identity("alice"));
        let page = node.history(&alice, &self.room, span, size).await;
        let page = page.map_err(failed)?;
        let events = page.events.iter().map(|event| shown(event.frame.as_str()));
        Ok((events.collect(), page.more))
    }

    /// Reads the whole room in both directions.
    async fn walk(&mut self, size: usize) -> Played {
        self.forget_what_left().await?;
        let (all, _) = self.model.after(0, usize::MAX);
        let offset = |event: &Value| event["offset"].as_u64().unwrap();
        let (mut up, mut before) = (Vec::new(), None);
        loop {
            let (page, more) = self.page(HistorySpan::Before(before), size).await?;
            before = page.first().map(offset).or(before);
            up.splice(0..0, page);
            if !more {
                break;
            }
        }
        prop_assert_eq!(&up, &all, "before, in pages of {}", size);
        let (mut down, mut after) = (Vec::new(), 0);
        loop {
            let (page, more) = self.page(HistorySpan::After(after), size).await?;
            after = page.last().map_or(after, offset);
            down.extend(page);
            if !more {
                break;
            }
        }
        prop_assert_eq!(&down, &all, "after, in pages of {}", size);
        Ok(())
    }

    /// Checks that no store has a body that was edited away or deleted, or an expired event.
    async fn check_stores(&self) -> Played {
        let mut after = 0;
        loop {
            let span = Span::After(after);
            let page = self.stage.broker.peek(&self.room, span, 100).await;
            let events = page
                .map_err(failed)?
                .map_or_else(Vec::new, |page| page.events);
            let Some(last) = events.last() else { break };
            after = last.position.offset;
            events.iter().try_for_each(|event| self.check(event))?;
        }
        let Some(archive) = &self.stage.archive else {
            return Ok(());
        };
        let mut last = None;
        loop {
            let events = archive.export(&self.room, last.as_ref(), 100).await;
            let events = events.map_err(failed)?;
            let Some(newest) = events.last() else {
                return Ok(());
            };
            last = Some(newest.position.clone());
            events.iter().try_for_each(|event| self.check(event))?;
        }
    }

    fn check(&self, envelope: &Envelope) -> Played {
        let event = envelope.read().map_err(failed)?;
        let known = self
            .model
            .0
            .iter()
            .find(|known| known.offset == event.offset);
        let Some(known) = known else {
            return Err(TestCaseError::fail(format!(
                "an event that was never sent: {envelope:?}"
            )));
        };
        prop_assert!(!known.is_gone, "an expired event: {envelope:?}");
        prop_assert_eq!(&known.epoch, &envelope.position.epoch, "{:?}", envelope);
        if let Some(text) = event.text() {
            let may = self.model.may_say(event.offset, event.target, &text);
            prop_assert!(may, "an old body: {envelope:?}");
        }
        Ok(())
    }
}

fn identity(name: &str) -> Identity {
    Identity::of(User {
        id: UserId::new(name).unwrap(),
        name: name.into(),
    })
}

fn text(number: usize) -> Body {
    Body::from(&json!({"text": number.to_string()}))
}

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}
