//! `helixstream mcp`: the flags of the MCP server on the standard streams.

use std::path::PathBuf;

use clap::Args;

/// `helixstream mcp`.
#[derive(Args, Debug)]
pub struct McpArgs {
    /// URL of the node whose memories the tools use
    #[arg(long, value_name = "URL", env = "HELIXSTREAM_NODE_URL", default_value = "http://127.0.0.1:8001")]
    pub node_url: String,
    /// File that holds the token for the node [variable: HELIXSTREAM_NODE_TOKEN_FILE; the token
    /// itself: HELIXSTREAM_NODE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities that are trusted besides the system's, where the node
    /// speaks TLS
    #[arg(long, value_name = "FILE", env = "HELIXSTREAM_NODE_CA_FILE")]
    pub node_ca_file: Option<PathBuf>,
}
