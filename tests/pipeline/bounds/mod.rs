//! Bounds: memory with many events and memories, and what is large or hot beside everything else.
//!
//! `make bounds` sets the variables `BOUNDS_EVENTS`, `BOUNDS_MEMORIES`, `BOUNDS_MEMORY` and
//! `BOUNDS_HOT`; without them a small sample is run, which shows that the tests work and not much
//! of the bounds.

mod hot;
mod memory;

/// A number that `make bounds` sets, and its value in a sample.
fn number(variable: &str, sample: usize) -> usize {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
    text.map_or(sample, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Whether this is a long run.
fn is_long() -> bool {
    std::env::var_os("BOUNDS_EVENTS").is_some_and(|text| !text.is_empty())
}
