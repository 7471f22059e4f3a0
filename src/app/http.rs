//! HTTP of the commands that serve it: from flags and the topology file to a server, and
//! `helixstream http`.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;

use super::CommandError;
use crate::edges::cli::{HttpAction, HttpArgs, TokenArgs, TokenRight};
use http::listen::parse_address;
use http::server::{Api, HttpError, HttpSettings, RunningServer, Server};
use http::tokens::{Right, Token, Tokens};
use http::{InstanceStatus, Limits, TlsFiles};
use topology_file::RunDefaults;

/// Takes the address of the HTTP pages and reads their files, before anything is started. `None`
/// when no address is given. `address` is the file's, for a command that takes it from there.
pub fn bind(args: &HttpArgs, address: Option<&str>, file: &RunDefaults) -> Result<Option<Server>, CommandError> {
    let Some(settings) = settings(args, address, file)? else { return Ok(None) };
    let server = Server::bind(&settings).map_err(|e| match e {
        HttpError::Bind { .. } => CommandError::Failure(e.into()),
        HttpError::Tokens(e) => CommandError::Usage(format!("--http-token-file: {e}")),
        HttpError::Hosts(e) => CommandError::Usage(format!("--http-hosts: {e}")),
        HttpError::Tls(e) => CommandError::Usage(format!("--http-tls-cert, --http-tls-key: {e}")),
    })?;
    warn(&server, &settings);
    Ok(Some(server))
}

fn settings(args: &HttpArgs, address: Option<&str>, file: &RunDefaults) -> Result<Option<HttpSettings>, CommandError> {
    let path = |flag: &Option<PathBuf>, file: &Option<PathBuf>| flag.clone().or_else(|| file.clone());
    let token_file = path(&args.http_token_file, &file.http_token_file);
    let certificate = path(&args.http_tls_cert, &file.http_tls_cert);
    let key = path(&args.http_tls_key, &file.http_tls_key);
    let (address, from) = match (&args.http_listen, address) {
        (Some(text), _) => (text.as_str(), "--http-listen"),
        (None, Some(text)) => (text, "`http_listen` of [run]"),
        (None, None) => {
            if args.http_token_file.is_some()
                || args.http_tls_cert.is_some()
                || args.http_tls_key.is_some()
                || args.http_hosts.is_some()
            {
                tracing::warn!(
                    code = "HS6050",
                    "--http-listen is not set, so HTTP is not served and the other --http flags have no effect; set --http-listen, or remove them"
                );
            }
            return Ok(None);
        }
    };
    let address = parse_address(address).map_err(|e| CommandError::Usage(format!("{from}: {e}")))?;
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(CommandError::Usage(
                "--http-tls-cert needs --http-tls-key, its private key [HS0006]".to_owned(),
            ));
        }
        (None, Some(_)) => {
            return Err(CommandError::Usage(
                "--http-tls-key needs --http-tls-cert, its certificate [HS0006]".to_owned(),
            ));
        }
    };
    let of_file =
        || file.http_hosts.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect();
    let hosts = args.http_hosts.clone().unwrap_or_else(of_file);
    Ok(Some(HttpSettings { address, token_file, hosts, tls, limits: Limits::default() }))
}

/// Tells what lets strangers in.
fn warn(server: &Server, settings: &HttpSettings) {
    let url = server.url();
    let port = server.address().port();
    let reaches_out = !settings.address.ip().is_loopback();
    if let Some(file) = &settings.token_file {
        let file = file.display();
        if server.tokens() == Some(0) {
            tracing::warn!(
                code = "HS6051",
                "the token file {file} holds no token, so only /live and /ready answer: `helixstream http token` makes one"
            );
        }
        if settings.tls.is_none() && reaches_out {
            tracing::warn!(
                code = "HS6052",
                "tokens reach {url} unencrypted: set --http-tls-cert and --http-tls-key, or put a proxy that speaks TLS in front of it"
            );
        }
    } else if reaches_out {
        tracing::warn!(
            code = "HS6053",
            "everybody who reaches {url} may use it without a token: set --http-token-file, or let only this machine in with \
             `--http-listen {port}`"
        );
    }
}

/// Serves the pages of a status.
pub fn serve(server: Server, status: Arc<dyn InstanceStatus>) -> anyhow::Result<RunningServer> {
    tracing::info!("HTTP: serving /live, /ready and /metrics at {}", server.url());
    server.start(status).map_err(|e| anyhow!("cannot start the thread that serves HTTP: {e} [HS0008]"))
}

/// Serves the pages of a status and APIs.
pub fn serve_apis(server: Server, status: Arc<dyn InstanceStatus>, apis: Vec<Api>) -> anyhow::Result<RunningServer> {
    let prefixes: Vec<&str> = apis.iter().map(|api| api.prefix).collect();
    tracing::info!("HTTP: serving {}, /live, /ready and /metrics at {}", prefixes.join(", "), server.url());
    server.start_with_apis(status, apis).map_err(|e| anyhow!("cannot start the thread that serves HTTP: {e} [HS0008]"))
}

/// `helixstream http`.
pub fn http(action: &HttpAction) -> Result<(), CommandError> {
    match action {
        HttpAction::Token(args) => token(args),
    }
}

fn token(args: &TokenArgs) -> Result<(), CommandError> {
    let right = |right: &TokenRight| match right {
        TokenRight::Read => Right::Read,
        TokenRight::Act => Right::Act,
    };
    let rights: Vec<Right> = args.rights.iter().map(right).collect();
    let (text, token) = Token::make(&args.name, &rights, args.users.as_deref()).map_err(CommandError::Usage)?;
    match &args.append {
        Some(file) => {
            append(file, &token)?;
            println!("{text}");
        }
        None => println!("{text}\n{}", token.line()),
    }
    Ok(())
}

/// Adds a line to a token file, which stays one that can be read.
fn append(file: &Path, token: &Token) -> Result<(), CommandError> {
    if file.exists() {
        let tokens = Tokens::read(file).map_err(|e| CommandError::Usage(e.to_string()))?;
        if tokens.has(&token.name) {
            let name = &token.name;
            return Err(CommandError::Usage(format!(
                "{} has a token with the name {name} already: remove its line, or choose another --name [HS6507]",
                file.display()
            )));
        }
    }
    let write = || -> std::io::Result<()> {
        let mut open = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        // The last line may lack its end.
        let mut last = [b'\n'];
        if open.metadata()?.len() > 0 {
            open.seek(SeekFrom::End(-1))?;
            open.read_exact(&mut last)?;
        }
        let before = if last == [b'\n'] { "" } else { "\n" };
        open.write_all(format!("{before}{}\n", token.line()).as_bytes())?;
        open.sync_all()
    };
    write().map_err(|e| anyhow!("cannot write the token file {}: {e} [HS6508]", file.display()))?;
    Ok(())
}
