//! The coverage-guided form of the target `rows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helixstream_fuzz::rows::check(data);
});
