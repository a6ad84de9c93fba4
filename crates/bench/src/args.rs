//! Parsers of arguments that several benches share.

/// Accepts whole numbers from 1.
pub(crate) fn at_least_one() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..)
}
