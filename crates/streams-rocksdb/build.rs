//! Hands the version of RocksDB over, which its binding names in Cargo.lock and nowhere in its
//! interface.

use std::path::Path;

/// The crate that compiles RocksDB; the part of its version behind `+` is RocksDB's.
const BINDING: &str = "name = \"librocksdb-sys\"";

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let lock = Path::new(&folder).join("../../Cargo.lock");
    println!("cargo:rerun-if-changed={}", lock.display());
    let lock = std::fs::read_to_string(lock).unwrap_or_default();
    let version = lock.split(BINDING).nth(1).and_then(|rest| rest.split("version = \"").nth(1)?.split('"').next());
    let rocksdb = version.and_then(|version| version.split_once('+')).map_or("unknown", |(_, rocksdb)| rocksdb);
    println!("cargo:rustc-env=HELIXSTREAM_ROCKSDB_VERSION={rocksdb}");
}
