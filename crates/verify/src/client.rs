//! The clients whose logs are judged.

/// A client whose log is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u32);

impl ClientId {
    /// The ID of the client at `index`.
    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2^32 clients"))
    }

    /// The index of the client.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
