//! Agreement: the settings that the nodes of a cluster compare before a node joins.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The values of one node's settings, by setting. A list has one entry a value.
pub(crate) type Values = BTreeMap<String, Vec<String>>;

/// How two nodes agree on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Both nodes have the same values, or the starting node stays out.
    Same,
    /// Both nodes have a value in common, or one of them has none; otherwise the starting node stays
    /// out. Other differences are reported.
    Overlap,
    /// The value is a check that a node makes. A starting node may add one, but neither drop nor change
    /// one.
    Check,
    /// A difference is reported, and nothing more.
    Free,
}

/// One setting as a node declares it to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The setting's key.
    pub setting: &'static str,
    /// How nodes agree on it.
    pub rule: Rule,
    /// The values: plain, or keyed digests of secrets and of long values. Sorted by the constructor.
    values: Vec<String>,
    /// The effect of a difference, as a sentence's end: "messages … are lost".
    pub harm: &'static str,
}

impl Declared {
    /// A setting with its values; their order does not matter.
    #[must_use]
    pub fn new(
        setting: &'static str,
        rule: Rule,
        mut values: Vec<String>,
        harm: &'static str,
    ) -> Self {
        values.sort_unstable();
        values.dedup();
        Self {
            setting,
            rule,
            values,
            harm,
        }
    }

    /// The values, sorted.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether a starting node with these values stays out of a cluster with those.
    #[must_use]
    pub fn is_blocked_by(&self, there: &[String]) -> bool {
        match self.rule {
            Rule::Same => self.values != there,
            Rule::Overlap => {
                let is_shared = |value: &String| there.contains(value);
                !self.values.is_empty() && !there.is_empty() && !self.values.iter().any(is_shared)
            }
            Rule::Check => !there.is_empty() && self.values != there,
            Rule::Free => false,
        }
    }
}

/// Everything that a node declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declaration {
    /// The settings, in the order in which operators read them.
    pub settings: Vec<Declared>,
    /// The identity by which the archive and Redis know the cluster; `None`: this node has no archive.
    pub identity: Option<ClusterIdentity>,
}

impl Declaration {
    /// The values as the other nodes read them.
    pub(crate) fn to_json(&self) -> String {
        let values = self.settings.iter();
        let values: BTreeMap<&str, &[String]> = values
            .map(|declared| (declared.setting, declared.values()))
            .collect();
        serde_json::to_string(&values).expect("maps of texts always serialize")
    }

    /// The settings in which this node differs from another one. Settings that only one of the two
    /// programs knows are not compared: the other is of another version.
    pub(crate) fn compare(&self, node: &str, values: &Values) -> Vec<Difference> {
        let differs = |declared: &Declared| {
            let there = values.get(declared.setting)?;
            (declared.values != *there).then(|| Difference {
                setting: declared.setting,
                node: node.to_owned(),
                here: shorten(&declared.values),
                there: shorten(there),
                harm: declared.harm,
                is_blocking: declared.is_blocked_by(there),
            })
        };
        self.settings.iter().filter_map(differs).collect()
    }
}

/// One setting in which this node differs from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    setting: &'static str,
    node: String,
    here: String,
    there: String,
    harm: &'static str,
    /// Whether a starting node stays out because of it.
    pub(crate) is_blocking: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            node,
            here,
            there,
            harm,
            is_blocking: _,
        } = self;
        write!(
            f,
            "{setting} differs from node {node} (here: {here}, there: {there}): {harm}"
        )
    }
}

/// Puts differences into one line.
pub(crate) fn join(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        let gap = if text.is_empty() { "" } else { "; " };
        write!(text, "{gap}{difference}").expect("writing to a string never fails");
    }
    text
}

/// The characters of a digest or an ID that people need to tell two apart.
const SHOWN: usize = 12;
/// The values of a list that are shown.
const LISTED: usize = 3;

