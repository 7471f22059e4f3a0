//! Kafka in memory: the ports that the engine's own tests use.

#[path = "../../../streams/src/runtime/tests/broker.rs"]
pub mod broker;
#[path = "../../../streams/src/runtime/tests/ports.rs"]
pub mod ports;
#[path = "../../../streams/src/runtime/tests/producer.rs"]
pub mod producer;
