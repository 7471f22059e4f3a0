//! Exit codes, which other programs rely on.

/// All done, or stopped by SIGTERM or SIGINT after a clean commit.
pub const OK: u8 = 0;
/// Something failed.
pub const FAILURE: u8 = 1;
/// The command line or a setting is wrong: nothing was started.
pub const USAGE: u8 = 2;
/// `audit` has compared, and found differences.
pub const DIFFERS: u8 = 3;
/// `audit` has found nothing that can be compared.
pub const NOT_COMPARABLE: u8 = 4;
