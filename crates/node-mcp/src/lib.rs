//! The memories of a node as tools of the Model Context Protocol (MCP), for agents whose host
//! speaks it: `remember`, `recall`, `forget` and `resolve_conflict`. docs/mcp.md describes them for
//! users.
//!
//! The tools are a client of the node's own HTTP/JSON interface (`/v1`, docs/node.md), which alone
//! decides who may see and write what, and what is refused. Two ways lead to it:
//!
//! - [`api`] serves MCP's streamable HTTP at `/mcp` of the node's port, and calls the node's routes
//!   within the process;
//! - [`serve_stdio`] serves MCP on the standard streams of a process of its own, which the agent's
//!   host starts, and calls the routes of a node that runs elsewhere.
//!
//! | module | what it is |
//! |---|---|
//! | `tools` | the tools |
//! | `arguments`, `answers` | their arguments and answers, of which the schemas are made |
//! | `refusals` | errors, in the words of the tools |
//! | `sessions` | the clock tokens of what each session has been shown |
//! | `callers` | which client calls a tool, and in which session |
//! | `exchange` | requests and answers of the node |
//! | `connection`, `remote` | the two ways to the node |
//! | `http_face`, `stdio` | the two transports |

mod answers;
mod arguments;
mod callers;
mod connection;
mod exchange;
mod http_face;
mod refusals;
mod remote;
mod sessions;
mod stdio;
mod tools;

pub use http_face::{CAPABILITY, api};
pub use remote::{RemoteNode, RemoteNodeError};
pub use stdio::{StdioError, serve_stdio};
