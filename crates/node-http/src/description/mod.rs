//! The description of a route as data, from which the OpenAPI document is generated and by which
//! the handler itself reads the request. So a limit, a name or a code stands in one place, and a
//! description costs nothing before somebody asks for the document.
//!
//! | module | what it is |
//! |---|---|
//! | `shape` | kinds of JSON values |
//! | `operation` | a method of a route: its parameters, body, answers |
//! | `error_kind` | a kind of error of the routes |

mod error_kind;
mod operation;
mod shape;

pub(crate) use error_kind::ErrorKind;
pub(crate) use operation::{AnswerDescription, AnswerHeader, Operation, Parameter, ParameterPlace, RequestBody, Tag};
pub(crate) use shape::{Component, Member, Shape, optional, required};
