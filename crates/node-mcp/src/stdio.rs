//! MCP on the standard streams, for a host that starts a process for each agent.

use std::io;
use std::sync::Arc;

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::stdio_pipes;
use tokio::runtime::Builder;

use crate::connection::Connection;
use crate::remote::RemoteNode;
use crate::tools::MemoryTools;

/// Why MCP is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The system gives no runtime.
    #[error("MCP cannot be served: {0}; raise the limits of threads, open files and memory of this user [HS0008]")]
    Runtime(io::Error),
    /// The host does not begin as the protocol says.
    #[error("what came on the standard input is no MCP: {0}; an MCP host starts this command, not a person [HS8111]")]
    Initialize(Box<ServerInitializeError>),
    /// The server has ended in disorder.
    #[error(
        "MCP has ended, since a part of this program has failed: {0}; the host can start it again; please report it [HS8112]"
    )]
    Ended(tokio::task::JoinError),
}

/// Serves MCP on the standard streams until the standard input ends. The call blocks. Nothing else
/// may write to the standard output.
///
/// # Errors
/// [`StdioError`]
pub fn serve_stdio(node: RemoteNode) -> Result<(), StdioError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StdioError::Runtime)?;
    let tools = MemoryTools::new(Connection::Remote(Arc::new(node)));
    let ended = runtime.block_on(async {
        match tools.serve(stdio_pipes()).await {
            Ok(serving) => serving.waiting().await.map(drop).map_err(StdioError::Ended),
            // The host has looked whether the command starts, and has closed it again.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(StdioError::Initialize(Box::new(error))),
        }
    });
    // A thread may be reading the standard input.
    runtime.shutdown_background();
    ended
}
