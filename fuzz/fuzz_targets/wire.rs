//! The coverage-guided form of the target `wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helixstream_fuzz::wire::check(data);
});
