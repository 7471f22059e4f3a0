//! The decoder against what comes in from outside: the samples that HelixAgent's own nodes wrote,
//! and what nobody sane would.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod agree;
mod bounds;
mod fuzz;
mod samples;

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;
