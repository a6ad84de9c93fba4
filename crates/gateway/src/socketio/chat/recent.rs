//! The newest translations of this thread: a room's members get the same frame one after the
//! other, so that most of them share one translation.

use std::cell::RefCell;
use std::collections::VecDeque;

use hubbub_protocol::Frame;
use hubbub_protocol::socketio::Message;

use super::translator::Say;

/// So many are kept for each thread: about as many as one read of a room's events brings.
const KEPT: usize = 32;
/// The longest frame that is kept, in bytes. A page for one client is longer, and shared by nobody.
const LONGEST: usize = 16 * 1024;

thread_local! {
    static RECENT: RefCell<VecDeque<Translation>> = const { RefCell::new(VecDeque::new()) };
}

struct Translation {
    /// Held, so that no other frame can lie where it lies.
    frame: Frame,
    key: Key,
    message: Message,
}

/// The same frame is said in the same way where all of this is the same. A namespace of another
/// node in this process lies elsewhere.
#[derive(PartialEq, Eq)]
struct Key {
    frame: *const u8,
    namespace: *const u8,
    catches_up: bool,
}

impl Key {
    fn new(frame: &Frame, say: &Say<'_>) -> Self {
        Self {
            frame: frame.as_bytes().as_ptr(),
            namespace: say.namespace.name.as_ptr(),
            catches_up: say.catches_up,
        }
    }
}

/// The translation of this very frame, if it is known.
pub(super) fn find(frame: &Frame, say: &Say<'_>) -> Option<Message> {
    let key = Key::new(frame, say);
    RECENT.with_borrow(|recent| {
        let found = recent.iter().find(|known| known.key == key)?;
        (found.frame.len() == frame.len()).then(|| found.message.clone())
    })
}

/// Keeps a translation for those who come next.
pub(super) fn keep(frame: &Frame, say: &Say<'_>, message: &Message) {
    if frame.len() > LONGEST {
        return;
    }
    let translation = Translation {
        frame: frame.clone(),
        key: Key::new(frame, say),
        message: message.clone(),
    };
    RECENT.with_borrow_mut(|recent| {
        if recent.len() == KEPT {
            recent.pop_back();
        }
        recent.push_front(translation);
    });
}
