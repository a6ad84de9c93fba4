//! Who is in a room, over all nodes: each node registers a user once a room, under its lease.

use hubbub_protocol::{RoomId, User};
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::keys::partition_of;
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
        let call = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.presence.prepare_invoke();
            script
                .key(&keys.users)
                .key(&lease_users)
                .key(&keys.meta)
                .key(&keys.changes);
            script
                .key(&lease_rooms)
                .arg(&keys.channel)
                .arg(room.as_str())
                .arg(self.0.lives.unused)
                .arg(self.0.lives.meta);
            self.0
                .webhooks
                .add_attendance(&mut script, &self.0.keys, &keys, room);
            for user in users {
                match user {
                    Attendance::Enter(user) => {
                        let json = serde_json::to_string(user).expect("strings always serialize");
                        script.arg("enter").arg(user.id.as_str()).arg(json);
                    }
                    Attendance::Exit(id) => {
                        script.arg("exit").arg(id.as_str()).arg("");
                    }
                }
            }
            script.invoke_async::<(u64, u64)>(&mut connection).await
        };
        let (count, version) = self.0.link.call(self.deadline(), call).await?;
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
        let call = async |mut connection: MultiplexedConnection| {
            let mut script = self.0.scripts.members.prepare_invoke();
            script.key(&keys.users).key(&keys.meta).arg(limit);
            script
                .invoke_async::<(u64, u64, Vec<String>)>(&mut connection)
                .await
        };
        let (count, version, values) = self.0.link.call(self.deadline(), call).await?;
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
