//! The operators that know records and JSON and nothing of memories: what makes topology files describe any graph.
//!
//! | operator | processor | gives |
//! |---|---|---|
//! | `filter` | [`Filter`] | the records of which an expression is true |
//! | `map` | [`Map`] | records with another value |
//! | `rekey` | [`Rekey`] | records with another key |
//! | `branch` | [`Branch`] | each record to the first output whose expression is true |
//! | `aggregate`, `count` | [`Aggregate`] | what all records of a key come to, each time that it changes |
//!
//! Each reads JSON: a source's value is told apart by its bytes ([`Input`]) and handed on as the JSON that it stands for. A record
//! that cannot be read, or whose expression fails, is a dead letter and stops nothing. Which nodes
//! an output goes to, under which key and in which format, is decided by [`Outputs`]' business. Of
//! the domain they use JSON and what a source's values may be, and no more.

mod aggregate;
mod branch;
mod expressions;
mod filter;
mod input;
mod map;
mod outputs;
mod rekey;
mod tree;

pub use aggregate::{Aggregate, Fold};
pub use branch::Branch;
pub use filter::Filter;
pub use input::{Input, SourceInput};
pub use map::{Map, MapFields};
pub use outputs::{OutputEncoder, OutputTarget, Outputs};
pub use rekey::Rekey;

/// Counter: records that an operator left out as it was told to, by the operator's name in the file.
pub const LEFT_OUT: &str = "left_out_records";

/// Class of dead letters: an expression failed, went over its budget, or gave what it must not.
pub const SCRIPT_FAILED: &str = "script_failed";
/// Class of dead letters: an operator that keeps state by key got a record without one.
pub const MISSING_KEY: &str = "missing_key";
