//! The coverage-guided form of the target `json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helixstream_fuzz::json::check(data);
});
