//! Checkov in a virtual environment of its own.
//!
//! Environments cannot be moved, so that it is made in place; the stamp that is written last says that it is complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::python::{pip, tail};
use super::{Fetcher, Origin, SetupError, pins};
use crate::cache::Cache;
use crate::digest::hex;
use crate::process::{self, Cmd};
use crate::progress::Unit;

/// The first import also compiles Checkov's modules.
const IMPORT_LIMIT: Duration = Duration::from_secs(300);
const IMPORT: &str = "import checkov.terraform.runner, checkov.version; print(checkov.version.version)";

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    checkov: String,
    lock_sha256: String,
}

impl Stamp {
    fn wanted() -> Self {
        let lock_sha256 = hex(&Sha256::digest(pins::CHECKOV_LOCK));
        Self { checkov: pins::CHECKOV_VERSION.to_owned(), lock_sha256 }
    }
}

fn dir(cache: &Cache) -> PathBuf {
    cache.tool_dir("checkov", pins::CHECKOV_VERSION)
}

fn stamp_path(dir: &Path) -> PathBuf {
    dir.join("caulk-stamp.json")
}

/// The Python that has the pinned Checkov, if its set-up was completed.
pub fn checkov_python(cache: &Cache) -> Option<PathBuf> {
    let dir = dir(cache);
    let stamp: Stamp = serde_json::from_slice(&fs::read(stamp_path(&dir)).ok()?).ok()?;
    let python = venv_python(&dir);
    // The interpreter is a link, which dangles when the Python that it was made from is gone.
    (stamp == Stamp::wanted() && python.is_file()).then_some(python)
}

/// The interpreter of a virtual environment.
pub(super) fn venv_python(dir: &Path) -> PathBuf {
    dir.join("bin").join("python")
}

/// Imports Checkov and returns the version that it says.
///
/// # Errors
/// [`SetupError::Broken`] when it cannot be imported.
pub fn checkov_version(python: &Path) -> Result<String, SetupError> {
    let output = process::run(&Cmd::new(python, IMPORT_LIMIT).args(["-I", "-c", IMPORT]))?;
    if !output.success() {
        return Err(SetupError::Broken { what: "checkov".to_owned(), said: tail(&output) });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Fetcher<'_> {
    /// Brings Checkov, if it is not there.
    pub(super) fn checkov(&self) -> Result<(), SetupError> {
        let name = format!("checkov {}", pins::CHECKOV_VERSION);
        if checkov_python(self.cache).is_some() {
            self.progress.line(&format!("{name}: there"));
            return Ok(());
        }
        let dir = dir(self.cache);
        let parent = self.cache.root().join("tools");
        fs::create_dir_all(&parent).map_err(SetupError::io("create", &parent))?;
        let task = self.progress.task(&name, pins::checkov_packages(), Unit::Items);
        task.message("making a virtual environment");
        self.python()?.make_venv(&dir)?;
        let lock = self.requirements(pins::CHECKOV_LOCK)?;
        // Compiling all modules takes longer than all the rest; the import below compiles those that are used.
        let args = ["install".as_ref(), "--no-compile".as_ref(), "-r".as_ref(), lock.path().as_os_str()];
        let python = venv_python(&dir);
        pip(&python, &self.origin, &args, &format!("install {name}"), |line| {
            if let Some(package) = package(line) {
                task.inc(1);
                task.message(package);
            } else if line.starts_with("Installing collected packages") {
                task.message("installing");
            }
        })?;
        task.message("trying it");
        let version = checkov_version(&python)?;
        if version != pins::CHECKOV_VERSION {
            let said = format!("it says that it is version {version}");
            return Err(SetupError::Broken { what: name, said });
        }
        let stamp = stamp_path(&dir);
        let text = serde_json::to_vec(&Stamp::wanted()).unwrap_or_default();
        fs::write(&stamp, text).map_err(SetupError::io("write", &stamp))?;
        drop(task);
        self.progress.line(&format!("{name}: installed"));
        Ok(())
    }

    /// Downloads Checkov's wheels for this platform and Python into a folder.
    pub(super) fn download_checkov(&self, dir: &Path) -> Result<(), SetupError> {
        let name = format!("checkov {}", pins::CHECKOV_VERSION);
        let lock = self.requirements(pins::CHECKOV_LOCK)?;
        let task = self.progress.task(&name, pins::checkov_packages(), Unit::Items);
        let args = ["download".as_ref(), "-r".as_ref(), lock.path().as_os_str(), "-d".as_ref(), dir.as_os_str()];
        pip(&self.pip_python()?, &Origin::Index, &args, &format!("download {name}"), |line| {
            if let Some(package) = package(line) {
                task.inc(1);
                task.message(package);
            }
        })?;
        drop(task);
        self.progress.line(&format!("{name}: downloaded"));
        Ok(())
    }
}

/// The package that a line of pip's output begins with, if it does.
fn package(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("Collecting ").or_else(|| line.strip_prefix("Processing "))?;
    rest.split([' ', '=']).next()
}
