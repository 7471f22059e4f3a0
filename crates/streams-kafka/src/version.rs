//! Which librdkafka and which OpenSSL this process has, and what they can do: what `helixstream
//! --version` prints.

use std::ffi::{CStr, c_char};

use rdkafka::bindings as sys;

/// The client library, as it is in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLibrary {
    /// The version of librdkafka: `2.12.1`.
    pub librdkafka: String,
    /// The version of the OpenSSL that is loaded, in its own words: `OpenSSL 3.0.17 1 Jul 2025`.
    pub openssl: String,
    /// The features that librdkafka was built with (its property `builtin.features`).
    pub features: Vec<String>,
}

/// The mechanisms of SASL, by the feature of librdkafka that brings them.
const MECHANISMS: &[(&str, &[&str])] = &[
    ("sasl_gssapi", &["GSSAPI"]),
    ("sasl_plain", &["PLAIN"]),
    ("sasl_scram", &["SCRAM-SHA-256", "SCRAM-SHA-512"]),
    ("oidc", &["OAUTHBEARER"]),
];

impl ClientLibrary {
    /// Asks the libraries that are loaded.
    pub fn loaded() -> ClientLibrary {
        // SAFETY: both return an ended string that is never freed.
        let (librdkafka, openssl) = unsafe {
            (
                CStr::from_ptr(sys::rd_kafka_version_str()),
                CStr::from_ptr(openssl_sys::OpenSSL_version(openssl_sys::OPENSSL_VERSION)),
            )
        };
        ClientLibrary {
            librdkafka: librdkafka.to_string_lossy().into_owned(),
            openssl: openssl.to_string_lossy().into_owned(),
            features: builtin_features()
                .split(',')
                .map(str::trim)
                .filter(|f| !f.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The mechanisms of SASL that there are.
    pub fn mechanisms(&self) -> Vec<&'static str> {
        let has = |feature: &str| self.features.iter().any(|found| found == feature);
        MECHANISMS.iter().filter(|(feature, _)| has(feature)).flat_map(|(_, names)| *names).copied().collect()
    }
}

fn builtin_features() -> String {
    let mut text = [0 as c_char; 1024];
    let mut size = text.len();
    // SAFETY: a configuration that lives until it is destroyed here; a buffer of the size told,
    // which the call fills with an ended string. Where the call fails, the buffer stays zeroed.
    unsafe {
        let conf = sys::rd_kafka_conf_new();
        sys::rd_kafka_conf_get(conf, c"builtin.features".as_ptr(), text.as_mut_ptr(), &mut size);
        sys::rd_kafka_conf_destroy(conf);
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mechanism_that_managed_clusters_ask_for_is_there() {
        let library = ClientLibrary::loaded();
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
            assert!(library.mechanisms().contains(&mechanism), "{library:?}");
        }
        assert_eq!(library.mechanisms().contains(&"GSSAPI"), cfg!(feature = "gssapi"));
        assert!(library.features.iter().any(|feature| feature == "ssl"), "{library:?}");
        assert!(library.librdkafka.starts_with("2.") && library.openssl.starts_with("OpenSSL 3."), "{library:?}");
    }
}
