//! The exit statuses of every command, in one place (the contract's table).

/// What was asked for is done.
pub const DONE: u8 = 0;
/// Something asked for failed.
pub const FAILED: u8 = 1;
/// Wrong usage, or the configuration does not resolve.
pub const USAGE: u8 = 2;
/// `status`: a target is not running or not healthy.
pub const NOT_HEALTHY: u8 = 3;
/// No service or group of that name.
pub const NO_SUCH_TARGET: u8 = 4;
/// Ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;
