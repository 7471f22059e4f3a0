//! The binary: parse, load config, call app.

fn main() {}
