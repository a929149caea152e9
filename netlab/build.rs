//! Gives the lab the build id of the daemon that belongs to it.

#[path = "../runtime/build/sources.rs"]
mod sources;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    sources::tell()
}
