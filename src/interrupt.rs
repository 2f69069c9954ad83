//! Ctrl-C and SIGTERM as a flag that long work asks between its steps.
//!
//! The handler only sets the flag: the work itself stops its children, drops its scratch folders and returns
//! [`Interrupted`], so nothing half-written is left behind.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{ExitStatus, Failure};

static FLAG: AtomicBool = AtomicBool::new(false);

/// The work was stopped by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl From<Interrupted> for Failure {
    fn from(_: Interrupted) -> Self {
        Failure::new(ExitStatus::Interrupted, "interrupted")
    }
}

/// Installs the handler. A second Ctrl-C ends the process at once.
///
/// # Errors
/// When the handler cannot be installed.
pub fn install() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if FLAG.swap(true, Ordering::SeqCst) {
            std::process::exit(ExitStatus::Interrupted as i32);
        }
    })
    .map_err(|e| Failure::new(ExitStatus::Internal, format!("cannot install the signal handler: {e}")))
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    FLAG.load(Ordering::Relaxed)
}

/// `Err` when the user asked to stop: for `?` between the steps of long work.
///
/// # Errors
/// [`Interrupted`].
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}
