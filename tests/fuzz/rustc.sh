#!/bin/sh
# Cargo calls it for our own crates only: their branches and comparisons are counted for libFuzzer, as
# `cargo fuzz` does it, and their overflows panic. Everything else stays as it was built.
case "$*" in
*"--crate-name build_script_"*) exec "$@" ;;
esac
exec "$@" -Coverflow-checks -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