/// A setting's values for people.
#[must_use]
pub fn shorten(values: &[String]) -> String {
    let short = |value: &String| match value.char_indices().nth(SHOWN) {
        Some((end, _)) if is_digest(value) => format!("{}…", &value[..end]),
        _ => value.clone(),
    };
    let mut shown: Vec<String> = values.iter().take(LISTED).map(short).collect();
    if values.len() > LISTED {
        shown.push("…".to_owned());
    }
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

fn is_digest(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A cluster's identity: an ID that it shares with its archive, and one of the Redis data that
/// holds it. Emptied Redis data gets a new home ID under the old cluster ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The cluster's ID; the archive holds it too.
    pub cluster: String,
    /// The ID of this Redis data.
    pub home: String,
}

impl ClusterIdentity {
    /// An identity with a new home, of the cluster with this ID or of a new one.
    pub(crate) fn generate(cluster: Option<&str>) -> Self {
        Self {
            cluster: cluster.map_or_else(random_id, str::to_owned),
            home: random_id(),
        }
    }

    /// Reads `CLUSTER HOME`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (cluster, home) = text.split_once(' ')?;
        Some(Self {
            cluster: cluster.to_owned(),
            home: home.to_owned(),
        })
    }
}

impl fmt::Display for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cluster, self.home)
    }
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string never fails");
        text
    })
}

/// The settings of one node of the cluster, as every node can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// The node's name.
    pub node: String,
    /// Whether it has joined the cluster; otherwise it waits until it agrees.
    pub has_joined: bool,
    /// The values by setting; `None`: the node's version does not declare any.
    pub values: Option<BTreeMap<String, Vec<String>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(rule: Rule, here: &[&str], there: &[&str]) -> Option<bool> {
        let own = |values: &[&str]| values.iter().map(|it| (*it).to_owned()).collect();
        let declaration = Declaration {
            settings: vec![Declared::new("a.b", rule, own(here), "nothing works")],
            identity: None,
        };
        let there = Values::from([("a.b".to_owned(), own(there))]);
        let differences = declaration.compare("gw-1", &there);
        differences.first().map(|it| it.is_blocking)
    }

    #[test]
    fn each_rule_says_which_difference_blocks() {
        assert_eq!(verdict(Rule::Same, &["a"], &["a"]), None);
        assert_eq!(verdict(Rule::Same, &["b", "a"], &["a", "b"]), None);
        assert_eq!(verdict(Rule::Same, &["a"], &["a", "b"]), Some(true));
        assert_eq!(
            verdict(Rule::Overlap, &["a", "b"], &["b", "c"]),
            Some(false)
        );
        assert_eq!(verdict(Rule::Overlap, &["a"], &["b"]), Some(true));
        assert_eq!(verdict(Rule::Overlap, &[], &["b"]), Some(false));
        assert_eq!(verdict(Rule::Check, &["a"], &[]), Some(false));
        assert_eq!(verdict(Rule::Check, &[], &["a"]), Some(true));
        assert_eq!(verdict(Rule::Check, &["b"], &["a"]), Some(true));
        assert_eq!(verdict(Rule::Free, &["a"], &["b"]), Some(false));
    }

    #[test]
    fn a_difference_names_the_setting_the_node_and_both_values() {
        let none: &[&str] = &[];
        let declared = Declared::new("archive.url", Rule::Same, vec![], "messages are lost");
        assert_eq!(declared.values(), none);
        let declaration = Declaration {
            settings: vec![declared],
            identity: None,
        };
        let id = "0123456789abcdef0123456789abcdef";
        let there = Values::from([("archive.url".to_owned(), vec![id.to_owned()])]);
        assert_eq!(
            join(&declaration.compare("gw-1", &there)),
            "archive.url differs from node gw-1 (here: none, there: 0123456789ab…): \
             messages are lost"
        );
    }

    #[test]
    fn settings_of_other_versions_are_not_compared() {
        let declaration = Declaration {
            settings: vec![Declared::new("a.b", Rule::Same, vec!["1".to_owned()], "")],
            identity: None,
        };
        let there = Values::from([("c.d".to_owned(), vec!["2".to_owned()])]);
        assert_eq!(declaration.compare("gw-1", &there), []);
    }

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        let identity = ClusterIdentity::generate(Some("c"));
        assert_eq!(
            ClusterIdentity::parse(&identity.to_string()),
            Some(identity)
        );
    }
}
