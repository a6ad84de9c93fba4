//! Operators' messages to all nodes, on their way to one: rules, orders in their sequence, questions.

use std::sync::Arc;

use hubbub_protocol::{Issued, RoomId};
use tokio::sync::{Notify, mpsc};

/// Orders that a node has not taken yet; beyond, the broker waits with the next.
const ORDERS: usize = 1_024;
/// Questions that a node has not taken yet; further ones get no answer from it.
const QUESTIONS: usize = 64;

/// Something for this node.
#[derive(Debug, PartialEq, Eq)]
pub enum Control {
    /// All rules that there are now, in place of those that were known.
    Rules(Vec<Issued>),
    /// The same, after the broker has lost some: what the node knows beside them still holds, and is
    /// given back by [`crate::Broker::restore_rules`].
    Remains(Vec<Issued>),
    /// The next order. One may come twice.
    Order(Issued),
    /// Access to a room has changed. Nodes that are not subscribed to the room learn it only here.
    Access(RoomId),
    /// Somebody asks all nodes: [`crate::Broker::answer`].
    Question(Question),
}

/// A question to all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// To be given back with the answer.
    pub id: String,
    /// As it was asked.
    pub text: String,
}

/// The answers of the nodes.
#[derive(Debug, Default)]
pub struct Answers {
    /// One text for each node that did.
    pub heard: Vec<String>,
    /// Names of living nodes that did not in time.
    pub silent: Vec<String>,
}

/// The node's end.
#[derive(Debug)]
pub struct ControlReceiver {
    orders: mpsc::Receiver<Control>,
    questions: mpsc::Receiver<Question>,
}

/// The broker's end.
#[derive(Debug, Clone)]
pub(crate) struct ControlSender {
    orders: mpsc::Sender<Control>,
    questions: mpsc::Sender<Question>,
    /// There are new orders to be looked for.
    due: Arc<Notify>,
}

pub(crate) fn control() -> (ControlSender, ControlReceiver) {
    let (order_sender, orders) = mpsc::channel(ORDERS);
    let (question_sender, questions) = mpsc::channel(QUESTIONS);
    let sender = ControlSender {
        orders: order_sender,
        questions: question_sender,
        due: Arc::default(),
    };
    (sender, ControlReceiver { orders, questions })
}

impl ControlReceiver {
    /// The next message; `None` when the broker has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Control> {
        tokio::select! {
            biased;
            order = self.orders.recv() => order,
            Some(question) = self.questions.recv() => Some(Control::Question(question)),
        }
    }
}

impl ControlSender {
    /// Waits while the node is behind. `false`: the node has ended.
    pub(crate) async fn tell(&self, control: Control) -> bool {
        self.orders.send(control).await.is_ok()
    }

    /// The first words to a node that has heard nothing yet.
    pub(crate) fn begin_with(&self, rules: Vec<Issued>) {
        let told = self.orders.try_send(Control::Rules(rules));
        told.expect("there is room for the first one");
    }

    /// Never waits: a node that is behind forgets its answers about the room a little later by itself.
    pub(crate) fn change_access(&self, room: RoomId) {
        drop(self.orders.try_send(Control::Access(room)));
    }

    /// Never waits: a node that is asked too much does not answer.
    pub(crate) fn ask(&self, question: Question) {
        drop(self.questions.try_send(question));
    }

    pub(crate) fn wake(&self) {
        self.due.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.due.notified().await;
    }
}
