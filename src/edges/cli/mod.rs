//! The command line: what people type. It only says what was asked for; `app` does it.

mod args;
pub mod exit;
pub mod terminal;

pub use args::{
    Cli, Command, KafkaArgs, LogArgs, LogFormat, MirrorArgs, ProduceArgs, ReplayArgs, RunArgs, StateAction, StateArgs,
    StateTarget, TopicsAction, TopicsArgs, TopicsTarget, TopologyArgs,
};
