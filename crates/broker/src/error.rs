//! Errors between a node and its broker.

/// Why the broker could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// `redis.url` can never work as it is.
    #[error("redis.url: {0}")]
    BadUrl(String),
    /// Redis answers, but as it is set it would lose what it is given, or cannot run the scripts.
    #[error("redis.url: this redis cannot be used: {0}")]
    Unfit(String),
    /// The room's stream may not be what nodes or the archive have seen: it has to be reconciled
    /// first ([`crate::Broker::reconcile`]). Nothing was done.
    #[error("the room's stream has to be reconciled first")]
    Unreconciled,
    /// Certainly not done: no connection, or Redis refused before it began.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// Perhaps done: the connection or the time ended before the answer came. Try again with the
    /// same nonces.
    #[error("broker gave no answer: {0}")]
    Unknown(String),
    /// There are as many rules as are kept. Nothing was done.
    #[error("there are too many bans, mutes, revocations and kicks: lift some first")]
    TooManyRules,
    /// Redis holds something, or answered something, that this version does not understand.
    #[error("unexpected answer from the broker: {0}")]
    Unexpected(String),
}
