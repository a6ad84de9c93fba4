//! Writes the frames of a Socket.IO client's sessions as events and acks.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use hubbub_node::OutboxReader;
use hubbub_protocol::socketio::{Message, encode};
use hubbub_protocol::{CloseCode, Frame};

use super::translator::Translator;
use super::{Chat, Note, Notes, Opening};
use crate::socketio::handler::Outbound;

/// The speaking end of one connection.
pub(crate) struct ChatOutbound {
    chat: Arc<Chat>,
    notes: Arc<Notes>,
    entries: Vec<NamespaceOutbox>,
}

/// One namespace that the client is in, or about to be.
struct NamespaceOutbox {
    namespace: usize,
    outbox: OutboxReader,
    frames: Vec<Frame>,
    translator: Translator,
}

impl Outbound for ChatOutbound {
    async fn say(&mut self, batch: &mut Vec<Message>) -> Result<(), CloseCode> {
        loop {
            self.take_notes(batch);
            if !batch.is_empty() {
                return Ok(());
            }
            let Self { notes, entries, .. } = self;
            let (index, next) = tokio::select! {
                biased;
                () = notes.has_items() => continue,
                next = next_of(entries) => next,
            };
            self.translate(index, batch)?;
            if let Err(code) = next {
                self.end(index, code, batch);
                return Err(code);
            }
            // Namespaces take turns.
            self.entries.rotate_left(1);
        }
    }

    async fn is_shed(&mut self) {
        let mut shed: Vec<_> = self
            .entries
            .iter()
            .map(|entry| Box::pin(entry.outbox.is_shed()))
            .collect();
        poll_fn(|context| {
            let mut all = shed.iter_mut();
            if all.any(|shed| shed.as_mut().poll(context).is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn has_joined(&self) -> bool {
        self.entries.iter().any(|entry| entry.translator.is_in())
    }
}

impl ChatOutbound {
    pub(super) fn new(chat: Arc<Chat>, notes: Arc<Notes>) -> Self {
        Self {
            chat,
            notes,
            entries: Vec::new(),
        }
    }

    fn take_notes(&mut self, batch: &mut Vec<Message>) {
        for note in self.notes.take() {
            match note {
                Note::Say(message) => batch.push(message),
                Note::Opened(opening) => self.open(*opening),
                Note::Left(namespace) => self.entries.retain(|entry| entry.namespace != namespace),
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        let Opening {
            namespace,
            outbox,
            pid,
            catches_up,
        } = opening;
        let translator = Translator::new(pid, catches_up);
        self.entries.reserve_exact(1);
        self.entries.push(NamespaceOutbox {
            namespace,
            outbox,
            frames: Vec::new(),
            translator,
        });
    }

    fn translate(&mut self, index: usize, batch: &mut Vec<Message>) -> Result<(), CloseCode> {
        let NamespaceOutbox {
            namespace,
            frames,
            translator,
            ..
        } = &mut self.entries[index];
        let namespace = &self.chat.namespaces[*namespace];
        for frame in frames.drain(..) {
            translator.translate(&self.chat.relay_events, namespace, &frame, batch)?;
        }
        // An idle connection keeps no room for them.
        *frames = Vec::new();
        Ok(())
    }

    /// A client that shall not come back is told so: after that packet the library does not try,
    /// after the end of the transport alone it does.
    fn end(&self, index: usize, code: CloseCode, batch: &mut Vec<Message>) {
        if !CloseCode::is_resumable(code.as_u16()) {
            let namespace = self.entries[index].namespace;
            batch.push(encode::disconnected(&self.chat.namespaces[namespace].name));
        }
    }
}

/// Waits for the first namespace that has frames.
async fn next_of(entries: &mut [NamespaceOutbox]) -> (usize, Result<(), CloseCode>) {
    match entries {
        [] => pending().await,
        [entry] => (0, entry.outbox.next(&mut entry.frames).await),
        entries => {
            let mut waits: Vec<_> = entries
                .iter_mut()
                .map(|entry| Box::pin(entry.outbox.next(&mut entry.frames)))
                .collect();
            poll_fn(|context| {
                for (index, wait) in waits.iter_mut().enumerate() {
                    if let Poll::Ready(next) = wait.as_mut().poll(context) {
                        return Poll::Ready((index, next));
                    }
                }
                Poll::Pending
            })
            .await
        }
    }
}
