//! The queue to one client: everything that it receives, including replies, in one order.
//!
//! The queue is bounded in bytes and frames. [`Outbox::offer`] refuses events that do not fit; the
//! room then marks the client as behind, and the reader fetches them from the room's log or stream
//! as the socket drains. All other frames are accepted up to twice the bytes; beyond that the
//! connection is closed with 4408.
//!
//! If the transport has given the outbox a [`Line`], live events for a client whose task sleeps go
//! to its socket without waking the task.

mod budget;
mod line;
mod reader;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use hubbub_protocol::{CloseCode, Frame};
use parking_lot::Mutex;

pub(crate) use self::budget::OutboxBudget;
pub(crate) use self::line::Due;
pub use self::line::Line;
pub use self::reader::OutboxReader;
use crate::Limits;
use crate::room::Room;

/// A client that falls behind this often within [`LAG_WINDOW`] is closed with 4408.
const LAG_STRIKES: usize = 3;
const LAG_WINDOW: Duration = Duration::from_secs(60);
/// Bytes that a queued frame costs beside its content.
const FRAME_OVERHEAD: usize = 32;
/// A queue with a capacity above this many frames frees its memory when it is emptied.
const IDLE_FRAMES: usize = 16;

/// The writing end, shared by the session and its rooms.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    max_bytes: usize,
    max_frames: usize,
    budget: Arc<OutboxBudget>,
}

