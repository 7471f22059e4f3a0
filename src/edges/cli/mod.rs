//! The command line: the commands and flags that users type. It only parses them; `app` executes
//! them.

mod args;
mod audit;
mod conflicts;
pub mod exit;
mod http;
mod kafka;
mod mcp;
mod mirror;
mod node;
mod nodes;
mod registry;
mod run;
mod services;
mod state;
pub mod terminal;
mod topics;
mod topology;

pub use args::{Cli, Command, LogArgs, LogFormat, ProduceArgs, ReplayArgs};
pub use audit::{AuditArgs, AuditFormat, AuditStart};
pub use conflicts::{
    ConflictFormat, ConflictsAction, ConflictsCommand, ConflictsTarget, ListArgs, ResolveArgs, ShowArgs, StatusFilter,
};
pub use http::{HttpAction, HttpArgs, HttpCommand, TokenArgs, TokenRight};
pub use kafka::{KafkaArgs, KafkaSecurityArgs};
pub use mcp::McpArgs;
pub use mirror::{
    BackfillArgs, BackfillFrom, MigrateArgs, MirrorAction, MirrorArgs, MirrorRunArgs, MirrorTarget, PostgresArgs,
    VerifyArgs,
};
pub use node::{NodeArgs, NodeRoleArgument, StaleWritesArgument};
pub use nodes::{ListNodesArgs, NodesAction, NodesCommand};
pub use registry::RegistryArgs;
pub use run::{RunArgs, StateAccessArgument};
pub use services::{
    BootArgs, ReportFormat, ServiceSettingArgs, ServicesAction, ServicesArgs, ServicesCommand, StartArgs, UpArgs,
};
pub use state::{StateAction, StateArgs, StateTarget};
pub use topics::{AclsArgs, CheckArgs, Purpose, TopicsAction, TopicsArgs, TopicsTarget};
pub use topology::{DescribeFormat, TopologyAction, TopologyArgs, TopologyCommand};
