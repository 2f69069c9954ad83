//! Wishes kept on disk, one file for each version of the scanner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Wish;
use crate::exit::{ExitStatus, Failure};
use crate::scanner::ScannerError;
use crate::scanner::checkov::CheckovWorker;

/// Raised when what the worker says of a rule changes: older files are left alone and not read.
const FORMAT: u32 = 1;

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

/// The wishes of one version of Checkov.
#[derive(Debug)]
pub struct Wishes {
    path: PathBuf,
    known: BTreeMap<String, Wish>,
}

impl Wishes {
    /// Reads what is known of that version from a folder. A file that is not there or cannot be read is as good as
    /// empty: it will be written anew.
    pub fn open(dir: &Path, version: &str) -> Self {
        let path = dir.join(format!("checkov-{version}-{FORMAT}.json"));
        let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, known }
    }

    /// The wishes of these rules, in their order. The worker is asked for those that are not known, and the file is
    /// replaced as a whole. Rules that Checkov does not have are left out.
    ///
    /// # Errors
    /// When the worker fails or the file cannot be written.
    pub fn get<S: AsRef<str>>(&mut self, worker: &mut CheckovWorker, rules: &[S]) -> Result<Vec<Wish>, WishesError> {
        self.get_with(rules, |unknown| Ok(worker.wishes(unknown)?))
    }

    fn get_with<S: AsRef<str>>(
        &mut self,
        rules: &[S],
        ask: impl FnOnce(&[&str]) -> Result<Vec<Wish>, WishesError>,
    ) -> Result<Vec<Wish>, WishesError> {
        let mut unknown: Vec<&str> =
            rules.iter().map(AsRef::as_ref).filter(|rule| !self.known.contains_key(*rule)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let new = ask(&unknown)?;
            if !new.is_empty() {
                self.known.extend(new.into_iter().map(|wish| (wish.rule.clone(), wish)));
                self.write().map_err(|source| WishesError::Write { path: self.path.clone(), source })?;
            }
        }
        Ok(rules.iter().filter_map(|rule| self.known.get(rule.as_ref()).cloned()).collect())
    }

    /// The wish of one rule, if it is known by now.
    pub fn known(&self, rule: &str) -> Option<&Wish> {
        self.known.get(rule)
    }

    fn write(&self) -> std::io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        crate::cache::write_whole(&self.path, &serde_json::to_vec(&self.known)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(rule: &str) -> Wish {
        Wish { rule: rule.to_owned(), title: format!("title of {rule}"), ..Wish::default() }
    }

    #[test]
    fn only_unknown_rules_are_asked_for_and_the_answer_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut wishes = Wishes::open(dir.path(), "1.0");
        let got = wishes.get_with(&["B", "A", "B", "NONE"], |unknown| {
            assert_eq!(unknown, ["A", "B", "NONE"]);
            Ok(vec![wish("A"), wish("B")])
        });
        assert_eq!(got.unwrap(), [wish("B"), wish("A"), wish("B")]);

        let mut again = Wishes::open(dir.path(), "1.0");
        assert_eq!(again.known("A"), Some(&wish("A")));
        again
            .get_with(&["A", "C"], |unknown| {
                assert_eq!(unknown, ["C"]);
                Ok(vec![wish("C")])
            })
            .unwrap();
        assert!(Wishes::open(dir.path(), "1.0").known("C").is_some());
        assert!(Wishes::open(dir.path(), "1.1").known("A").is_none());
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = Wishes::open(dir.path(), "1.0").path;
        std::fs::write(&path, "{\"A\": {\"ru").unwrap();
        let mut wishes = Wishes::open(dir.path(), "1.0");
        wishes.get_with(&["A"], |_| Ok(vec![wish("A")])).unwrap();
        assert!(Wishes::open(dir.path(), "1.0").known("A").is_some());
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let mut wishes = Wishes::open(&dir.path().join("file"), "1.0");
        let error = wishes.get_with(&["A"], |_| Ok(vec![wish("A")])).unwrap_err();
        assert!(error.to_string().contains("file/checkov-1.0"), "{error}");
    }
}
