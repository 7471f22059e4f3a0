//! Thin edges, one technology each. They never import each other. Those with a library behind them are members of the workspace.

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
