//! The HTTP edge: one server for every command that serves HTTP. It listens on a port, speaks TLS
//! where that is set, requires tokens, limits its clients, and shows an [`InstanceStatus`]. It does
//! not know the engine. docs/http.md describes it for users.
//!
//! | module | what it is |
//! |---|---|
//! | [`listen`] | the listen address, as users write it |
//! | [`server`] | connections, TLS, the thread |
//! | `connections` | the table of connections, with their limits |
//! | `streamed` | answers whose end nobody knows when they begin |
//! | `access` | access control: bearer tokens, sessions, forms |
//! | `identity` | the client of a request, for the routes of an API |
//! | `problem` | errors as problem documents |
//! | `hosts` | which host names requests may name |
//! | [`tokens`] | the token file |
//! | `sessions`, `login` | browsers that have logged in |
//! | `tls`, `watched` | certificate and key; files that are read again when they change |
//! | `status`, `metrics` | the pages |

mod access;
mod connections;
mod hosts;
mod html;
mod identity;
pub mod listen;
mod login;
mod metrics;
mod problem;
mod random;
pub mod server;
mod sessions;
mod status;
mod streamed;
mod throttle;
mod tls;
pub mod tokens;
mod watched;

pub use access::{LARGE_FORM, MISSING_RIGHT, NO_VALID_TOKEN, OTHER_SITE, require_read};
pub use connections::Limits;
pub use hosts::UNKNOWN_HOST;
pub use identity::Identity;
pub use metrics::{Family, MetricKind, Sample, Value};
pub use problem::{PROBLEM_TYPE, Problem, ProblemKind, TYPE_PREFIX};
pub use server::Api;
pub use status::InstanceStatus;
pub use tls::{TlsError, TlsFiles};
