//! Reasons why this node is degraded: it serves, but with less than it promises, and another node could
//! not serve better.

use parking_lot::Mutex;

use std::collections::BTreeMap;

/// The reasons, one for each part of the node. A part sets its own reason and clears it when it is
/// healed; `/readyz` shows all of them.
#[derive(Debug, Default)]
pub struct Degradations(Mutex<BTreeMap<&'static str, String>>);

impl Degradations {
    /// Sets the reason of `part`; `None`: the part is healed.
    pub fn set(&self, part: &'static str, reason: Option<String>) {
        let mut reasons = self.0.lock();
        match reason {
            Some(reason) => drop(reasons.insert(part, reason)),
            None => drop(reasons.remove(part)),
        }
    }

    /// Returns each degraded part with its reason.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let reasons = self.0.lock();
        let reasons = reasons.iter().map(|(part, reason)| (*part, reason.clone()));
        reasons.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_one_reason_until_it_is_healed() {
        let degradations = Degradations::default();
        degradations.set("archive", Some("away".to_owned()));
        degradations.set("archive", Some("behind".to_owned()));
        degradations.set("rooms", Some("unknown".to_owned()));
        degradations.set("rooms", None);
        assert_eq!(degradations.reasons(), [("archive", "behind".to_owned())]);
    }
}
