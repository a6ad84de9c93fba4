//! One row of the fault matrix: the load runs, a fault begins and ends, and the result is judged.

use std::fmt::Write;
use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::process::{Setting, run};
use hubbub_tests::recorder::Notes;
use hubbub_tests::redis::Fsync;
use hubbub_verify::Start;
use tokio::time::{Instant, sleep_until};

use crate::arena::Arena;
use crate::footprint::{Footprint, footprints, wait_back};
use crate::publisher::Tally;
use crate::scale::Scale;
use crate::watcher::Watcher;
use crate::workload::{Member, TO_HEAD, Workload};

/// The time for the archive to have everything: five times the goal of 30 s.
const ARCHIVED: Duration = Duration::from_secs(150);

/// The effects on clients that a row allows, besides a delay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Streams may begin a new epoch.
    pub(crate) resets: bool,
    /// Clients of all nodes may have to move.
    pub(crate) moves: bool,
}

pub(crate) struct Row {
    name: String,
    injected: String,
    pub(crate) scale: Scale,
    pub(crate) arena: Arena,
    pub(crate) load: Workload,
    watchers: Vec<Watcher>,
    begun: Instant,
    /// When the fault began.
    pub(crate) fault_at: Instant,
    footprints: Vec<Option<Footprint>>,
    /// Connections that each member had lost before the fault, for example because a node was slow
    /// to accept many clients.
    losses: Vec<usize>,
    /// Nodes whose clients lose their connections.
    harmed: Vec<usize>,
    to_head: Option<Duration>,
    pub(crate) allowed: Allowed,
    /// The archive that must have everything in the end.
    pub(crate) archive: Option<String>,
    facts: String,
    problems: Vec<String>,
}

impl Row {
    /// Starts the usual cluster with the usual load.
    pub(crate) async fn start(name: &str, injected: &str) -> Self {
        Self::start_with(name, injected, Fsync::Always, &[]).await
    }

