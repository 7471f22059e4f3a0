//! The engine: Kafka Streams' core (topology, tasks, stores, changelogs, commits). It knows no memories.

pub mod ports;
