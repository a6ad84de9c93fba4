//! Presence over all nodes: each node registers a user once per room, under its lease.

use hubbub_protocol::{RoomId, User};
use redis::aio::MultiplexedConnection;

use super::keys::{Key, Keys, partition_of};
use super::scripts::{Call, Script};
use super::webhooks::Webhooks;
use super::{Lives, RedisBroker};
use crate::{Attendance, BrokerError, Presence};

/// A change of a room's presence through one lease.
pub(super) struct Change<'a> {
    pub(super) keys: &'a Keys,
    pub(super) webhooks: &'a Webhooks,
    pub(super) lives: Lives,
    pub(super) room: &'a RoomId,
    pub(super) lease: &'a str,
}

impl Change<'_> {
    /// Begins a call of a script that makes such a change, with the keys and arguments that all of
    /// them share.
    pub(super) fn call<'s>(&self, script: &'s Script) -> Call<'s> {
        let keys = self.keys.room(self.room);
        let lease_users = self.keys.lease_users(self.room, self.lease);
        let lease_rooms = self.keys.lease_rooms(partition_of(self.room), self.lease);
        let noted = self.webhooks.of_attendance(self.keys, self.room);
        let mut names = vec![
            keys.users(),
            Key::from(&lease_users),
            keys.meta(),
            keys.changes(),
            Key::from(&lease_rooms),
        ];
        noted.add_keys(&mut names, &[keys.webhooks(), keys.attendance()]);
        let mut call = script.call(&names);
        call.arg(keys.channel())
            .arg(self.room.as_str())
            .arg(self.lives.unused)
            .arg(self.lives.meta)
            .arg(&noted.names)
            .arg(self.webhooks.attendance);
        call
    }
}

impl RedisBroker {
    pub(crate) async fn register(
        &self,
        room: &RoomId,
        users: &[Attendance],
    ) -> Result<Presence, BrokerError> {
        self.check_joined()?;
        let change = Change {
            keys: &self.0.keys,
            webhooks: &self.0.webhooks,
            lives: self.0.lives,
            room,
            lease: &self.0.lease.name(),
        };
        let register = async |connection: MultiplexedConnection| {
            let mut call = change.call(&self.0.scripts.presence);
            for user in users {
                match user {
                    Attendance::Enter(user) => enter(&mut call, user, 0),
                    Attendance::Again { user, registry } => enter(&mut call, user, *registry),
                    Attendance::Exit(id) => {
                        call.arg("exit").arg(id.as_str()).arg("").arg(0);
                    }
                }
            }
            call.invoke::<(u64, u64, u64)>(connection).await
        };
        let (count, version, registry) = self.0.link.call(self.deadline(), register).await?;
        Ok(Presence {
            version,
            registry,
            count,
            members: Vec::new(),
        })
    }

    pub(crate) async fn presence(
        &self,
        room: &RoomId,
        limit: usize,
    ) -> Result<Presence, BrokerError> {
        let keys = self.0.keys.room(room);
        let ask = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.members.call(&[keys.users(), keys.meta()]);
            call.arg(limit);
            call.invoke::<(u64, u64, Vec<String>, u64)>(connection)
                .await
        };
        let (count, version, values, registry) = self.0.link.call(self.deadline(), ask).await?;
        let members = values
            .iter()
            .map(|value| parse_user(value))
            .collect::<Result<_, _>>()?;
        Ok(Presence {
            version,
            registry,
            count,
            members,
        })
    }
}

/// Adds an entering user, and the list in which the node has registered the user before.
fn enter(call: &mut Call<'_>, user: &User, registry: u64) {
    let json = serde_json::to_string(user).expect("strings always serialize");
    call.arg("enter")
        .arg(user.id.as_str())
        .arg(json)
        .arg(registry);
}

/// Reads `NODES JSON`.
fn parse_user(value: &str) -> Result<User, BrokerError> {
    let json = value.split_once(' ').map_or(value, |(_, json)| json);
    serde_json::from_str(json).map_err(|error| BrokerError::Unexpected(format!("user: {error}")))
}
