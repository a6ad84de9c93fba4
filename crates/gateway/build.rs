//! Rebuilds the crate when a file is added to, or leaves, the folder that it embeds.

fn main() {
    println!("cargo::rerun-if-changed=../../static");
}
