//! Exit statuses of the process, and [`Failure`]: an error that ends a command, with its status and a hint.
//!
//! In: the errors of all stages, turned into a `Failure` by `From` implementations that stand beside each error type.
//! Out: what `main.rs` prints and returns.

use std::fmt;

/// How the process ends. The numbers are part of caulk's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Nothing is left in scope.
    Clean = 0,
    /// The run was sound and findings remain.
    FindingsRemain = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// There is no readable input or report.
    Input = 3,
    /// A needed tool (scanner, terraform, pip) is missing or broken.
    Tool = 4,
    /// The model is missing, unreadable, or its hash is wrong.
    Model = 5,
    /// A bug in caulk, or the machine failed it (disk full, no permission).
    Internal = 70,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// An error that ends a command: what happened and where, what to do next, and the exit status.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit status.
    pub status: ExitStatus,
    /// What happened, and where.
    pub what: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(status: ExitStatus, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), hint: None }
    }

    /// The same failure with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
