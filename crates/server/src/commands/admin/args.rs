//! The arguments of `hubbub admin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(crate) const ADMIN_HELP: &str = "\
Asks a node's operators' port; the order reaches all nodes of the cluster. The key is ops.token, from
hubbub.toml or the environment: HUBBUB__OPS__TOKEN, or HUBBUB__OPS__TOKEN_FILE for a file that holds it.

Exit code: 0 when it is done, 1 when it was refused, 2 when the node cannot be asked.

Examples:
  hubbub admin nodes
  hubbub admin settings
  hubbub admin connections --user eve
  hubbub admin kick eve --room lobby --ttl 10m
  hubbub admin ban --user eve --ttl 1h --reason spam
  hubbub admin ban --address 203.0.113.0/24
  hubbub admin unban --user eve
  hubbub admin revoke --user alice
  hubbub admin delete lobby 4711
  hubbub admin --url http://10.0.0.7:9090 drain gateway-2";

/// Arguments of `hubbub admin`.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The operators' port of any node; without it, what ops.bind says
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Print JSON, as the node answers
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Settings file; without it hubbub.toml in the current folder, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: AdminCommand,
}

/// Commands of `hubbub admin`.
#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// List the nodes, and what each holds
    Nodes,
    /// List the settings that nodes have to agree on, and who differs
    Settings,
    /// List connections
    Connections {
        /// Of this user
        #[arg(long)]
        user: Option<String>,
        /// In this room
        #[arg(long)]
        room: Option<String>,
        /// On this node
        #[arg(long)]
        node: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// List the rooms that have a stream, private ones too
    Rooms(PageArgs),
    /// End a user's connections, or take the user out of one room
    Kick {
        /// The user's id
        user: String,
        /// Out of this room only
        #[arg(long)]
        room: Option<String>,
        /// For how long the user stays out of the room, such as 1h; without it a minute
        #[arg(long, requires = "room")]
        ttl: Option<String>,
    },
    /// Keep a user or an address out
    Ban {
        #[command(flatten)]
        subject: SubjectArgs,
        /// For how long, such as 1h; without it until it is lifted
        #[arg(long)]
        ttl: Option<String>,
        /// For those who read the list
        #[arg(long)]
        reason: Option<String>,
    },
    /// Lift a ban
    Unban(SubjectArgs),
    /// List bans, mutes, revocations and kicks out of rooms that hold
    Bans(PageArgs),
    /// Let a user of a room read only
    Mute {
        /// The user's id
        user: String,
        /// Where
        room: String,
        /// For how long, such as 1h; without it until it is lifted
        #[arg(long)]
        ttl: Option<String>,
        /// For those who read the list
        #[arg(long)]
        reason: Option<String>,
    },
    /// Lift a mute
    Unmute {
        /// The user's id
        user: String,
        /// Where
        room: String,
    },
    /// Make a user's tokens of before now, or one token, count no more
    Revoke {
        #[command(flatten)]
        tokens: TokensArgs,
        /// For how long, such as 30days: as long as the tokens could be good. Without it for ever
        #[arg(long)]
        ttl: Option<String>,
    },
    /// Lift a revocation
    Unrevoke(TokensArgs),
    /// Tell everybody something, or the members of a room
    Announce {
        /// The text
        text: String,
        /// To its members only
        #[arg(long)]
        room: Option<String>,
    },
    /// Delete a message
    Delete {
        /// Its room
        room: String,
        /// Its offset
        offset: u64,
    },
    /// Have a node move its clients to others and end
    Drain {
        /// Its name
        node: String,
    },
    /// List what operators did, the newest first
    Audit {
        /// Before this entry
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
        /// So many
        #[arg(long)]
        limit: Option<u64>,
    },
}

/// A page of a list.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// After this one
    #[arg(long)]
    pub(super) after: Option<String>,
    /// So many, at most 500
    #[arg(long)]
    pub(super) limit: Option<u64>,
}

/// The user or address that a ban is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct SubjectArgs {
    /// A user's id
    #[arg(long)]
    pub(super) user: Option<String>,
    /// An address, or a network such as 203.0.113.0/24
    #[arg(long)]
    pub(super) address: Option<String>,
}

/// Which tokens a revocation is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct TokensArgs {
    /// All that a user has
    #[arg(long)]
    pub(super) user: Option<String>,
    /// The one with this id, its claim jti
    #[arg(long, value_name = "JTI")]
    pub(super) token: Option<String>,
}
