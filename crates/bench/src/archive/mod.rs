//! `hubbub bench archive`: the cost of appending to a large room, reading it back and searching it.

mod load;
mod timing;

use std::io::Write;
use std::time::Duration;

use clap::Args;
use hubbub_archive::{Archive, ArchiveSection, HistorySpan, ReadMark, SearchQuery};
use hubbub_protocol::{RoomId, UserId};
use tokio::time::Instant;

use self::load::{COMMON, Filled, RARE, READER, ROOMS, fill, side_rooms};
use self::timing::{Timing, histogram, quantiles};
use crate::error::BenchError;
use crate::report::print;

/// The number of times each call is made.
const ROUNDS: u64 = 200;
/// Messages per page.
const PAGE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `hubbub bench archive`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ArchiveArgs {
    /// The archive's URL, as sqlite://bench.db or postgres://…; the bench fills it, so name an
    /// empty archive, or one that this bench has filled before
    #[arg(long)]
    url: String,
    /// How many messages the room shall have
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// The room to fill
    #[arg(long, default_value = "bench")]
    room: String,
}

pub(crate) async fn run(args: &ArchiveArgs) -> Result<(), BenchError> {
    let room = RoomId::new(&args.room)
        .map_err(|_| BenchError::Arguments("--room is not a valid room id"))?;
    let section = ArchiveSection {
        url: args.url.clone(),
        statement_timeout: PATIENCE,
        search_timeout: PATIENCE,
        ..ArchiveSection::default()
    };
    let archive = Archive::open(&section).await?;
    let archive = archive.ok_or(BenchError::Arguments("--url does not name an archive"))?;
    archive.connect().await?;
    let filled = fill(&archive, &room, args.messages).await?;
    side_rooms(&archive).await?;
    let timings = Box::pin(measure(&archive, &room)).await?;
    archive.close().await;
    report(args, &filled, &timings)?;
    Ok(())
}

async fn measure(archive: &Archive, room: &RoomId) -> Result<Vec<Timing>, BenchError> {
    let life = archive.incarnation(room).await?;
    let top = life.map_or(0, |life| life.top);
    let reader = UserId::new(READER).expect("a valid id");
    let mark = |room: RoomId, offset| ReadMark {
        user: reader.clone(),
        room,
        offset,
        is_join: false,
    };
    archive
        .save_reads(&[mark(room.clone(), top.saturating_sub(150))])
        .await?;
    let middle = |round: u64| HistorySpan::Before(Some(top / 2 + round * 97));
    let query = |text: &str, room: Option<RoomId>| SearchQuery {
        text: text.to_owned(),
        room,
        from: None,
        before: None,
        limit: 20,
        reader: reader.clone(),
        allowed: None,
    };
    let (common, rare) = (query(COMMON, None), query(RARE, None));
    let both = query(&format!("{COMMON} {RARE}"), None);
    let inside = query(COMMON, Some(room.clone()));
    let beside = query(COMMON, RoomId::new("bench-side-1").ok());
    Ok(vec![
        time("history, newest page", async |_| {
            archive
                .history(room, HistorySpan::Before(None), PAGE)
                .await
                .map(|page| page.len())
        })
        .await?,
        time("history, in the middle", async |round| {
            archive
                .history(room, middle(round), PAGE)
                .await
                .map(|page| page.len())
        })
        .await?,
        time("history, oldest page", async |_| {
            archive
                .history(room, HistorySpan::After(0), PAGE)
                .await
                .map(|page| page.len())
        })
        .await?,
        time("search, a rare word", async |_| found(archive, &rare).await).await?,
        time("search, a common word", async |_| {
            found(archive, &common).await
        })
        .await?,
        time("search, both", async |_| found(archive, &both).await).await?,
        time("search, common, in the room", async |_| {
            found(archive, &inside).await
        })
        .await?,
        time("search, common, in a small room", async |_| {
            found(archive, &beside).await
        })
        .await?,
        time("inbox, 100 rooms", async |_| {
            archive.inbox(&reader, 200).await.map(|rooms| rooms.len())
        })
        .await?,
    ])
}

async fn found(
    archive: &Archive,
    query: &SearchQuery,
) -> Result<usize, hubbub_archive::ArchiveError> {
    archive.search(query).await.map(|page| page.hits.len())
}

/// Times a call, which must find something.
async fn time(
    name: &'static str,
    call: impl AsyncFn(u64) -> Result<usize, hubbub_archive::ArchiveError>,
) -> Result<Timing, BenchError> {
    let mut times = histogram();
    for round in 0..ROUNDS {
        let start = Instant::now();
        if call(round).await? == 0 {
            return Err(BenchError::Arguments(
                "the archive holds other data: name an empty archive, or one filled by this bench",
            ));
        }
        times.saturating_record(start.elapsed().as_micros() as u64);
    }
    Ok(Timing { name, times })
}

fn report(args: &ArchiveArgs, filled: &Filled, timings: &[Timing]) -> std::io::Result<()> {
    let kind = args.url.split("://").next().unwrap_or_default();
    let mut out = Vec::new();
    writeln!(
        out,
        "archive               {kind}, {} messages in a room",
        args.messages
    )?;
    let rate = filled.rate();
    if filled.rows > 0 {
        let (p50, p99) = quantiles(&filled.batches);
        writeln!(
            out,
            "filled                {} rows in {} rooms, {rate:.0} rows/s",
            filled.rows, ROOMS
        )?;
        writeln!(
            out,
            "a batch of 500        p50 {p50:.2} ms, p99 {p99:.2} ms"
        )?;
    }
    writeln!(
        out,
        "\n{:32} {:>9} {:>9} {:>9}",
        "", "p50 ms", "p99 ms", "max ms"
    )?;
    let mut json = serde_json::json!({
        "bench": "archive", "kind": kind, "messages": args.messages, "rows_per_second": rate as u64,
    });
    for Timing { name, times } in timings {
        let (p50, p99) = quantiles(times);
        let max = times.max() as f64 / 1000.0;
        writeln!(out, "{name:32} {p50:>9.2} {p99:>9.2} {max:>9.2}")?;
        json[*name] = serde_json::json!({"p50_ms": p50, "p99_ms": p99});
    }
    writeln!(out, "\n{json}")?;
    print(&String::from_utf8_lossy(&out))
}
