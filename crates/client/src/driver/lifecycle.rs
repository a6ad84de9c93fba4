//! The lifecycle of the driver's connection: opening it, losing it and moving to another node.

use std::time::Duration;

use hubbub_protocol::CloseCode;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Driver;
use crate::client_event::ClientEvent;
use crate::config::Credentials;
use crate::connection::Connection;
use crate::frame::Welcome;
use crate::socket::{Ending, Opened, Socket, open};

/// Close codes after which a guest requests a new token, if its token was accepted before.
const EXPIRED: [u16; 2] = [CloseCode::TokenExpired as u16, CloseCode::BadToken as u16];

impl Driver {
    pub(super) fn open(&mut self) {
        let credentials = match (&self.config.credentials, &self.guest) {
            (Credentials::Guest { .. }, Some(token)) => Credentials::Token(token.clone()),
            (credentials, _) => credentials.clone(),
        };
        let (url, trust) = (self.urls[self.url].clone(), self.trust.clone());
        let attempt = tokio::spawn(open(url, trust, credentials, self.config.connect_timeout));
        self.connection = Connection::Opening(AbortOnDropHandle::new(attempt));
    }

    pub(super) fn opened(&mut self, opened: Opened) {
        let Opened {
            socket,
            welcome,
            token,
        } = opened;
        if matches!(self.config.credentials, Credentials::Guest { .. }) {
            self.guest = Some(token);
        }
        let Welcome {
            connection,
            node,
            user,
            ping_ms: _,
            limits,
        } = welcome;
        self.outbox.connected(limits);
        tracing::debug!(node, connection, "connected");
        self.opened_at = Some(Instant::now());
        self.move_at = None;
        self.connection = Connection::Open(Box::new(socket));
        self.ready.push_back(ClientEvent::Connected {
            node,
            connection,
            user,
        });
    }

    /// # Errors
    /// The ending, if it is final.
    pub(super) fn ended(&mut self, mut ending: Ending) -> Result<(), Ending> {
        let is_expired = ending.code.is_some_and(|code| EXPIRED.contains(&code));
        if is_expired && self.guest.take().is_some() {
            ending.is_final = false;
        }
        if ending.is_final {
            return Err(ending);
        }
        self.lost(ending);
        Ok(())
    }

    /// Gives up the connection and schedules the next attempt.
    pub(super) fn lost(&mut self, ending: Ending) {
        let now = Instant::now();
        let lived = self.opened_at.take().map(|opened| now - opened);
        if lived.is_some_and(|lived| lived >= self.config.stable_after) {
            self.backoff.reset();
        }
        let delay = match self.move_at.take() {
            Some(at) => at.saturating_duration_since(now),
            None => self.backoff.next_delay(),
        };
        let retry_in = delay.max(ending.retry_after.unwrap_or_default());
        self.disconnect(now + retry_in);
        tracing::debug!(
            code = ending.code,
            reason = ending.reason,
            ?retry_in,
            "disconnected"
        );
        self.ready.push_back(ClientEvent::Disconnected {
            code: ending.code,
            reason: ending.reason,
            retry_in,
        });
    }

    /// Moves to another node, because the server asked for it and has not closed the connection.
    pub(super) fn move_on(&mut self) {
        self.move_at = None;
        if let Connection::Open(_) = self.connection {
            self.disconnect(Instant::now());
            self.ready.push_back(ClientEvent::Disconnected {
                code: None,
                reason: "moving to another node, as asked".to_owned(),
                retry_in: Duration::ZERO,
            });
        }
    }

    /// Gives up the connection. The next attempt goes to the next node.
    fn disconnect(&mut self, until: Instant) {
        let connection = std::mem::replace(&mut self.connection, Connection::Waiting(until));
        if let Connection::Open(socket) = connection {
            let closing_socket = tokio::spawn(Socket::close(*socket));
            self.closing_socket = Some(AbortOnDropHandle::new(closing_socket));
        }
        self.url = (self.url + 1) % self.urls.len();
        self.liveness.restart();
        self.rooms.disconnected();
        self.outbox.disconnected();
        self.requests.disconnected();
    }
}
