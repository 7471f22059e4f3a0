//! Declares to cargo that the migrations are compiled in, so that a new file among them rebuilds
//! the crate.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
