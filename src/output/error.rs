//! What can go wrong on the way out.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::edit::EditError;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupted;

/// A bundle that cannot be written or read, or a tree that cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// `read`, `write`, `replace`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The place where the bundle should go is taken.
    #[error("{} is not replaced: {why}", .path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
        /// By what.
        why: String,
    },
    /// There is no bundle.
    #[error("{} is no caulk bundle: {why}", .path.display())]
    NoBundle {
        /// The place.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The bundle is not as it was written.
    #[error("the bundle {} is not as caulk wrote it: {}", .path.display(), .problems.join("; "))]
    Damaged {
        /// The bundle.
        path: PathBuf,
        /// What differs, one sentence each.
        problems: Vec<String>,
    },
    /// The folder that the changes are for is not there.
    #[error("there is no folder {}", .0.display())]
    NoRoot(PathBuf),
    /// Files are not as they were scanned.
    #[error("nothing was written: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Changed(Vec<EditError>),
    /// A path leads out of the root.
    #[error("nothing was written: {0} is a link out of the root")]
    Outside(String),
    /// Files were replaced before one could not be, and could not be put back.
    #[error("{source}; these files hold the fix already and could not be put back: {}", .files.join(", "))]
    Half {
        /// The files.
        files: Vec<String>,
        /// What stopped it.
        source: Box<OutputError>,
    },
    /// No bundle can be written there.
    #[error("cannot write a bundle to {dir}: {source}")]
    Unwritable {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no fix of that number.
    #[error("there is no fix {number}; the bundle has {count}")]
    NoFix {
        /// The number asked for.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// Two fixes change the same place.
    #[error("fixes {first} and {second} change the same place of {file} and cannot be taken without the others")]
    Conflict {
        /// The one.
        first: usize,
        /// The other.
        second: usize,
        /// Where.
        file: String,
    },
    /// A diff could not be made or read.
    #[error("libgit2: {0}")]
    Git(#[from] git2::Error),
    /// A structure could not be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl OutputError {
    /// For `map_err` on operations of the file system.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

impl From<EditError> for OutputError {
    fn from(error: EditError) -> Self {
        Self::Changed(vec![error])
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        let what = error.to_string();
        let (status, hint) = match &error {
            OutputError::Io { source, .. } => (ExitStatus::Internal, Some(io_hint(source.kind()))),
            OutputError::Unwritable { .. } => {
                (ExitStatus::Usage, Some("name a folder that can be written to with --out"))
            }
            OutputError::Occupied { .. } => {
                (ExitStatus::Usage, Some("name another folder with --out, or move this one away"))
            }
            OutputError::NoBundle { .. } => {
                (ExitStatus::Input, Some("`caulk fix` writes one, by default to caulk-out/"))
            }
            OutputError::Damaged { .. } => (ExitStatus::Input, Some("write it anew with `caulk fix`")),
            OutputError::NoRoot(_) => (ExitStatus::Input, Some("name the folder that was scanned with --root")),
            OutputError::Changed(_) => (
                ExitStatus::Input,
                Some(
                    "fixes of a bundle are applied in one call (`--fix 2 --fix 5`); for the files as they are now, run \
                     `caulk fix` again, or name the folder that was scanned with --root",
                ),
            ),
            OutputError::Outside(_) => {
                (ExitStatus::Input, Some("replace the link by the file, or scan the folder that it leads to"))
            }
            OutputError::Half { .. } => (ExitStatus::Internal, Some("restore these files from version control")),
            OutputError::NoFix { .. } => (ExitStatus::Usage, Some("`caulk bundle show` lists the fixes")),
            OutputError::Conflict { .. } => (ExitStatus::Usage, Some("take one of them, or all fixes of the bundle")),
            OutputError::Git(_) | OutputError::Json(_) => (ExitStatus::Internal, None),
            OutputError::Interrupted(interrupted) => return (*interrupted).into(),
        };
        let failure = Failure::new(status, what);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn io_hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full: make room, then run it again",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "no permission to write there: name another folder, or change its permissions"
        }
        ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => "the folder is a mount point: name a folder inside it",
        _ => "look at the folder and its file system, then run it again",
    }
}
