//! Reads a bundle.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::digest::sha256_hex;
use crate::edit::Changeset;
use crate::output::OutputError;
use crate::output::manifest::{self, v1};

use super::{CHANGES, MANIFEST};

/// A bundle on disk.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its folder.
    pub dir: PathBuf,
    /// What its manifest says.
    pub manifest: v1::Manifest,
}

impl Bundle {
    /// Opens the bundle in a folder.
    ///
    /// # Errors
    /// When there is no manifest, or none that this caulk understands.
    pub fn open(dir: &Path) -> Result<Self, OutputError> {
        let no_bundle = |why: String| OutputError::NoBundle { path: dir.to_owned(), why };
        let path = dir.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(no_bundle(format!("there is no {MANIFEST}")));
            }
            Err(error) => return Err(OutputError::io("read", &path)(error)),
        };
        let json: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| no_bundle(format!("{MANIFEST}: {error}")))?;
        // A newer version may have other fields: say that and not which field is missing.
        match json["version"].as_u64() {
            Some(version) if version == u64::from(v1::VERSION) => {}
            Some(version) => return Err(no_bundle(format!("its version {version} is not known to this caulk"))),
            None => return Err(no_bundle(format!("{MANIFEST} names no version"))),
        }
        let manifest = serde_json::from_value(json).map_err(|error| no_bundle(format!("{MANIFEST}: {error}")))?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// The bytes of one of its files, checked against the manifest's hash.
    ///
    /// # Errors
    /// When it is not there or not as it was written.
    pub fn file(&self, name: &str) -> Result<Vec<u8>, OutputError> {
        let damaged = |problem: String| OutputError::Damaged { path: self.dir.clone(), problems: vec![problem] };
        let listed = self.manifest.files.iter().find(|file| file.path == name);
        let listed = listed.ok_or_else(|| damaged(format!("{MANIFEST} does not list {name}")))?;
        let bytes = match fs::read(self.dir.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged(format!("{name} is missing"))),
            Err(error) => return Err(OutputError::io("read", &self.dir.join(name))(error)),
        };
        if sha256_hex(&bytes) == listed.sha256 { Ok(bytes) } else { Err(damaged(format!("{name} was changed"))) }
    }

    /// The changesets of its fixes, in the order of their numbers, and that of all together.
    ///
    /// # Errors
    /// When `changes.json` is not as it was written.
    pub fn changes(&self) -> Result<(Vec<Changeset>, Changeset), OutputError> {
        let damaged = |problem: String| OutputError::Damaged { path: self.dir.clone(), problems: vec![problem] };
        let bytes = self.file(CHANGES)?;
        let changes: v1::Changes =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("{CHANGES}: {error}")))?;
        let outside = || damaged(format!("{CHANGES} names a file outside the root"));
        let fixes: Option<Vec<_>> = changes.fixes.iter().map(|edits| manifest::changeset(edits)).collect();
        let fixes = fixes.ok_or_else(outside)?;
        if fixes.len() != self.manifest.run.fixes.len() {
            return Err(damaged(format!("{CHANGES} has another number of fixes than {MANIFEST}")));
        }
        Ok((fixes, manifest::changeset(&changes.all).ok_or_else(outside)?))
    }

    /// Paths in the folder that the manifest does not list.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn strangers(&self) -> Result<Vec<String>, OutputError> {
        let mut known: BTreeSet<&str> = self.manifest.files.iter().map(|file| file.path.as_str()).collect();
        known.insert(MANIFEST);
        let mut strangers = Vec::new();
        for entry in WalkDir::new(&self.dir).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| OutputError::io("read", &self.dir)(error.into()))?;
            let path = entry.path().strip_prefix(&self.dir).unwrap_or(entry.path()).to_string_lossy().into_owned();
            if !entry.file_type().is_dir() && !known.contains(path.as_str()) {
                strangers.push(path);
            }
        }
        Ok(strangers)
    }

    /// The folder that the bundle's paths are relative to, if the bundle says where it is: relative to its own place, as it
    /// was written. Anything else is not followed.
    pub fn root(&self) -> Option<PathBuf> {
        let path = self.manifest.root_from_bundle.as_ref().filter(|path| Path::new(path).is_relative())?;
        Some(self.dir.canonicalize().ok()?.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{bundle, sample};

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let report = sample::report();
        bundle::write(&report, dir.path()).unwrap();
        let bundle = Bundle::open(dir.path()).unwrap();
        let (fixes, all) = bundle.changes().unwrap();
        assert_eq!(fixes, report.fixes.iter().map(|fix| fix.changeset().clone()).collect::<Vec<_>>());
        assert_eq!(all, report.all);
        assert_eq!(bundle.strangers().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_bundle_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let why = |manifest: Option<&str>| {
            if let Some(text) = manifest {
                fs::write(dir.path().join(MANIFEST), text).unwrap();
            }
            match Bundle::open(dir.path()) {
                Err(OutputError::NoBundle { why, .. }) => why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(why(None), "there is no manifest.json");
        assert!(why(Some("{")).contains("EOF"));
        assert_eq!(why(Some("{}")), "manifest.json names no version");
        assert_eq!(why(Some("{\"version\": 9}")), "its version 9 is not known to this caulk");
        assert!(why(Some("{\"version\": 1}")).contains("missing field"));
    }
}
