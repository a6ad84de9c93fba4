//! Lists of nodes, connections and rooms of the cluster. Each node answers for itself, and any node
//! can be asked.

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

/// How long the nodes have to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A question to all nodes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    Node,
    Connections(ConnectionQuery),
    Seen { rooms: Vec<RoomId> },
}

/// A filter for connections. A connection has to match all fields that are set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConnectionQuery {
    /// Connections of this user.
    pub user: Option<UserId>,
    /// Connections that are in this room.
    pub room: Option<RoomId>,
    /// Connections on this node.
    pub node: Option<NodeId>,
    /// Connections after this ID.
    pub after: Option<ConnectionId>,
    /// At most this many.
    pub limit: usize,
}

/// A node's description of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub node: String,
    /// The version of the program.
    pub version: String,
    /// The sessions on it.
    pub connections: usize,
    /// The rooms that are open on it.
    pub rooms: usize,
    /// When it started, in milliseconds since 1970.
    pub started: u64,
    /// Whether it is draining, or an operator has ordered it to leave.
    pub leaving: bool,
}

/// The nodes of the cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Nodes {
    /// The nodes that have answered, by name.
    pub nodes: Vec<NodeInfo>,
    /// The names of living nodes that have not answered.
    pub silent: Vec<String>,
}

/// One connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Its ID.
    pub connection: ConnectionId,
    /// Its user.
    pub user: User,
    /// The name of its node.
    pub node: String,
    /// The client's address. `None`: the transport does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When it was opened, in milliseconds since 1970.
    pub opened: u64,
}

/// Connections of all nodes, by ID.
#[derive(Debug, Clone, Serialize)]
pub struct Connections {
    /// One page of them.
    pub connections: Vec<ConnectionInfo>,
    /// Whether there are more after the last.
    pub more: bool,
    /// The names of living nodes that have not answered.
    pub silent: Vec<String>,
}

impl Node {
    /// Lists all nodes of the cluster.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`].
    pub async fn nodes(&self) -> Result<Nodes, CommandError> {
        let (mut nodes, silent): (Vec<NodeInfo>, _) = self.ask_all(&Ask::Node, PATIENCE).await?;
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(Nodes { nodes, silent })
    }

    /// Lists connections of the cluster.
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

    /// Lists the rooms that have a stream, including private ones, by name after `after`. The
    /// second result says whether there are more.
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

    /// Asks all nodes for the places that they have seen in these rooms. Nodes that do not answer
    /// within `patience` are left out.
    pub(crate) async fn testimonies_of_all(
        &self,
        rooms: Vec<RoomId>,
        patience: Duration,
    ) -> Vec<Testimony> {
        let ask = Ask::Seen { rooms };
        match self.ask_all::<Vec<Testimony>>(&ask, patience).await {
            Ok((testimonies, _)) => testimonies.into_iter().flatten().collect(),
            Err(error) => {
                tracing::warn!(?error, "cannot ask other nodes which places they have seen");
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
        // A question of another version, unknown to this one.
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
            tracing::debug!(%error, "cannot answer another node's question");
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
