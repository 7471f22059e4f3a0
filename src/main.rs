//! The binary: the program without operators and resolvers of its own.

use std::process::ExitCode;

use helixstream::Program;

/// Events and rows are many small allocations, on which the C library's allocator spends a fifth of
/// the time. With the feature `override` librdkafka and RocksDB allocate here too: a tenth less
/// processor time for the pipeline.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the crate gives no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // What is free goes back to the system at once: kept for later, as by default, it is a fifth of
    // our memory. SAFETY: sets a number, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
    helixstream::main(Program::default())
}
