//! Who is where: each node answers for itself, whoever of them is asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hubbub_broker::Question;
use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{ConnectionId, NodeId, RoomId, User, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;
use crate::node::Node;
use crate::reconcile::Testimony;

/// How long nodes have to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is asked of all nodes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    Node,
    Connections(ConnectionQuery),
    Seen { rooms: Vec<RoomId> },
}

/// Which connections to list. All that is said must be true of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConnectionQuery {
    /// Of this user.
    pub user: Option<UserId>,
    /// That are in this room.
    pub room: Option<RoomId>,
    /// On this node.
    pub node: Option<NodeId>,
    /// After this one.
    pub after: Option<ConnectionId>,
    /// At most so many.
    pub limit: usize,
}

/// A node, as it sees itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub node: String,
    /// Of the program.
    pub version: String,
    /// Sessions that it holds.
    pub connections: usize,
    /// Rooms that are open on it.
    pub rooms: usize,
    /// Milliseconds since 1970.
    pub started: u64,
    /// An operator has ordered it to leave, or it is on its way out.
    pub leaving: bool,
}

/// All nodes.
#[derive(Debug, Clone, Serialize)]
pub struct Nodes {
    /// Those that have answered, by name.
    pub nodes: Vec<NodeInfo>,
    /// Those that are alive and have not.
    pub silent: Vec<String>,
}

/// A connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Which.
    pub connection: ConnectionId,
    /// Whose.
    pub user: User,
    /// Where.
    pub node: String,
    /// From where; `None`: its door does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Milliseconds since 1970.
    pub opened: u64,
}

/// Connections of all nodes, in the order of their ids.
#[derive(Debug, Clone, Serialize)]
pub struct Connections {
    /// One page of them.
    pub connections: Vec<ConnectionInfo>,
    /// There are more after the last.
    pub more: bool,
    /// Nodes that are alive and have not answered.
    pub silent: Vec<String>,
}

impl Node {
    /// All nodes of the cluster.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`].
    pub async fn nodes(&self) -> Result<Nodes, CommandError> {
        let (mut nodes, silent): (Vec<NodeInfo>, _) = self.ask_all(&Ask::Node, PATIENCE).await?;
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(Nodes { nodes, silent })
    }

    /// Connections of the cluster.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`].
    pub async fn connections_of_all(
        &self,
        query: &ConnectionQuery,
    ) -> Result<Connections, CommandError> {
        let ask = Ask::Connections(ConnectionQuery {
            limit: query.limit + 1,
            ..query.clone()
        });
        let (pages, silent): (Vec<Vec<ConnectionInfo>>, _) = self.ask_all(&ask, PATIENCE).await?;
        let mut connections: Vec<_> = pages.into_iter().flatten().collect();
        connections.sort_by(|a, b| a.connection.cmp(&b.connection));
        let more = connections.len() > query.limit;
        connections.truncate(query.limit);
        Ok(Connections {
            connections,
            more,
            silent,
        })
    }

    /// All rooms that have a stream, private ones too, after a name, in the order of their names; and
    /// whether there are more.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`].
    pub async fn all_rooms(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<RoomSummary>, bool), CommandError> {
        let rooms = self.broker.rooms_with_streams().await;
        let rooms = rooms.map_err(CommandError::of_read)?;
        let mut page: Vec<RoomId> = rooms
            .into_iter()
            .filter(|room| room.as_str() > after)
            .collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let page = self.broker.summaries(page).await;
        Ok((page.map_err(CommandError::of_read)?, more))
    }

    /// The places that all nodes have seen in these rooms; nodes that do not answer within `patience` are left
    /// out.
    pub(crate) async fn testimonies_of_all(
        &self,
        rooms: Vec<RoomId>,
        patience: Duration,
    ) -> Vec<Testimony> {
        let ask = Ask::Seen { rooms };
        match self.ask_all::<Vec<Testimony>>(&ask, patience).await {
            Ok((testimonies, _)) => testimonies.into_iter().flatten().collect(),
            Err(error) => {
                tracing::warn!(?error, "other nodes cannot be asked what they have seen");
                Vec::new()
            }
        }
    }

    async fn ask_all<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        patience: Duration,
    ) -> Result<(Vec<T>, Vec<String>), CommandError> {
        let text = serde_json::to_string(ask).expect("plain enums always serialize");
        let answers = self.broker.ask(&text, patience).await;
        let answers = answers.map_err(CommandError::of_read)?;
        let read = |text: &String| serde_json::from_str(text).ok();
        Ok((
            answers.heard.iter().filter_map(read).collect(),
            answers.silent,
        ))
    }

    pub(super) async fn answer_question(self: &Arc<Self>, question: &Question) {
        // One of another version that this one does not know.
        let Ok(ask) = serde_json::from_str::<Ask>(&question.text) else {
            return;
        };
        let answer = match ask {
            Ask::Node => serde_json::to_string(&self.info()),
            Ask::Seen { rooms } => serde_json::to_string(&self.testify(&rooms)),
            Ask::Connections(query) => serde_json::to_string(&self.connections_here(&query)),
        };
        let answer = answer.expect("plain structs always serialize");
        if let Err(error) = self.broker.answer(question, &answer).await {
            tracing::debug!(%error, "a question is not answered");
        }
    }

    fn info(&self) -> NodeInfo {
        NodeInfo {
            node: self.id().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            connections: self.connections(),
            rooms: self.hub.room_count(),
            started: self.started,
            leaving: self.dismissed.is_cancelled(),
        }
    }

    fn connections_here(&self, query: &ConnectionQuery) -> Vec<ConnectionInfo> {
        if query.node.as_ref().is_some_and(|node| node != self.id()) {
            return Vec::new();
        }
        let members = query.room.as_ref().map(|room| {
            let room = self.hub.room(room);
            room.map(|room| room.connections()).unwrap_or_default()
        });
        let members: Option<std::collections::HashSet<_>> =
            members.map(|list| list.into_iter().collect());
        let mut found = self.hub.connections_where(|connection, attached| {
            query.after.as_ref().is_none_or(|after| connection > after)
                && query
                    .user
                    .as_ref()
                    .is_none_or(|user| attached.user.id == *user)
                && members
                    .as_ref()
                    .is_none_or(|members| members.contains(connection))
        });
        found.sort_by(|a, b| a.connection.cmp(&b.connection));
        found.truncate(query.limit);
        for connection in &mut found {
            connection.node = self.id().to_string();
        }
        found
    }
}
