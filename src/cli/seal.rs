//! The options about the seal, and closing it.

use std::path::Path;

use crate::exit::{ExitStatus, Failure};
use crate::seal::{self, Closed, Seal, SealError};

/// Options about the seal.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Leave sockets and files open to caulk and to what it starts (scanners, terraform), as far as they are to you
    #[arg(long, conflicts_with = "require_seal")]
    pub no_seal: bool,
    /// End with an error where the system cannot seal the run
    #[arg(long)]
    pub require_seal: bool,
}

impl Options {
    /// As the user asks for, of a run that may have terraform plan: what plans has the user's own rights.
    ///
    /// # Errors
    /// When the seal has to hold.
    pub fn of_run(self, plans: bool) -> Result<Self, Failure> {
        if plans && self.require_seal {
            return Err(Failure::new(ExitStatus::Usage, "--plan may call your cloud: it cannot be sealed")
                .hint("leave out --plan, or --require-seal"));
        }
        if plans {
            seal::leave_open("--plan may call your cloud");
        }
        Ok(Self { no_seal: self.no_seal || plans, ..self })
    }

    /// Closes the seal but for writes below the folders of `writable`, which are there, unless the user does not want it. It holds until the process ends; its
    /// scratch folder until what is given is dropped.
    ///
    /// # Errors
    /// When it has to hold and does not, or there is no room for a scratch folder.
    pub fn close(self, writable: &[&Path]) -> Result<Option<Closed>, Failure> {
        if self.no_seal {
            seal::leave_open("--no-seal");
            return Ok(None);
        }
        let closed = seal::close(writable).map_err(|error| match error {
            SealError::Scratch { .. } => Failure::new(ExitStatus::Usage, error.to_string())
                .hint("TMPDIR names a folder that is there, can be written to, and has room"),
            SealError::Twice => Failure::new(ExitStatus::Internal, error.to_string()),
        })?;
        match why_open(&closed.seal).filter(|_| self.require_seal) {
            None => Ok(Some(closed)),
            Some(why) => Err(Failure::new(ExitStatus::Tool, format!("the run cannot be sealed: {why}"))
                .hint("`caulk doctor` tries the seal; without --require-seal the manifest says what is open")),
        }
    }
}

/// What does not hold, and why.
fn why_open(seal: &Seal) -> Option<String> {
    let sides = [("network", &seal.network), ("writes", &seal.writes)];
    let open = sides.iter().find(|(_, side)| !side.sealed);
    open.map(|(name, side)| format!("{name}: {}", side.how))
}
