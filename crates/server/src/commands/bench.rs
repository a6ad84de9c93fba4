//! `hubbub bench`: the load generator, which lives in a crate of its own.

use hubbub_bench::BenchArgs;

use super::{CommandError, runtime};
use crate::{files, logging};

pub(crate) fn bench(args: BenchArgs) -> Result<(), CommandError> {
    logging::start("warn");
    files::raise_limit();
    runtime()?.block_on(hubbub_bench::run(args))?;
    Ok(())
}
