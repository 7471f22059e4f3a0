//! Why the certificate of a broker is refused: OpenSSL says it to librdkafka, which keeps it to
//! itself unless it is asked in its own check of certificates.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};

use rdkafka::bindings as sys;

use super::certificate_reason::certificate_reason;
use super::settings::Properties;

/// Whether the brokers' certificates are checked, so that a refused one has a reason.
pub(super) fn checks_certificates(properties: &Properties) -> bool {
    let is = |name: &str, value: &str| {
        let last = properties.iter().rfind(|(key, _)| key == name);
        last.is_some_and(|(_, found)| found.to_string().to_lowercase().contains(value))
    };
    is("security.protocol", "ssl") && !is("enable.ssl.certificate.verification", "false")
}

/// Tells why a broker's certificate is refused. What OpenSSL decided stays as it is.
pub(super) unsafe extern "C" fn on_certificate(
    _: *mut sys::rd_kafka_t,
    _broker: *const c_char,
    _broker_id: i32,
    error: *mut c_int,
    depth: c_int,
    _certificate: *const c_char,
    _size: usize,
    text: *mut c_char,
    text_size: usize,
    _: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka passes a number to read and a buffer of the size told; OpenSSL's texts are
    // constants.
    unsafe {
        if *error == 0 {
            return 1;
        }
        let words = CStr::from_ptr(openssl_sys::X509_verify_cert_error_string(c_long::from(*error))).to_string_lossy();
        let reason = certificate_reason(*error, depth, &words);
        let bytes = &reason.as_bytes()[..reason.len().min(text_size.saturating_sub(1))];
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast::<c_char>(), text, bytes.len());
        *text.add(bytes.len()) = 0;
        0
    }
}
