//! Text of `helixstream --version`: the versions of the libraries that an operator asks for when
//! something is wrong with them, as they are in this process, and what they were built with.

use std::sync::OnceLock;

use streams_kafka::version::ClientLibrary;
use streams_rocksdb::VERSION as ROCKSDB;

/// The long form, behind the program's name.
pub fn long_version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let client = ClientLibrary::loaded();
        format!(
            "{}\nlibrdkafka {}\n{}\nRocksDB {}\nSASL mechanisms: {}\nlibrdkafka features: {}",
            env!("CARGO_PKG_VERSION"),
            client.librdkafka,
            client.openssl,
            ROCKSDB,
            client.mechanisms().join(", "),
            client.features.join(", "),
        )
    })
}
