//! The built binary, for the integration tests of the root package: `mod support;` at the top of a
//! test file. Servers, record files and waiting are in the member `testkit`.

// Each test binary uses its own part of this module.
#![allow(dead_code, unused_imports)]

mod helix;

pub use helix::{Finished, Helix};
