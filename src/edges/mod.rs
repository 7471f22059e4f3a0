//! Thin edges, one technology each. They import `streams::ports` and domain values, never each other.

pub mod avro;
pub mod cli;
pub mod clock;
pub mod http;
pub mod kafka;
pub mod outputs;
pub mod postgres;
pub mod recordfile;
pub mod rocksdb;
pub mod script;
pub mod state_dir;
pub mod telemetry;
