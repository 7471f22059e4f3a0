//! Thin edges, one technology each. They import `streams::ports` and domain values, never each other.

pub mod cli;
pub mod clock;
pub mod outputs;
pub mod recordfile;
pub mod state_dir;
pub mod telemetry;
pub use ::avro;
pub use ::http;
pub use ::mirror_postgres as postgres;
pub use ::script;
pub use ::streams_kafka as kafka;
pub use ::streams_rocksdb as rocksdb;
