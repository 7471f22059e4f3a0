//! Flags of HTTP: how commands serve it, and `helixstream http`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// How HTTP is served.
#[derive(Args, Clone, Debug)]
pub struct HttpArgs {
    /// Serve /live, /ready, /metrics and a page for people here: a port alone (8080) means
    /// 127.0.0.1, another address is written out (0.0.0.0:8080) [default: for `run` the file's, for
    /// `node` 8001]
    #[arg(long, value_name = "ADDR", env = "HELIXSTREAM_HTTP_LISTEN")]
    pub http_listen: Option<String>,
    /// Require a bearer token of this file on every path except /live and /ready; `helixstream http
    /// token` creates its lines. The file is read again when it changes [default: the file's]
    #[arg(long, value_name = "F", env = "HELIXSTREAM_HTTP_TOKEN_FILE")]
    pub http_token_file: Option<PathBuf>,
    /// Answer only requests for these hosts, separated by commas, besides `localhost` and IP
    /// addresses [default: the file's, else every host; only `localhost` and addresses where
    /// 127.0.0.1 is listened on without --http-token-file]
    #[arg(long, value_name = "NAMES", env = "HELIXSTREAM_HTTP_HOSTS", value_delimiter = ',')]
    pub http_hosts: Option<Vec<String>>,
    /// Serve HTTPS with this certificate: PEM, followed by those up to the authority. It is read
    /// again when it changes [default: the file's]
    #[arg(long, value_name = "F", env = "HELIXSTREAM_HTTP_TLS_CERT")]
    pub http_tls_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, not encrypted [default: the file's]
    #[arg(long, value_name = "F", env = "HELIXSTREAM_HTTP_TLS_KEY")]
    pub http_tls_key: Option<PathBuf>,
}

/// `helixstream http`.
#[derive(Args, Debug)]
pub struct HttpCommand {
    /// The command.
    #[command(subcommand)]
    pub action: HttpAction,
}

/// The commands of `helixstream http`.
#[derive(Debug, Subcommand)]
pub enum HttpAction {
    /// Create a token and its line of the token file
    ///
    /// Prints the token, which is kept nowhere else, and below it the line for --http-token-file,
    /// which holds the token's SHA-256 only. With --append the line goes into the file, and only
    /// the token is printed.
    Token(TokenArgs),
}

/// `helixstream http token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// Name of the token, which logs show: letters, digits, `.`, `_`, `-` and `@`
    #[arg(long, value_name = "NAME", env = "HELIXSTREAM_NAME")]
    pub name: String,
    /// Rights of the token: `read` (pages), `act` (change something)
    #[arg(
        long,
        value_name = "RIGHTS",
        env = "HELIXSTREAM_RIGHTS",
        value_enum,
        value_delimiter = ',',
        default_value = "read"
    )]
    pub rights: Vec<TokenRight>,
    /// Ids of the users that it may see, separated by commas [default: all]
    #[arg(long, value_name = "USERS", env = "HELIXSTREAM_USERS", value_delimiter = ',')]
    pub users: Option<Vec<String>>,
    /// Append the line to this token file, which is created with mode 0600 if it is missing
    #[arg(long, value_name = "F", env = "HELIXSTREAM_APPEND")]
    pub append: Option<PathBuf>,
}

/// A right of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenRight {
    /// See pages.
    Read,
    /// Change something.
    Act,
}
