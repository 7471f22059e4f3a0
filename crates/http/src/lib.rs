//! The HTTP edge: one server for every command that serves HTTP. It takes a port, speaks TLS where it is asked to, asks for tokens, limits
//! what clients may take, and shows what a [`InstanceStatus`] says. It knows no engine. docs/http.md tells what a user sees of it.
//!
//! | module | what it is |
//! |---|---|
//! | [`listen`] | the address, as people write it |
//! | [`server`] | connections, TLS, the thread |
//! | `connections` | the table of connections, with their limits |
//! | `access` | who may ask for what: bearer tokens, sessions, forms |
//! | `hosts` | which host names requests may name |
//! | [`tokens`] | the token file |
//! | `sessions`, `login` | browsers that have logged in |
//! | `tls`, `watched` | certificate and key; files that are read again when they change |
//! | `status`, `metrics` | the pages |

mod access;
mod connections;
mod hosts;
mod html;
pub mod listen;
mod login;
mod metrics;
mod random;
pub mod server;
mod sessions;
mod status;
mod throttle;
mod tls;
pub mod tokens;
mod watched;

pub use connections::Limits;
pub use metrics::{Family, MetricKind, Sample, Value};
pub use status::InstanceStatus;
pub use tls::{TlsError, TlsFiles};
