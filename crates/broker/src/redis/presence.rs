//! Who is in a room, over all nodes: each node registers a user once a room, under its lease.

use hubbub_protocol::{RoomId, User};
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::keys::{Key, partition_of};
use crate::{Attendance, BrokerError, Presence};

impl RedisBroker {
    pub(crate) async fn register(
        &self,
        room: &RoomId,
        users: &[Attendance],
    ) -> Result<Presence, BrokerError> {
        let keys = self.0.keys.room(room);
        let lease = self.0.lease.name();
        let lease_users = self.0.keys.lease_users(room, &lease);
        let lease_rooms = self.0.keys.lease_rooms(partition_of(room), &lease);
        let noted = self.0.webhooks.of_attendance(&self.0.keys, room);
        let register = async |connection: MultiplexedConnection| {
            let mut names = vec![
                keys.users(),
                Key::from(&lease_users),
                keys.meta(),
                keys.changes(),
                Key::from(&lease_rooms),
            ];
            noted.add_keys(&mut names, &[keys.webhooks(), keys.attendance()]);
            let mut call = self.0.scripts.presence.call(&names);
            call.arg(keys.channel())
                .arg(room.as_str())
                .arg(self.0.lives.unused)
                .arg(self.0.lives.meta)
                .arg(&noted.names)
                .arg(self.0.webhooks.attendance);
            for user in users {
                match user {
                    Attendance::Enter(user) => {
                        let json = serde_json::to_string(user).expect("strings always serialize");
                        call.arg("enter").arg(user.id.as_str()).arg(json);
                    }
                    Attendance::Exit(id) => {
                        call.arg("exit").arg(id.as_str()).arg("");
                    }
                }
            }
            call.invoke::<(u64, u64)>(connection).await
        };
        let (count, version) = self.0.link.call(self.deadline(), register).await?;
        Ok(Presence {
            version,
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
            call.invoke::<(u64, u64, Vec<String>)>(connection).await
        };
        let (count, version, values) = self.0.link.call(self.deadline(), ask).await?;
        let members = values
            .iter()
            .map(|value| parse_user(value))
            .collect::<Result<_, _>>()?;
        Ok(Presence {
            version,
            count,
            members,
        })
    }
}

/// Reads `NODES JSON`.
fn parse_user(value: &str) -> Result<User, BrokerError> {
    let json = value.split_once(' ').map_or(value, |(_, json)| json);
    serde_json::from_str(json).map_err(|error| BrokerError::Unexpected(format!("user: {error}")))
}