/// The result of offering live frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered {
    /// How many were accepted, from the first on.
    pub(crate) taken: usize,
    /// The client's own bound stopped the rest: the client reads too slowly.
    pub(crate) is_full: bool,
    /// The reader was not woken: [`Outbox::flush`] has to be called.
    pub(crate) is_due: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The socket that live events can be written to directly.
    line: Option<Arc<dyn Line>>,
    frames: VecDeque<Frame>,
    /// Bytes of `frames`, and of the frames that the reader has taken but not written yet.
    bytes: usize,
    taken_bytes: usize,
    taken_frames: usize,
    reader: Option<Waker>,
    /// The session and its reads, while they wait for space.
    writers: Vec<Waker>,
    close: Option<CloseCode>,
    /// The client is gone: nobody will take frames any more.
    is_abandoned: bool,
    /// The taken frames need not be written any more.
    is_shed: bool,
    /// The writing side, while the socket takes nothing.
    stalled: Option<Waker>,
    /// Sends whose answer is still due. A close waits for them.
    due_answers: usize,
    /// Rooms in which the client is behind; the reader has to catch up.
    behind: VecDeque<Arc<Room>>,
    lags: VecDeque<Instant>,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits, budget: &Arc<OutboxBudget>) -> Self {
        Self {
            state: Mutex::default(),
            max_bytes: usize::try_from(limits.outbox_bytes.as_u64()).unwrap_or(usize::MAX),
            max_frames: limits.outbox_frames.max(1),
            budget: Arc::clone(budget),
        }
    }

    /// Accepts as many of the live `frames` as fit, in order.
    pub(crate) fn offer<'a>(&self, frames: impl Iterator<Item = &'a Frame>) -> Offered {
        let has_budget = self.budget.excess() == 0;
        let mut state = self.state.lock();
        let before = state.bytes;
        let mut offered = Offered {
            taken: 0,
            is_full: false,
            is_due: false,
        };
        for frame in frames {
            offered.is_full = state.len() >= self.max_frames || state.bytes >= self.max_bytes;
            if offered.is_full || !(has_budget || state.frames.is_empty()) {
                break;
            }
            state.put(frame.clone());
            offered.taken += 1;
        }
        self.budget.add(state.bytes - before);
        offered.is_due = offered.taken > 0 && state.can_flush();
        if !offered.is_due {
            state.wake_reader();
        }
        offered
    }

    /// Sets the state of a sleeping connection task. For benchmarks.
    pub(crate) fn fall_asleep(&self, line: &Arc<dyn Line>) {
        let mut state = self.state.lock();
        state.line = Some(Arc::clone(line));
        state.reader = Some(Waker::noop().clone());
    }

    /// Writes the queued frames to the socket if the connection's task sleeps. The task writes the
    /// rest that the socket does not take at once.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        if !state.can_flush() {
            return state.wake_reader();
        }
        let State {
            line: Some(line),
            frames,
            ..
        } = &mut *state
        else {
            return;
        };
        let before = frames.len();
        let has_more = line.send(frames);
        state.taken_frames = before - state.frames.len();
        let left = state
            .frames
            .iter()
            .map(|frame| frame.len() + FRAME_OVERHEAD);
        state.taken_bytes = state.bytes - left.sum::<usize>();
        if has_more {
            // The bytes that the line still holds count until the task has written them.
            state.wake_reader();
        } else {
            self.budget.give_back(state.settle());
        }
    }

    /// Queues a reply, or a push without an offset.
    pub(crate) fn push(&self, frame: Frame) {
        let mut state = self.state.lock();
        if state.bytes >= self.max_bytes.saturating_mul(2) {
            state.end(CloseCode::Slow);
        } else {
            let before = state.bytes;
            state.put(frame);
            self.budget.add(state.bytes - before);
        }
        state.wake_reader();
    }

    /// The queued bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Bytes that will become free by themselves, because the outbox has been shed.
    pub(crate) fn shed_bytes(&self) -> usize {
        let state = self.state.lock();
        if state.is_shed { state.bytes } else { 0 }
    }

    /// Ends the connection and drops the queued frames; the client resumes. Returns the bytes that
    /// this frees, some of them only when the connection has ended. `None`: the outbox has been
    /// shed already, or holds nothing.
    pub(crate) fn shed(&self) -> Option<usize> {
        let mut state = self.state.lock();
        if state.is_shed || state.bytes == 0 {
            return None;
        }
        let held = state.bytes;
        self.budget.give_back(held - state.taken_bytes);
        state.bytes = state.taken_bytes;
        state.frames = VecDeque::new();
        state.is_shed = true;
        state.end(CloseCode::Slow);
        state.wake_reader();
        Some(held)
    }

    /// Notes that the client is behind in `room`, so that the reader catches up. Called under the
    /// room's lock, like [`Outbox::caught_up`], so that both agree.
    pub(crate) fn fall_behind(&self, room: &Arc<Room>) {
        let mut state = self.state.lock();
        if state.close.is_none() && !state.behind.iter().any(|behind| Arc::ptr_eq(behind, room)) {
            state.behind.push_back(Arc::clone(room));
        }
        state.wake_reader();
    }

    /// Notes that the client has caught up in `room`, or has left it.
    pub(crate) fn caught_up(&self, room: &Arc<Room>) {
        self.state
            .lock()
            .behind
            .retain(|behind| !Arc::ptr_eq(behind, room));
    }

    /// Moves the room to the end: rooms take turns.
    fn next_behind(&self, last: &Arc<Room>) {
        let mut state = self.state.lock();
        if state
            .behind
            .front()
            .is_some_and(|front| Arc::ptr_eq(front, last))
        {
            state.behind.rotate_left(1);
        }
    }

    /// Counts one lag of the client. Too many within [`LAG_WINDOW`] end the connection.
    pub(crate) fn strike(&self, now: Instant) {
        let mut state = self.state.lock();
        state
            .lags
            .retain(|lag| now.duration_since(*lag) < LAG_WINDOW);
        state.lags.push_back(now);
        if state.lags.len() >= LAG_STRIKES {
            state.end(CloseCode::Slow);
            state.wake_reader();
        }
    }

    /// Ends the connection after the frames that are queued now. The first code counts.
    pub(crate) fn close(&self, code: CloseCode) {
        let mut state = self.state.lock();
        state.end(code);
        state.wake_reader();
    }

    /// Waits until there is space for another answer. Returns false if the connection is being
    /// closed, so that there will be no answer.
    pub(crate) async fn has_room(&self) -> bool {
        poll_fn(|context| {
            let mut state = self.state.lock();
            let has_room = state.len() < self.max_frames && state.bytes < self.max_bytes;
            if state.has_ended() || has_room {
                return Poll::Ready(!state.has_ended());
            }
            state.wait(context.waker());
            Poll::Pending
        })
        .await
    }

    /// Waits until the connection is being closed, or its client is gone.
    pub(crate) async fn ended(&self) {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if state.has_ended() {
                return Poll::Ready(());
            }
            state.wait(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// Notes that the client is gone. Answers in preparation are given up.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_abandoned = true;
        state.wake_writers();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes());
    }
}

impl State {
    fn put(&mut self, frame: Frame) {
        if self.close.is_none() {
            self.put_last(frame);
        }
    }

    fn put_last(&mut self, frame: Frame) {
        self.bytes += frame.len() + FRAME_OVERHEAD;
        self.frames.push_back(frame);
    }

