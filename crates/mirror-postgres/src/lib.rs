//! The mirror's sink in Postgres: [`PostgresSink`] keeps rows and checkpoints (tables:
//! migrations/). The mirror itself is the crate `mirror`, and this one implements its port
//! [`mirror::ports::LogSink`].
//!
//! | module | what it is |
//! |---|---|
//! | `sink` | rows and checkpoints in one transaction, under compare-and-set |
//! | `rows` | the rows of a batch on their way into its transaction; what Postgres refuses |
//! | `reread` | rows of events whose schema was unknown, read again |
//! | `startup_row` | the row that names the writer and its settings |
//! | `batch`, `copy`, `numeric` | rows in the form of a binary `COPY` |
//! | `connect` | connections as libpq makes them: URLs, passwords, TLS, several hosts |
//! | `session` | the connection of a writer |
//! | `transaction` | transactions that depend on nothing in their session |
//! | `migrate` | the migrations |
//! | `tables` | reads of the tables, for comparisons and monitoring |
//! | `fault` | errors of Postgres by their remedy |

mod batch;
mod connect;
mod copy;
mod fault;

mod identifier;
mod migrate;
mod migrations;
mod numeric;
mod reread;
mod rows;
mod session;
mod sink;
mod startup_row;
mod tables;
mod transaction;

pub use connect::{UrlError, url_holds_password};
pub use reread::{Reread, RereadError, Rereader};
pub use session::{Database, DatabaseError, Migrated};
pub use sink::PostgresSink;
pub use tables::{MirrorTables, Progress, Unclaimed};
