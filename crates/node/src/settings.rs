//! The settings of all nodes side by side, for operators.

use std::collections::BTreeMap;

use hubbub_broker::{Declared, NodeSettings, Rule, shorten};
use serde::Serialize;

use crate::error::CommandError;
use crate::node::Node;

/// The settings that nodes compare, over all nodes.
#[derive(Debug, Clone, Serialize)]
pub struct SettingsOfAll {
    /// Whether all nodes have the same.
    pub agree: bool,
    /// The nodes that have joined the cluster.
    pub nodes: Vec<String>,
    /// The nodes that wait until they agree.
    pub waiting: Vec<String>,
    /// The nodes whose version declares no settings.
    pub undeclared: Vec<String>,
    /// One entry for each setting; none where the nodes share their settings.
    pub settings: Vec<ComparedSetting>,
}

/// One setting over all nodes.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedSetting {
    /// The setting's key.
    pub setting: &'static str,
    /// Whether all nodes that declare it have the same value.
    pub agrees: bool,
    /// Whether a starting node waits while its value differs from a living node's.
    pub required: bool,
    /// The effect of a difference.
    pub harm: &'static str,
    /// The value of each node; long values and secrets as a short digest.
    pub values: BTreeMap<String, String>,
}

impl Node {
    /// The settings of all nodes, those that wait to join too.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`]: the broker cannot be reached, or this node has not declared its
    /// own settings yet.
    pub async fn settings_of_all(&self) -> Result<SettingsOfAll, CommandError> {
        let nodes = self.broker.node_settings().await;
        let nodes = nodes.map_err(CommandError::of_read)?;
        let declaration = self.broker.declared();
        if declaration.is_none() && !self.has_joined() {
            return Err(CommandError::Unavailable);
        }
        let declared = declaration.iter().flat_map(|it| &it.settings);
        let settings: Vec<_> = declared.map(|it| compare(it, &nodes)).collect();
        let names = |wanted: &dyn Fn(&NodeSettings) -> bool| {
            let names = nodes.iter().filter(|node| wanted(node));
            names.map(|node| node.node.clone()).collect()
        };
        Ok(SettingsOfAll {
            agree: settings.iter().all(|setting| setting.agrees),
            nodes: names(&|node| node.has_joined),
            waiting: names(&|node| !node.has_joined),
            undeclared: names(&|node| node.values.is_none()),
            settings,
        })
    }
}

fn compare(declared: &Declared, nodes: &[NodeSettings]) -> ComparedSetting {
    let of_node = |node: &NodeSettings| {
        let values = node.values.as_ref()?.get(declared.setting)?;
        Some((node.node.clone(), values.clone()))
    };
    let values: Vec<(String, Vec<String>)> = nodes.iter().filter_map(of_node).collect();
    let first = values.first().map(|(_, values)| values);
    ComparedSetting {
        setting: declared.setting,
        agrees: values.iter().all(|(_, values)| Some(values) == first),
        required: declared.rule != Rule::Free,
        harm: declared.harm,
        values: values
            .iter()
            .map(|(node, values)| (node.clone(), shorten(values)))
            .collect(),
    }
}