    pub(crate) async fn start_with(
        name: &str,
        injected: &str,
        fsync: Fsync,
        settings: &[Setting<'_>],
    ) -> Self {
        let arena = Arena::start(fsync, settings).await;
        Self::start_in(name, injected, arena, Scale::of_run()).await
    }

    pub(crate) async fn start_in(name: &str, injected: &str, arena: Arena, scale: Scale) -> Self {
        let load = Workload::start(&arena, &scale).await;
        let watchers = arena.ops.iter().map(|ops| Watcher::start(*ops)).collect();
        Self {
            name: name.to_owned(),
            injected: injected.to_owned(),
            scale,
            arena,
            load,
            watchers,
            begun: Instant::now(),
            fault_at: Instant::now(),
            footprints: Vec::new(),
            losses: Vec::new(),
            harmed: Vec::new(),
            to_head: None,
            allowed: Allowed::default(),
            archive: None,
            facts: String::new(),
            problems: Vec::new(),
        }
    }

    /// Lets the load run until the time of the fault.
    pub(crate) async fn fault(&mut self) {
        sleep_until(self.begun + self.scale.before).await;
        self.footprints = footprints(&self.arena).await;
        let members = self.load.members.iter();
        self.losses = members
            .map(|member| member.recorder.notes().disconnects.len())
            .collect();
        self.fault_at = Instant::now();
    }

    /// Notes that the clients of this node will have to move to another one.
    pub(crate) fn harm(&mut self, node: usize) {
        self.harmed.push(node);
    }

    /// Notes that the fault ended at `back`. Measures until everyone has received something newer
    /// than all events acked by now.
    pub(crate) async fn healed(&mut self, back: Instant) {
        self.healed_within(back, TO_HEAD).await;
    }

    /// The same with another deadline.
    pub(crate) async fn healed_within(&mut self, back: Instant, deadline: Duration) -> Duration {
        let heads = self.load.heads();
        self.load.wait_beyond(&heads, deadline, |_| true).await;
        let took = back.elapsed();
        self.to_head = Some(self.to_head.unwrap_or_default().max(took));
        took
    }

    /// Measures how long these members take to receive something newer than all events acked by
    /// now.
    pub(crate) async fn reach_head(&self, of: impl Fn(&Member) -> bool) -> Duration {
        let heads = self.load.heads();
        self.load.wait_beyond(&heads, TO_HEAD, of).await
    }

    /// Adds a figure to the row's line.
    pub(crate) fn say(&mut self, key: &str, value: impl std::fmt::Display) {
        write!(self.facts, " {key}={value}").expect("writing to a string never fails");
    }

    /// Adds a time to the row's line.
    pub(crate) fn say_time(&mut self, key: &str, value: Duration) {
        self.say(key, format!("{:.2}s", value.as_secs_f64()));
    }

    /// Lets the row fail at its end, unless `is_good`.
    pub(crate) fn check(&mut self, is_good: bool, what: impl Into<String>) {
        if !is_good {
            self.problems.push(what.into());
        }
    }

    /// Checks that the node has reported since the fault began that it is not ready, and why. The
    /// time until then goes into the row's line.
    pub(crate) async fn expect_not_ready(&mut self, node: usize, deadline: Duration) {
        let watcher = &self.watchers[node];
        let since = self.fault_at;
        let what = format!("gw-{node} reports that it is not ready");
        let ((took, says), _) =
            eventually(&what, deadline, async || watcher.first(false, since)).await;
        self.check(took <= deadline, format!("{what} after {took:?}"));
        self.check(
            says != "silence",
            format!("gw-{node} reports what is missing"),
        );
        self.say_time("not_ready", took);
    }

    /// The node says that it is degraded within `deadline` of the fault, and stays ready.
    pub(crate) async fn expect_degraded(&mut self, node: usize, deadline: Duration) {
        let watcher = &self.watchers[node];
        let since = self.fault_at;
        let what = format!("gw-{node} says that it is degraded");
        let ((took, _), _) = eventually(&what, deadline, async || watcher.degraded(since)).await;
        self.check(took <= deadline, format!("{what} after {took:?}"));
        self.say_time("degraded", took);
        self.expect_steady(node);
    }

    /// The node is ready again after `since`; how long that took goes into the line.
    pub(crate) async fn expect_ready(&mut self, node: usize, since: Instant, deadline: Duration) {
        let watcher = &self.watchers[node];
        let what = format!("gw-{node} reports that it is ready");
        let ((took, _), _) = eventually(&what, deadline, async || watcher.first(true, since)).await;
        self.say_time("ready", took);
    }

    /// Checks that the node has been ready all the time since the fault began.
    pub(crate) fn expect_steady(&mut self, node: usize) {
        let wavered = self.watchers[node].wavered(self.fault_at);
        self.check(
            wavered.is_none(),
            format!("gw-{node} was not ready: {wavered:?}"),
        );
    }

    /// Checks that every send that the probers began between two moments was answered within the
    /// limit. The slowest time goes into the row's line.
    pub(crate) fn expect_answers(&mut self, from: Instant, until: Instant, limit: Duration) {
        let answers = self
            .load
            .answers
            .iter()
            .flat_map(|answers| answers.since(from));
        let meanwhile = answers.filter(|answer| answer.asked < until && answer.code != "end");
        let slowest = meanwhile.map(|answer| answer.took).max();
        let Some(slowest) = slowest else {
            return self.check(false, "the probers were answered");
        };
        self.check(
            slowest <= limit,
            format!("a send was answered after {slowest:?}"),
        );
        self.say_time("answered", slowest);
    }

    /// Lets the load run to its end and judges everything.
    ///
    /// # Panics
    /// Panics with a list of everything that was wrong.
    pub(crate) async fn finish(mut self) -> Tally {
        sleep_until(self.begun + self.scale.total).await;
        let tally = self.load.hush().await;
        self.load.wait_level().await;
        let living = self.arena.living().await;
        let reader = living.first().expect("a node that runs");
        self.load.read_back(&self.arena, *reader).await;
        if let Some(archive) = self.archive.clone() {
            self.expect_archived(&archive).await;
        }
        for node in &living {
            self.expect_alive(*node).await;
        }
        let growth = wait_back(&self.arena, &self.footprints, self.scale.rooms).await;
        let growth = growth.unwrap_or_else(|problem| {
            self.problems.push(problem);
            "rss=? files=?".to_owned()
        });
        self.judge_notes();
        self.conclude(&tally, &growth);
        tally
    }

    /// Checks that the archive has caught up, is complete, and agrees with the streams and all
    /// clients. The time until then goes into the row's line.
    async fn expect_archived(&mut self, archive: &str) {
        let redis = self.arena.redis().await.url();
        let settings = [("archive.url", archive), ("redis.url", redis.as_str())];
        let began = Instant::now();
        for (room, head) in self.load.room_ids().iter().zip(self.load.heads()) {
            let export = async || {
                let exported = run(&settings, &["archive", "export", room]).stdout;
                let text = String::from_utf8_lossy(&exported).into_owned();
                let last = text.lines().last()?;
                let last: serde_json::Value = serde_json::from_str(last).ok()?;
                (last["offset"].as_u64()? >= head).then_some(text)
            };
            let (text, _) = eventually("the archive has everything", ARCHIVED, export).await;
            let Some((epoch, after)) = self.load.ledger.open().newest_life(room) else {
                continue;
            };
            let page = self.load.ledger.client(&format!("archive-of-{room}"));
            page.write(|ledger, me| ledger.joined(me, room, &epoch, after, Start::After));
            text.lines().for_each(|line| page.line(line));
        }
        self.say_time("archived", began.elapsed());
        let verified = run(&settings, &["archive", "verify"]);
        self.check(
            verified.status.success(),
            format!(
                "the archive is complete: {}",
                String::from_utf8_lossy(&verified.stdout)
            ),
        );
    }

    async fn expect_alive(&mut self, node: usize) {
        let ops = self.arena.ops[node];
        let ready = async || {
            let (is_ready, _) = crate::arena::readiness(ops).await?;
            is_ready.then_some(())
        };
        eventually(&format!("gw-{node} is ready in the end"), TO_HEAD, ready).await;
    }

    fn judge_notes(&mut self) {
        let mut problems = Vec::new();
        for (member, losses) in self.load.members.iter().zip(&self.losses) {
            let notes = member.recorder.notes();
            let may_move = self.allowed.moves || self.harmed.contains(&member.home);
            let Notes {
                disconnects,
                gaps,
                resets,
                lagged: _,
                unrecovered,
            } = &notes;
            let is_good = *gaps == 0
                && (*resets == 0 || self.allowed.resets)
                && (*unrecovered == 0 || self.allowed.resets)
                && (disconnects.len() == *losses || may_move);
            if !is_good {
                problems.push(format!("{}: {notes:?}", member.recorder.name()));
            }
        }
        self.problems.extend(problems);
    }

    fn conclude(&mut self, tally: &Tally, growth: &str) {
        let report = self.load.ledger.open().report();
        let (total, counts) = (&report.total, report.total.counts);
        let sum = |figure: fn(&Notes) -> u64| -> u64 {
            let notes = self
                .load
                .members
                .iter()
                .map(|member| member.recorder.notes());
            notes.map(|notes| figure(&notes)).sum()
        };
        let slowest = self
            .load
            .members
            .iter()
            .map(|member| member.recorder.slowest());
        println!(
            "row {} injected={:?} clients={} sends={} acked={} refused={} unknown={} events={} \
             lost={} duplicated={} out_of_order={} wrong={} skipped={} to_head={} p99={:.3}s \
             slowest_delivery={:.2}s resets={} moves={} lagged={} {growth}{}",
            self.name,
            self.injected,
            self.load.members.len(),
            tally.sends,
            total.acked,
            total.refused,
            total.unknown,
            total.events,
            counts.lost,
            counts.duplicated,
            counts.out_of_order,
            counts.different + counts.phantoms,
            total.skipped + total.skipped_in_known_life,
            self.to_head
                .map_or("-".to_owned(), |took| format!("{:.2}s", took.as_secs_f64())),
            tally.percentile(99).as_secs_f64(),
            slowest.max().unwrap_or_default().as_secs_f64(),
            sum(|notes| notes.resets),
            sum(|notes| notes.disconnects.len() as u64),
            sum(|notes| notes.lagged),
            self.facts,
        );
        if !self.allowed.resets {
            let skipped = total.skipped + total.skipped_in_known_life;
            assert_eq!(skipped, 0, "nothing may be skipped\n{report}");
        }
        assert_eq!(
            total.skipped_in_known_life, 0,
            "no event of an epoch that a client knows is skipped\n{report}"
        );
        assert!(report.is_kept(), "{report}\n{:#?}", self.problems);
        assert!(self.problems.is_empty(), "{:#?}", self.problems);
    }
}
