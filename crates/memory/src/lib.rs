//! The domain: the meaning of events, and memories as their result. It is pure: no clock, no I/O,
//! no async. The law above all others: the resolved state of a memory is a pure function of the set
//! of its events.

pub mod binary;
pub mod causality;
pub mod clock;
pub mod conflict;
pub mod event;
pub mod retention;
pub mod settings;
pub mod state;
pub mod step;
pub mod strategy;
pub mod sync;
pub mod users;
pub mod view;
