//! What can go wrong while things are fetched.

use std::path::{Path, PathBuf};

use crate::cache::CacheError;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupted;
use crate::process::ProcessError;

/// A set-up that failed. What was complete before stays usable, and the next set-up goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no Python, or it is too old.
    #[error("{0}")]
    Python(String),
    /// Python cannot make virtual environments.
    #[error("{python} cannot make a virtual environment: {said}")]
    Venv {
        /// The interpreter.
        python: String,
        /// What it said.
        said: String,
    },
    /// pip failed.
    #[error("pip could not {doing}; it said:\n{said}")]
    Pip {
        /// What it was to do, as a verb.
        doing: String,
        /// The end of its standard error.
        said: String,
    },
    /// The model hub cannot be reached, or refuses.
    #[error("the hub does not give {repo}: {message}")]
    Hub {
        /// The repository.
        repo: String,
        /// What went wrong.
        message: String,
    },
    /// What pip installed does not run.
    #[error("{what} was installed and does not run:\n{said}")]
    Broken {
        /// Which tool.
        what: String,
        /// What it said.
        said: String,
    },
    /// A file is not the one that was pinned.
    #[error("{file} is not the pinned file: its sha256 is {found}, not {expected}; it is not used")]
    Hash {
        /// The file.
        file: String,
        /// The pinned hash.
        expected: String,
        /// The hash that it has.
        found: String,
    },
    /// No manifest has that name.
    #[error("there is no model {name:?}; known are {}", .known.join(", "))]
    UnknownModel {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A model is known and not in the cache.
    #[error("the model {name} is not in the cache ({})", .path.display())]
    ModelMissing {
        /// Its name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// A manifest cannot be used.
    #[error("the model manifest {origin} is not usable: {message}")]
    Manifest {
        /// Its file.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// Every source of a model failed.
    #[error("no source of the model {name} can be reached:{}", listed(.tried))]
    NoSource {
        /// The model.
        name: String,
        /// The sources with what went wrong.
        tried: Vec<String>,
    },
    /// A folder given with `--from` lacks something.
    #[error("{}: {message}", .dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What it lacks.
        message: String,
    },
    /// A wheel cannot be opened or lacks its member.
    #[error("{}: {message}", .wheel.display())]
    Wheel {
        /// The file.
        wheel: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file is no GGUF.
    #[error("{} is not a readable GGUF file: {message}", .path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        message: String,
    },
    /// The disk is too full.
    #[error("{} has {} MiB free, and {} MiB are needed", .path.display(), .free >> 20, .needed >> 20)]
    Space {
        /// The cache folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// A process could not be run.
    #[error(transparent)]
    Process(ProcessError),
    /// The cache cannot be read or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn listed(tried: &[String]) -> String {
    tried.iter().map(|said| format!("\n  {}", said.replace('\n', "\n    "))).collect()
}

impl SetupError {
    /// For `map_err` on file operations.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| CacheError::io(doing, path)(source).into()
    }
}

impl From<ProcessError> for SetupError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Interrupted => Self::Interrupted(Interrupted),
            other => Self::Process(other),
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Interrupted(_) | SetupError::Cache(CacheError::Interrupted(_)) => {
                Self::new(ExitStatus::Interrupted, "interrupted")
                    .hint("what is complete is kept; the same command goes on from there")
            }
            SetupError::Cache(error) => error.into(),
            error => {
                let (status, hint) = advice(&error);
                Self::new(status, error.to_string()).hint(hint)
            }
        }
    }
}

/// The status that an error ends with, and what to do next.
fn advice(error: &SetupError) -> (ExitStatus, String) {
    let (status, hint) = match error {
        SetupError::Python(_) => (ExitStatus::Tool, "install Python 3.9 or later, or name one with CAULK_PYTHON"),
        SetupError::Venv { .. } => {
            (ExitStatus::Tool, "install Python's venv module (Debian and Ubuntu: apt-get install python3-venv)")
        }
        SetupError::Pip { .. } => (
            ExitStatus::Tool,
            "check pip's settings (pip config list) and the network; without a network, see caulk setup --from",
        ),
        SetupError::Broken { .. } | SetupError::Process(_) => (ExitStatus::Tool, "caulk doctor shows what is usable"),
        SetupError::Wheel { .. } => (ExitStatus::Tool, "remove the file and run the command again"),
        SetupError::Hash { .. } => {
            (ExitStatus::Model, "fetch it again; if that gives the same, its source cannot be trusted")
        }
        SetupError::ModelMissing { name, .. } => return (ExitStatus::Model, format!("caulk model pull {name}")),
        SetupError::NoSource { .. } | SetupError::Hub { .. } => {
            (ExitStatus::Model, "check the network and pip's settings; without a network, see caulk setup --from")
        }
        SetupError::Gguf { .. } => (ExitStatus::Model, "name a complete GGUF file"),
        SetupError::UnknownModel { .. } => {
            (ExitStatus::Usage, "name a GGUF file by its path, or add one with caulk model import FILE")
        }
        SetupError::Manifest { .. } => (ExitStatus::Usage, "caulk's own manifests in models/ show the form"),
        SetupError::Folder { .. } => {
            (ExitStatus::Usage, "fill it on a connected machine with caulk setup --download-to DIR")
        }
        SetupError::Space { .. } | SetupError::Cache(_) | SetupError::Interrupted(_) => {
            (ExitStatus::Internal, "make room, or name another folder with --cache")
        }
    };
    (status, hint.to_owned())
}
