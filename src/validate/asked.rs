//! What terraform says of a module as it was, asked by a thread of its own while other things are done.
//!
//! In: a module's copy, which must not change meanwhile. Out: the [`Baseline`], as soon as somebody needs it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;

use crate::interrupt::Interrupted;
use crate::process::ProcessError;
use crate::schema::Schemas;
use crate::source::{RelPath, SourceTree};

use super::module::{Baseline, Module, baseline};
use super::terraform::Terraform;

/// A question to terraform, and its answer once it is there.
#[derive(Debug)]
pub(super) struct Asked(LazyLock<Result<Baseline, Interrupted>, Answer>);

/// Waits for that thread.
type Answer = Box<dyn FnOnce() -> Result<Baseline, Interrupted> + Send>;

impl Asked {
    /// Asks of a copy in that folder, which must not change until the answer is there.
    pub(super) fn of(
        terraform: Option<Terraform>,
        dir: PathBuf,
        tree: SourceTree,
        folders: BTreeSet<RelPath>,
        schemas: Schemas,
    ) -> Self {
        let ask = move || {
            let module = Module { dir: &dir, tree: &tree, folders: &folders, schemas: &schemas };
            // All else that goes wrong is in the answer.
            baseline(terraform.as_ref(), module).map_err(|_| Interrupted)
        };
        let thread = thread::spawn(ask);
        Self(LazyLock::new(Box::new(|| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))))
    }

    /// The answer, once it is there.
    ///
    /// # Errors
    /// When the user interrupts.
    pub(super) fn said(&self) -> Result<&Baseline, ProcessError> {
        self.0.as_ref().map_err(|_| ProcessError::Interrupted)
    }
}

impl Drop for Asked {
    /// No process outlives the copy that it is about.
    fn drop(&mut self) {
        if !thread::panicking() {
            LazyLock::force(&self.0);
        }
    }
}
