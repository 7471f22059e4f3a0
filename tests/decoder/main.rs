//! The decoder against what comes in from outside: the samples that HelixAgent's own nodes wrote, and what nobody sane would.

mod agree;
mod bounds;
mod fuzz;
mod memory;
mod samples;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
