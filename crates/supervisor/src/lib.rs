//! Background tasks that run for as long as their node: each has a name, and a panic in one is logged,
//! counted, shown to operators and repaired.
//!
//! A task that can begin again does so after a pause ([`Supervisor::keep`]). A task that cannot, since its
//! state went with the panic, ends its node ([`Supervisor::require`], [`Supervisor::failed`]).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The pause after a first panic. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A task that has run this long since its last panic is taken to be well again.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// The background tasks of one node. Clones share everything.
#[derive(Clone, Default)]
pub struct Supervisor(Arc<Inner>);

#[derive(Default)]
struct Inner {
    panics: Family<Task, Counter>,
    problems: Mutex<BTreeMap<&'static str, String>>,
    failed: CancellationToken,
    /// The task that a test wants to panic.
    asked_to_panic: watch::Sender<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    task: &'static str,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("problems", &self.0.problems.lock())
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Runs what `begin` returns until it ends by itself. After a panic it begins again, after a pause of
    /// 1 s that doubles up to 30 s.
    pub fn keep<W>(
        &self,
        name: &'static str,
        mut begin: impl FnMut() -> W + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        W: Future<Output = ()> + Send + 'static,
    {
        self.know(name);
        let supervisor = self.clone();
        async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let mut work = Box::pin(supervisor.run(name, begin()));
                let ended = match timeout(WELL_AFTER, &mut work).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        pause = FIRST_PAUSE;
                        supervisor.0.problems.lock().remove(name);
                        work.await
                    }
                };
                let Err(reason) = ended else {
                    supervisor.0.problems.lock().remove(name);
                    return;
                };
                supervisor.panicked(name, "begins again");
                tracing::error!(task = name, reason, begins_again_in = ?pause, "a background task has panicked");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Runs `work`, which cannot begin again. A panic ends the node: see [`Self::failed`].
    pub fn require(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.know(name);
        let supervisor = self.clone();
        let work = Box::pin(work);
        async move {
            if let Err(reason) = supervisor.run(name, work).await {
                supervisor.panicked(name, "cannot begin again");
                tracing::error!(
                    task = name,
                    reason,
                    "a background task has panicked and cannot begin again, the node stops"
                );
                supervisor.0.failed.cancel();
            }
        }
    }

    /// Waits until a task has panicked that cannot begin again.
    pub async fn failed(&self) {
        self.0.failed.cancelled().await;
    }

    /// The problems in words, by the name of the task.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let problems = self.0.problems.lock();
        let problems = problems.iter().map(|(name, text)| (*name, text.clone()));
        problems.collect()
    }

    /// Whether the task has panicked a short time ago.
    #[must_use]
    pub fn has_problem(&self, name: &str) -> bool {
        self.0.problems.lock().contains_key(name)
    }

    /// Whether a task has panicked that cannot begin again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.failed.is_cancelled()
    }

    /// Makes the running task of this name panic. For tests only: they show what becomes of it.
    pub fn make_panic(&self, name: &str) {
        self.0.asked_to_panic.send_replace(name.to_owned());
    }

    /// Adds the metric; the registry adds the product's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "background_task_panics",
            "panics of background tasks, each of which began again or ended the node",
            self.0.panics.clone(),
        );
    }

    /// The metric has the task from its start.
    fn know(&self, name: &'static str) {
        drop(self.0.panics.get_or_create(&Task { task: name }));
    }

    /// The text of the panic, if there was one.
    async fn run(&self, name: &str, work: impl Future<Output = ()>) -> Result<(), String> {
        let mut asked = self.0.asked_to_panic.subscribe();
        let asked = async {
            while asked.changed().await.is_ok() {
                assert!(*asked.borrow() != name, "a test asked for this panic");
            }
        };
        let work = async {
            tokio::select! {
                () = work => {}
                () = asked => {}
            }
        };
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        ended.map_err(|panic| text_of(panic.as_ref()))
    }

    fn panicked(&self, name: &'static str, consequence: &str) {
        self.0.panics.get_or_create(&Task { task: name }).inc();
        let problem = format!("the background task '{name}' has panicked and {consequence}");
        self.0.problems.lock().insert(name, problem);
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    fn panics(supervisor: &Supervisor, name: &'static str) -> u64 {
        let panics = &supervisor.0.panics;
        panics.get_or_create(&Task { task: name }).get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_begins_again_after_longer_and_longer_pauses() {
        let supervisor = Supervisor::default();
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        let began = Instant::now();
        let task = supervisor.keep("test", move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move { assert!(number >= 3, "not yet") }
        });
        task.await;
        assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4);
        assert_eq!(begun.load(Ordering::Relaxed), 4);
        assert_eq!(panics(&supervisor, "test"), 3);
        assert_eq!(supervisor.problems(), [], "it ended as it should");
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_is_shown_until_the_task_is_well() {
        let supervisor = Supervisor::default();
        let task = tokio::spawn(supervisor.keep("test", pending));
        tokio::task::yield_now().await;
        assert_eq!(supervisor.problems(), []);
        supervisor.make_panic("other");
        supervisor.make_panic("test");
        sleep(Duration::from_millis(10)).await;
        let [(name, text)] = &supervisor.problems()[..] else {
            panic!("one problem")
        };
        assert_eq!(*name, "test");
        assert!(
            text.contains("'test' has panicked and begins again"),
            "{text}"
        );
        sleep(FIRST_PAUSE + WELL_AFTER).await;
        assert_eq!(supervisor.problems(), []);
        assert!(!supervisor.has_failed() && !task.is_finished());
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_cannot_begin_again_ends_the_node() {
        let supervisor = Supervisor::default();
        supervisor.require("fine", async {}).await;
        assert!(!supervisor.has_failed());
        supervisor
            .require("test", async { panic!("{}", "gone") })
            .await;
        supervisor.failed().await;
        assert_eq!(panics(&supervisor, "test"), 1);
        assert!(supervisor.problems()[0].1.contains("cannot begin again"));
    }
}
