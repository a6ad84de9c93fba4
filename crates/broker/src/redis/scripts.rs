//! The Lua scripts, each one atomic step in Redis.
//!
//! `#!lua` lets Redis refuse a script before it starts when it is full, so that a refusal means
//! "nothing was written".

use redis::Script;

const BEGIN: &str = include_str!("lua/begin.lua");

/// All scripts, loaded into Redis when it answers NOSCRIPT.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    pub(crate) read: Script,
    pub(crate) presence: Script,
    pub(crate) members: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        let with_begin = |script: &str| Script::new(&format!("#!lua\n{BEGIN}{script}"));
        Self {
            publish: with_begin(include_str!("lua/publish.lua")),
            read: with_begin(include_str!("lua/read.lua")),
            presence: Script::new(&format!("#!lua\n{}", include_str!("lua/presence.lua"))),
            members: Script::new(include_str!("lua/members.lua")),
        }
    }
}
