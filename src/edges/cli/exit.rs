//! Exit codes, which other programs rely on.

/// All done, or stopped by SIGTERM or SIGINT after a clean commit.
pub const OK: u8 = 0;
/// Something failed.
pub const FAILURE: u8 = 1;
/// The command line or a setting is wrong: nothing was started.
pub const USAGE: u8 = 2;
