//! What the engine asks of the world, as small traits. Edges implement them; nothing here knows Kafka, RocksDB or Postgres.

pub mod log;
