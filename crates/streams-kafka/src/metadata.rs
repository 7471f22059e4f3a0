//! The metadata of a cluster, as a client asks for it: all topics and brokers.

use std::ffi::c_int;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::error::Failure;
use super::native::Native;

/// Asks a client for all topics, and hands them to `read`.
pub(super) fn read_metadata<T>(
    client: &Native,
    timeout: Duration,
    read: impl FnOnce(&sys::rd_kafka_metadata) -> T,
) -> std::result::Result<T, Failure> {
    let mut found = std::ptr::null();
    // SAFETY: a live client; what is found is ours to free, once, after it was read.
    unsafe {
        let all = 1;
        let code = sys::rd_kafka_metadata(client.as_ptr(), all, std::ptr::null_mut(), &mut found, millis(timeout));
        if let Some(failure) = Failure::of(code) {
            return Err(client.cause(failure));
        }
        let answer = read(&*found);
        sys::rd_kafka_metadata_destroy(found);
        Ok(answer)
    }
}

pub(super) fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1)
}
