//! The coverage-guided form of the target `topology`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helixstream_fuzz::topology::check(data);
});
