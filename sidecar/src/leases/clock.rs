//! The clock by which a Lease is held: it never goes back, and goes on while the machine sleeps.
//!
//! The standard library's instants stand still on Linux while a machine is suspended, and a Lease does not.

use nix::time::{ClockId, clock_gettime};
use sidecar_core::lease::Moment;

/// Time since the machine was started, sleep included.
pub(super) fn now() -> Moment {
    // Linux has had this clock since 2.6.39, and the call has no other way to fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Moment::MAX, Moment::from)
}
