//! The folder that carries files to a machine without a network, and its list `caulk-files.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Fetcher, SetupError};
use crate::progress::Unit;

const LIST: &str = "caulk-files.toml";

/// What `caulk-files.toml` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// The Python that Checkov's wheels are for: `3.11`.
    python: String,
    /// And its platform: `linux-x86_64`.
    platform: String,
    /// By name.
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Bytes.
    size: u64,
    /// Lower-case hex.
    sha256: String,
}

impl Fetcher<'_> {
    /// Writes the list of all files of a folder.
    pub(super) fn list_folder(&self, dir: &Path) -> Result<(), SetupError> {
        let python = self.python()?;
        let mut list =
            List { python: python.minor_version(), platform: python.platform.clone(), files: BTreeMap::new() };
        let entries = fs::read_dir(dir).map_err(SetupError::io("read", dir))?;
        let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let wanted = |name: &&String| name.ends_with(".whl") || name.ends_with(".gguf");
        let task = self.progress.task("listing files", names.len() as u64, Unit::Items);
        for name in names.iter().filter(wanted) {
            let path = dir.join(name);
            let size = fs::metadata(&path).map_err(SetupError::io("read", &path))?.len();
            let sha256 = self.cache.sha256(&path, &self.quiet())?;
            list.files.insert(name.clone(), Entry { size, sha256 });
            task.inc(1);
        }
        drop(task);
        let path = dir.join(LIST);
        let text = toml::to_string(&list)
            .map_err(|e| SetupError::Folder { dir: dir.to_owned(), message: format!("cannot list its files: {e}") })?;
        fs::write(&path, text).map_err(SetupError::io("write", &path))?;
        self.progress.line(&format!("{} files listed in {}", list.files.len(), path.display()));
        Ok(())
    }

    /// Looks for files that the list names and that did not arrive whole. Hashes are checked where files are used.
    pub(super) fn check_folder(&self, dir: &Path) -> Result<(), SetupError> {
        let bad = |message: String| SetupError::Folder { dir: dir.to_owned(), message };
        if !dir.is_dir() {
            return Err(bad("there is no such folder".to_owned()));
        }
        let Ok(text) = fs::read_to_string(dir.join(LIST)) else { return Ok(()) };
        let list: List = toml::from_str(&text).map_err(|e| bad(format!("{LIST} is not readable: {e}")))?;
        for (name, entry) in &list.files {
            match fs::metadata(dir.join(name)) {
                Ok(data) if data.len() == entry.size => {}
                Ok(data) => return Err(bad(format!("{name} has {} bytes, not {}", data.len(), entry.size))),
                Err(error) => return Err(bad(format!("{name} is listed and cannot be read: {error}"))),
            }
        }
        if let Ok(python) = self.python()
            && (python.minor_version(), &python.platform) != (list.python.clone(), &list.platform)
        {
            self.progress.line(&format!(
                "note: {} holds Checkov for Python {} on {}; here is Python {} on {}",
                dir.display(),
                list.python,
                list.platform,
                python.minor_version(),
                python.platform
            ));
        }
        Ok(())
    }
}
