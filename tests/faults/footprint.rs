//! Memory and open files of the nodes before and after, without those of clients.

use std::time::Duration;

use hubbub_tests::procfs;
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, NODES};

/// Five times the goal for a node to free everything.
const BACK: Duration = Duration::from_secs(50);
/// The growth that is always allowed, because a tenth of a small figure is less than an allocator
/// keeps.
const FREE_BYTES: u64 = 24 << 20;
/// The memory that a node may keep for each room's newest events.
const ROOM_BYTES: u64 = 1 << 20;
const FREE_FILES: usize = 8;

/// The resources that one node uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    bytes: u64,
    files: usize,
}

/// The footprints by node; `None` for a node that does not run.
pub(crate) async fn footprints(arena: &Arena) -> Vec<Option<Footprint>> {
    let mut all = vec![None; NODES];
    for number in arena.living().await {
        let pid = arena.node(number).await.pid();
        let connections = arena.metrics(number).await.get("connections");
        let files = procfs::open_files(pid).unwrap_or(0);
        all[number] = Some(Footprint {
            bytes: procfs::rss(pid).unwrap_or(0),
            // Files of clients that have moved to this node are not a leak.
            files: (files as f64 - connections).max(0.0) as usize,
        });
    }
    all
}

impl Footprint {
    fn is_back(&self, before: &Self, rooms: usize) -> bool {
        let free_bytes = FREE_BYTES + ROOM_BYTES * rooms as u64;
        self.bytes <= before.bytes + (before.bytes / 10).max(free_bytes)
            && self.files <= before.files + (before.files / 10).max(FREE_FILES)
    }
}

/// Waits until every node that ran before uses about as much as then. Returns the largest growth,
/// for display.
///
/// # Errors
/// Describes the use if the nodes have not freed it in time.
pub(crate) async fn wait_back(
    arena: &Arena,
    before: &[Option<Footprint>],
    rooms: usize,
) -> Result<String, String> {
    let start = Instant::now();
    loop {
        let now = footprints(arena).await;
        let pairs: Vec<(Footprint, Footprint)> = before
            .iter()
            .zip(&now)
            .filter_map(|(before, now)| Some(((*before)?, (*now)?)))
            .collect();
        let is_back = |(before, now): &(Footprint, Footprint)| now.is_back(before, rooms);
        if pairs.iter().all(is_back) {
            return Ok(growth(&pairs));
        }
        if start.elapsed() > BACK {
            return Err(format!("memory and files were {before:?} and are {now:?}"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn growth(pairs: &[(Footprint, Footprint)]) -> String {
    let grown = |(before, now): &(Footprint, Footprint)| {
        let bytes = now.bytes as i64 - before.bytes as i64;
        (bytes >> 20, now.files as i64 - before.files as i64)
    };
    let (mib, files) = pairs.iter().map(grown).max().unwrap_or_default();
    format!("rss={mib:+}MiB files={files:+}")
}