    fn end(&mut self, code: CloseCode) {
        self.close.get_or_insert(code);
        self.behind.clear();
        if let Some(stalled) = self.stalled.take() {
            stalled.wake();
        }
        self.wake_writers();
    }

    fn has_ended(&self) -> bool {
        self.close.is_some() || self.is_abandoned
    }

    fn wait(&mut self, writer: &Waker) {
        if !self.writers.iter().any(|waker| waker.will_wake(writer)) {
            self.writers.push(writer.clone());
        }
    }

    fn wake_writers(&mut self) {
        std::mem::take(&mut self.writers)
            .into_iter()
            .for_each(Waker::wake);
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Whether the task sleeps and holds no unwritten frames, so that a direct write overtakes
    /// nothing.
    fn can_flush(&self) -> bool {
        let is_idle = self.reader.is_some() && self.taken_frames == 0;
        is_idle && self.close.is_none() && self.line.is_some()
    }

    fn len(&self) -> usize {
        self.frames.len() + self.taken_frames
    }

    /// Marks the taken frames as written. Returns their bytes.
    fn settle(&mut self) -> usize {
        self.bytes -= self.taken_bytes;
        if std::mem::take(&mut self.taken_frames) > 0 {
            self.wake_writers();
        }
        std::mem::take(&mut self.taken_bytes)
    }

    fn take_all(&mut self, batch: &mut Vec<Frame>) {
        self.taken_frames = self.frames.len();
        self.taken_bytes = self.bytes;
        batch.extend(self.frames.drain(..));
        if self.frames.capacity() > IDLE_FRAMES {
            self.frames = VecDeque::new();
        }
    }
}

/// The answer that a send is owed. It is given once, or dropped when the node stops.
#[derive(Debug)]
pub(crate) struct DueAnswer(Arc<Outbox>);

impl DueAnswer {
    pub(crate) fn new(outbox: &Arc<Outbox>) -> Self {
        outbox.state.lock().due_answers += 1;
        Self(Arc::clone(outbox))
    }

    /// Queues the answer even if the connection is being closed: an accepted send is answered.
    pub(crate) fn give(&self, frame: Frame) {
        let mut state = self.0.state.lock();
        let before = state.bytes;
        state.put_last(frame);
        self.0.budget.add(state.bytes - before);
        state.wake_reader();
    }
}

impl Drop for DueAnswer {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.due_answers -= 1;
        state.wake_reader();
    }
}

