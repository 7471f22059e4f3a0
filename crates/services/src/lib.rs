//! The services around helixstream: those of `docker-compose.yml`. What each is called and where it
//! is expected, whether it is healthy, and which of them `helixstream services up` starts and
//! `down` stops. docs/services.md describes it for users.
//!
//! | module | what it is |
//! |---|---|
//! | [`catalog`] | every service of the compose file, with HelixAgent's names and defaults |
//! | [`settings`] | where each service is and how it is checked, from flags, variables, a file and the defaults |
//! | [`duration`] | durations as Go writes them |
//! | [`selection`] | the services that a command is about, in the order of their dependencies |
//! | [`boot`] | checks and starts services in parallel, over the ports [`boot::Probe`] and [`boot::Containers`] |
//! | [`board`] | the state of each service while a command works, and the report at its end |
//! | [`probes`] | health checks over TCP and HTTP |
//! | `lookup` | the addresses of a host's name, within the limit of a check |
//! | [`compose`] | containers by `docker compose` |
//! | [`started`] | the file of the containers that `up` has started |
//! | `docker` | calls of the program `docker` |
//! | `quote` | texts of settings in messages, without secrets |

pub mod board;
pub mod boot;
pub mod catalog;
pub mod compose;
mod docker;
pub mod duration;
mod lookup;
pub mod probes;
mod quote;
pub mod selection;
pub mod settings;
pub mod started;
