//! Detects lost events and presence changes after which nothing else came.
//!
//! Once a second the broker reports where changed rooms stand. The packets that led there may still
//! be on their way, so a change counts as lost only if it is still missing at the next look.

use hubbub_broker::RoomHead;

use super::log::RoomLog;

/// The state at the last look.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    expected: Option<RoomHead>,
    /// The log's head at that time. A broker that is below it now has lost events itself.
    head: u64,
}

/// The parts of the room that have to be read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) events: bool,
    pub(crate) presence: bool,
}

impl Vigil {
    pub(crate) fn compare(&mut self, now: RoomHead, log: &RoomLog, presence: u64) -> Missing {
        let before = self.expected.take();
        let is_same_life = now.epoch.as_ref() == Some(log.epoch());
        let has_lost = is_same_life && now.offset < self.head;
        let is_missing = |expected: &RoomHead| {
            expected.epoch.as_ref() != Some(log.epoch()) || expected.offset > log.head()
        };
        let missing = Missing {
            events: has_lost || before.as_ref().is_some_and(is_missing),
            presence: before
                .as_ref()
                .is_some_and(|expected| expected.presence > presence)
                || now.presence < presence && before.is_some_and(|b| b.presence < presence),
        };
        self.head = if is_same_life { log.head() } else { 0 };
        self.expected = Some(now);
        missing
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::Epoch;

    use super::super::log::tests::{empty_log, event};
    use super::*;

    fn at(epoch: &str, offset: u64, presence: u64) -> RoomHead {
        RoomHead {
            epoch: Epoch::new(epoch).ok(),
            offset,
            presence,
            access: 0,
        }
    }

    #[test]
    fn what_is_missing_twice_was_lost() {
        let (mut vigil, mut log) = (Vigil::default(), empty_log(5));
        assert_eq!(
            vigil.compare(at("e", 6, 0), &log, 0),
            Missing::default(),
            "it may be on its way"
        );
        assert!(vigil.compare(at("e", 6, 0), &log, 0).events);
        log.append(event("e", 6));
        assert_eq!(vigil.compare(at("e", 7, 0), &log, 0), Missing::default());
        log.append(event("e", 7));
        assert_eq!(vigil.compare(at("e", 9, 0), &log, 0), Missing::default());
    }

    #[test]
    fn another_life_is_noticed() {
        let (mut vigil, log) = (Vigil::default(), empty_log(5));
        vigil.compare(at("f", 5, 0), &log, 0);
        assert!(vigil.compare(at("f", 5, 0), &log, 0).events);
        let mut vigil = Vigil::default();
        let gone = RoomHead {
            epoch: None,
            offset: 0,
            presence: 0,
            access: 0,
        };
        vigil.compare(gone.clone(), &log, 0);
        assert!(vigil.compare(gone, &log, 0).events);
    }

    /// The broker's report may be older than what has come since, but not older than the last look.
    #[test]
    fn a_broker_that_fell_back_is_noticed() {
        let (mut vigil, mut log) = (Vigil::default(), empty_log(5));
        assert_eq!(vigil.compare(at("e", 4, 0), &log, 0), Missing::default());
        log.append(event("e", 6));
        assert!(vigil.compare(at("e", 4, 0), &log, 0).events);
    }

    #[test]
    fn a_lost_presence_change_is_noticed() {
        let (mut vigil, log) = (Vigil::default(), empty_log(5));
        vigil.compare(at("e", 5, 3), &log, 2);
        let missing = vigil.compare(at("e", 5, 3), &log, 2);
        assert_eq!(
            missing,
            Missing {
                events: false,
                presence: true
            }
        );
    }
}