#[cfg(test)]
impl Outbox {
    /// Takes everything that is queued, as if it had been written.
    pub(crate) fn take_texts(&self) -> Vec<String> {
        let mut batch = Vec::new();
        let mut state = self.state.lock();
        state.take_all(&mut batch);
        self.budget.give_back(state.settle());
        batch
            .iter()
            .map(|frame| frame.as_str().to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    fn outbox(bytes: u64, frames: usize) -> Outbox {
        let limits = Limits {
            outbox_bytes: ByteSize::b(bytes),
            outbox_frames: frames,
            outbox_node_bytes: ByteSize::b(2_000),
            ..Limits::default()
        };
        Outbox::new(&limits, &Arc::new(OutboxBudget::new(&limits)))
    }

    fn frame(bytes: usize) -> Frame {
        Frame::from_json(vec![b' '; bytes].into()).unwrap()
    }

    fn take(outbox: &Outbox) -> usize {
        let mut batch = Vec::new();
        let mut state = outbox.state.lock();
        state.settle();
        state.take_all(&mut batch);
        state.settle();
        batch.len()
    }

    #[test]
    fn live_frames_stop_at_either_bound() {
        let frames = vec![frame(100); 10];
        assert_eq!(outbox(10_000, 4).offer(frames.iter()).taken, 4);
        let narrow = outbox(300, 100);
        assert_eq!(
            narrow.offer(frames.iter()),
            Offered {
                taken: 3,
                is_full: true,
                is_due: false,
            }
        );
        assert_eq!(narrow.offer(frames.iter()).taken, 0);
        assert_eq!(take(&narrow), 3);
        assert_eq!(narrow.offer(frames.iter()).taken, 3);
    }

    #[test]
    fn a_spent_budget_of_the_node_is_nobodys_slowness() {
        let outbox = outbox(100_000, 100);
        let frames = vec![frame(1_000); 3];
        assert_eq!(outbox.offer(frames.iter()).taken, 3);
        assert_eq!(
            outbox.offer(frames.iter()),
            Offered {
                taken: 0,
                is_full: false,
                is_due: false,
            }
        );
        assert_eq!(outbox.shed(), Some(3 * (1_000 + FRAME_OVERHEAD)));
        assert_eq!(outbox.budget.excess(), 0);
        assert_eq!(outbox.shed(), None, "it has been shed already");
    }

    #[test]
    fn what_is_being_written_counts_as_coming_free() {
        let outbox = outbox(100_000, 100);
        outbox.push(frame(1_900));
        let mut batch = Vec::new();
        outbox.state.lock().take_all(&mut batch);
        assert_eq!(outbox.shed(), Some(1_900 + FRAME_OVERHEAD));
        assert!(outbox.state.lock().is_shed);
    }

    #[test]
    fn replies_pass_the_bound_but_not_twice_the_bound() {
        let outbox = outbox(300, 1);
        for _ in 0..10 {
            outbox.push(frame(100));
        }
        assert_eq!(outbox.state.lock().close, Some(CloseCode::Slow));
        assert_eq!(take(&outbox), 5);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_client_that_has_gone() {
        let outbox = outbox(300, 1);
        outbox.push(frame(400));
        let waiting = async { (outbox.has_room().await, outbox.ended().await) };
        let gone = async { outbox.abandon() };
        let ((has_room, ()), ()) = tokio::join!(waiting, gone);
        assert!(!has_room);
    }

    #[test]
    fn the_third_lag_in_a_minute_ends_it() {
        let outbox = outbox(300, 1);
        let start = Instant::now();
        for seconds in [0, 61, 62] {
            outbox.strike(start + Duration::from_secs(seconds));
        }
        assert_eq!(outbox.state.lock().close, None);
        outbox.strike(start + Duration::from_secs(63));
        assert_eq!(outbox.state.lock().close, Some(CloseCode::Slow));
    }

    /// A line that takes so many frames, then no more.
    #[derive(Debug)]
    struct Narrow(Mutex<usize>);

    impl Line for Narrow {
        fn send(&self, frames: &mut VecDeque<Frame>) -> bool {
            let mut room = self.0.lock();
            let count = frames.len().min(*room);
            frames.drain(..count);
            *room -= count;
            !frames.is_empty()
        }
    }

    #[test]
    fn live_frames_go_to_the_line_only_while_the_task_sleeps() {
        let outbox = outbox(10_000, 100);
        outbox.state.lock().line = Some(Arc::new(Narrow(Mutex::new(3))));
        let frames = vec![frame(100); 2];
        assert!(!outbox.offer(frames.iter()).is_due, "the task is awake");
        assert_eq!(take(&outbox), 2);
        let sleep = || outbox.state.lock().reader = Some(Waker::noop().clone());
        sleep();
        assert!(outbox.offer(frames.iter()).is_due);
        outbox.flush();
        assert_eq!(outbox.bytes(), 0);
        assert!(outbox.offer(frames.iter()).is_due, "the task still sleeps");
        outbox.flush();
        // One frame went out, and counts until the task has run. One is left.
        let state = outbox.state.lock();
        assert!(state.reader.is_none(), "the task was woken");
        assert_eq!((state.frames.len(), state.taken_frames), (1, 1));
        drop(state);
        sleep();
        assert!(
            !outbox.offer(frames.iter()).is_due,
            "an earlier frame is on its way"
        );
        assert_eq!(take(&outbox), 3);
        sleep();
        outbox.close(CloseCode::Restart);
        sleep();
        assert!(!outbox.offer(frames.iter()).is_due);
    }

    #[test]
    fn a_due_answer_goes_out_before_the_close() {
        let outbox = Arc::new(outbox(300, 10));
        let answer = DueAnswer::new(&outbox);
        outbox.close(CloseCode::Restart);
        answer.give(frame(1));
        assert_eq!(take(&outbox), 1);
        assert_eq!(outbox.state.lock().due_answers, 1);
        drop(answer);
        assert_eq!(outbox.state.lock().due_answers, 0);
    }

    #[test]
    fn nothing_is_queued_behind_a_close_and_the_first_code_counts() {
        let outbox = outbox(300, 10);
        outbox.push(frame(1));
        outbox.close(CloseCode::Restart);
        outbox.close(CloseCode::Slow);
        outbox.push(frame(1));
        assert_eq!(take(&outbox), 1);
        assert_eq!(outbox.state.lock().close, Some(CloseCode::Restart));
    }
}
