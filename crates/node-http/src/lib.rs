//! The HTTP/JSON interface of a node: axum routes over [`node::Node`], which `crates/http` serves
//! beside the status pages. docs/node.md describes it for users, and an OpenAPI document for
//! programs, which is generated from the routes and of which `schemas/node-api.openapi.json` is a
//! copy.
//!
//! | module | what it is |
//! |---|---|
//! | [`routes`] | the table of routes |
//! | `route` | a route: its path, its handlers, the description of each |
//! | `description` | descriptions of routes, as data |
//! | `answer_shapes`, `field_shapes`, `node_shapes` | the shapes of answers and of bodies |
//! | `document` | the OpenAPI document of all routes |
//! | `service` | the parts that all handlers share |
//! | `request` | the parts of a request besides its body: its client, session, keys, query parameters |
//! | `body` | bodies, within a limit for each and one for all |
//! | `memories`, `memory_operations`, `parts`, `history`, `listing`, `searching`, `node_pages`, `sync`, `user_snapshots` | the handlers |
//! | `events` | the stream of events |
//! | `fair_places` | places that tenants share, such as those of open streams |
//! | `mem0` | Mem0's API: HelixAgent's memory client and Mem0's own clients |
//! | [`extractor`] | a language model elsewhere that finds facts in the conversations of Mem0's API |
//! | `publishing` | the wait for the broker that `?ack=kafka` asks for |
//! | `answers` | memories, events and the status as JSON |
//! | `error_kinds` | every kind of error, with its code |
//! | `problems` | errors as problem documents |
//!
//! A route never asks the node for more than its client may see. A token that is bound to users
//! reads only their memories, and a memory of anyone else is as unknown to it as one that does not
//! exist.

mod answer_shapes;
mod answers;
mod body;
mod description;
mod document;
mod error_kinds;
mod events;
pub mod extractor;
mod fair_places;
mod field_shapes;
mod history;
mod listing;
mod mem0;
mod memories;
mod memory_operations;
mod node_pages;
mod node_shapes;
mod nodes;
mod parts;
mod problems;
mod publishing;
mod request;
mod route;
pub mod routes;
mod searching;
mod service;
mod sync;
mod user_snapshots;

pub use nodes::node_document;
pub use routes::{CAPABILITIES, apis, openapi};
