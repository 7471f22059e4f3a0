//! The generic operators, which know records and JSON and nothing of memories, so that topology
//! files can describe any graph.
//!
//! | operator | processor | emits |
//! |---|---|---|
//! | `filter` | [`Filter`] | the records of which an expression is true |
//! | `map` | [`Map`] | records with another value |
//! | `rekey` | [`Rekey`] | records with another key |
//! | `branch` | [`Branch`] | each record to the first output whose expression is true |
//! | `aggregate`, `count` | [`Aggregate`] | the aggregate of all records of a key, each time that it changes |
//!
//! Each reads JSON: the encoding of a source's value is recognised by its bytes ([`Input`]), and
//! the value is passed on as the JSON that it stands for. A record that cannot be read, or whose
//! expression fails, is a dead letter and stops nothing. [`Outputs`] decides to which nodes an
//! output goes, under which key and in which format. Of the domain they use only JSON and the
//! encodings of a source's values.
//!
//! [`spec`] says what an operator is to a topology file, for the operators of this crate, those of
//! other crates and those of a user's program; an
//! [`OperatorRegistry`](spec::OperatorRegistry) holds all that a program has.

mod aggregate;
mod branch;
mod expressions;
mod filter;
mod input;
mod map;
mod outputs;
mod rekey;
mod shipped;
pub mod spec;
mod tree;

pub use aggregate::{Aggregate, Fold};
pub use branch::Branch;
pub use expressions::evaluate;
pub use filter::Filter;
pub use input::{Input, SourceInput};
pub use map::{Map, MapFields};
pub use outputs::{OutputEncoder, OutputTarget, Outputs};
pub use rekey::Rekey;
pub use shipped::specs;

/// Counter: records that an operator left out by its own rule, by the operator's name in the file.
pub const LEFT_OUT: &str = "left_out_records";

/// Class of dead letters: an expression failed, went over its budget, or gave what it must not.
pub const SCRIPT_FAILED: &str = "script_failed";
/// Class of dead letters: an operator that keeps state by key got a record without one.
pub const MISSING_KEY: &str = "missing_key";
