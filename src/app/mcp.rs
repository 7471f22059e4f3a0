//! `helixstream mcp`: the tools of the Model Context Protocol on the standard streams, over a node
//! that runs elsewhere. It runs until the standard input ends; a signal ends the process at once,
//! since it has nothing to keep. Log lines go to the standard error, as those of every command.

use super::CommandError;
use crate::edges::cli::McpArgs;
use node_mcp::{RemoteNode, serve_stdio};
use secret::SecretSource;

/// The variable with the token, and with `_FILE` behind it that of its file.
const TOKEN: &str = "HELIXSTREAM_NODE_TOKEN";

/// Runs until the standard input ends.
pub fn mcp(args: &McpArgs) -> Result<(), CommandError> {
    let usage = |error: &dyn std::fmt::Display| CommandError::Usage(error.to_string());
    let token = match &args.token_file {
        Some(file) => Some(SecretSource::file(file, "--token-file")),
        None => SecretSource::from_variables(TOKEN).map_err(|error| usage(&error))?,
    };
    let node = RemoteNode::new(&args.node_url, token, args.node_ca_file.as_deref()).map_err(|error| usage(&error))?;
    tracing::info!("MCP on the standard streams, over the node at {}", node.url());
    serve_stdio(node).map_err(|error| CommandError::Failure(error.into()))
}
