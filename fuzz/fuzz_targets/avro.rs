//! The coverage-guided form of the target `avro`.
#![no_main]

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helixstream_fuzz::avro::check(data);
});
