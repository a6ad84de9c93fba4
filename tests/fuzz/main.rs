//! One libFuzzer program for all targets: `FUZZ_TARGET` names the one that it runs.

#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    targets::find(&name).expect("FUZZ_TARGET must name a target")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
