//! The command line: the commands and flags that users type. It only parses them; `app` executes
//! them.

mod args;
mod conflicts;
pub mod exit;
mod http;
mod kafka;
mod mcp;
mod node;
mod nodes;
mod services;
pub mod terminal;
mod topics;
mod topology;

pub use args::{
    BackfillArgs, BackfillFrom, Cli, Command, LogArgs, LogFormat, MigrateArgs, MirrorAction, MirrorArgs, MirrorRunArgs,
    MirrorTarget, PostgresArgs, ProduceArgs, RegistryArgs, ReplayArgs, RunArgs, StateAccessArgument, StateAction,
    StateArgs, StateTarget, VerifyArgs,
};
pub use conflicts::{
    ConflictFormat, ConflictsAction, ConflictsCommand, ConflictsTarget, ListArgs, ResolveArgs, ShowArgs, StatusFilter,
};
pub use http::{HttpAction, HttpArgs, HttpCommand, TokenArgs, TokenRight};
pub use kafka::{KafkaArgs, KafkaSecurityArgs};
pub use mcp::McpArgs;
pub use node::{NodeArgs, NodeRoleArgument, StaleWritesArgument};
pub use nodes::{ListNodesArgs, NodesAction, NodesCommand};
pub use services::{
    BootArgs, ReportFormat, ServiceSettingArgs, ServicesAction, ServicesArgs, ServicesCommand, StartArgs, UpArgs,
};
pub use topics::{AclsArgs, CheckArgs, Purpose, TopicsAction, TopicsArgs, TopicsTarget};
pub use topology::{DescribeFormat, TopologyAction, TopologyArgs, TopologyCommand};
