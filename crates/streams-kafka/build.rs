//! Compiles the state-aware assignor against the headers of the librdkafka that is linked, which
//! its binding has built.

use std::path::Path;

const SOURCE: &str = "native/assignor.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-env-changed=DEP_RDKAFKA_ROOT");
    let root = std::env::var("DEP_RDKAFKA_ROOT").unwrap_or_default();
    let headers = Path::new(&root).join("src");
    // Its own headers are not to be warned of.
    let include = format!("-isystem{}", headers.display());
    cc::Build::new().file(SOURCE).flag(include).warnings_into_errors(true).compile("helixstream_assignor");
}
