//! `hubbub bench`: the load generator, which lives in a crate of its own.

use hubbub_bench::BenchArgs;
use tokio::runtime::Builder;

use super::error::CommandError;
use crate::{files, logging};

pub(crate) fn bench(args: BenchArgs) -> Result<(), CommandError> {
    logging::start("warn");
    files::raise_limit();
    // Measuring blocks a thread, so the runtime needs a second one.
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build()?;
    runtime.block_on(hubbub_bench::run(args))?;
    Ok(())
}
