//! Thin edges, one technology each. They never import each other. Those with a library behind them
//! are members of the workspace.

pub mod cli;
pub mod clock;
pub mod outputs;
pub mod recordfile;
pub mod state_dir;
pub mod telemetry;
