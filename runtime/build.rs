//! Gives the daemon its build id.

#[path = "build/sources.rs"]
mod sources;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    sources::tell()
}
