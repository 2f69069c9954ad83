//! What the scanner says of its rules, kept on disk: one file of each kind for each version of the scanner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{House, Wish};
use crate::exit::{ExitStatus, Failure};
use crate::scanner::ScannerError;
use crate::scanner::checkov::CheckovWorker;
use crate::schema::Block;

/// Raised when what the worker says of a rule changes: older files are left alone and not read.
const FORMAT: u32 = 7;

/// Wishes that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WishesError {
    /// The scanner does not say.
    #[error(transparent)]
    Scanner(#[from] ScannerError),
    /// The cache cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<WishesError> for Failure {
    fn from(error: WishesError) -> Self {
        match error {
            WishesError::Scanner(error) => error.into(),
            WishesError::Write { .. } => Failure::new(ExitStatus::Internal, error.to_string())
                .hint("free space there, or name another cache folder"),
        }
    }
}

/// The wishes of all rules of a version of Checkov, by rule id. The worker is asked once, and the file is written whole; one
/// that is not there or cannot be read is written anew.
///
/// # Errors
/// When the worker fails or the file cannot be written.
pub fn wishes(dir: &Path, version: &str, worker: &mut CheckovWorker) -> Result<BTreeMap<String, Wish>, WishesError> {
    wishes_with(dir, version, || Ok(worker.wishes(&[])?))
}

fn wishes_with(
    dir: &Path,
    version: &str,
    ask: impl FnOnce() -> Result<Vec<Wish>, WishesError>,
) -> Result<BTreeMap<String, Wish>, WishesError> {
    let by_rule = |wishes: Vec<Wish>| wishes.into_iter().map(|wish| (wish.rule.clone(), wish)).collect();
    kept(&dir.join(format!("checkov-{version}-{FORMAT}.json")), || Ok(by_rule(ask()?)))
}

/// What all rules of a version of Checkov want of new blocks. The rules are run once on blocks of these types, which `named`
/// stands for: what else the result depends on is part of it. Rules that cannot be run tell in conditions only.
///
/// # Errors
/// When the worker is not there or the file cannot be written.
pub fn house(
    dir: &Path,
    (version, named): (&str, &str),
    wishes: &BTreeMap<String, Wish>,
    types: impl FnOnce() -> BTreeMap<String, Block>,
    worker: &mut CheckovWorker,
) -> Result<House, WishesError> {
    let told = House::of(wishes.values());
    let path = dir.join(format!("checkov-{version}-house-{FORMAT}-{named}.json"));
    let found = kept(&path, || Ok(told.clone().with_found(worker.house(&types())?)));
    match found {
        Err(WishesError::Scanner(
            ScannerError::Failed { .. } | ScannerError::Answer { .. } | ScannerError::Process(_),
        )) => Ok(told),
        found => found,
    }
}

fn kept<T: Serialize + DeserializeOwned>(
    path: &Path,
    ask: impl FnOnce() -> Result<T, WishesError>,
) -> Result<T, WishesError> {
    if let Some(known) = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(known);
    }
    let fresh = ask()?;
    let write = || {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        crate::cache::write_whole(path, &serde_json::to_vec(&fresh)?)
    };
    write().map_err(|source: std::io::Error| WishesError::Write { path: path.to_owned(), source })?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(rule: &str) -> Result<Vec<Wish>, WishesError> {
        Ok(vec![Wish { rule: rule.to_owned(), title: format!("title of {rule}"), ..Wish::default() }])
    }

    #[test]
    fn the_worker_is_asked_once_for_each_version() {
        let dir = tempfile::tempdir().unwrap();
        let first = wishes_with(dir.path(), "1.0", || asked("A")).unwrap();
        assert_eq!(first["A"].title, "title of A");
        assert_eq!(wishes_with(dir.path(), "1.0", || panic!("it is known")).unwrap(), first);
        assert!(wishes_with(dir.path(), "1.1", || asked("B")).unwrap().contains_key("B"));
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(format!("checkov-1.0-{FORMAT}.json")), "{\"A\": {\"ru").unwrap();
        wishes_with(dir.path(), "1.0", || asked("A")).unwrap();
        wishes_with(dir.path(), "1.0", || panic!("it is whole again")).unwrap();
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = wishes_with(&dir.path().join("file"), "1.0", || asked("A")).unwrap_err();
        assert!(error.to_string().contains("file/checkov-1.0"), "{error}");
    }
}
