//! Avro in Confluent's wire format: magic byte 0, a schema id of four bytes, the body. The one edge
//! of `apache-avro` and of the schema registry.

mod access;
mod bad_input;
mod body;
mod client;
mod codec;
mod plain;
mod read;
mod registry;
mod request;
pub mod schemas;
pub mod settings;
mod tls;
mod walk;
mod write;
mod writer;

pub use access::url_holds_password;
pub use body::BodyCodec;
pub use codec::Avro;
pub use writer::WriterSchema;
