//! The reference model, held against cases that were worked out by hand: a model that is wrong proves nothing.

mod memories;
mod stream_time;
mod users;
