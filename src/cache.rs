//! The cache folder: where caulk keeps what it fetched and what it computed, and how files in it are trusted.
//!
//! ```text
//! CACHE/tools/checkov-VERSION/     a virtual environment of its own, complete when it holds its stamp
//! CACHE/tools/trivy-VERSION/trivy
//! CACHE/models/NAME/FILE.gguf      beside them NAME.toml: manifests of the user's own
//! CACHE/downloads/                 partial and intermediate files; may be deleted at any time
//! CACHE/wishes/                    what rules want, by scanner version
//! CACHE/prefixes/                  what models made of the turns that all chats open with; may be deleted
//! CACHE/stamps/                    sha256 of files that were hashed before, by size and modification time
//! CACHE/setup.lock
//! ```
//!
//! In: `--cache`, `CAULK_CACHE`, or the platform's cache folder. Out: paths, and hashes that are computed once.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::{self, Interrupted};
use crate::progress::{Progress, Task, Unit};
use crate::setup::pins;

/// Environment variable that names the cache folder.
pub const CACHE_ENV: &str = "CAULK_CACHE";
/// Bytes between two looks at the interrupt flag.
const CHUNK: usize = 1 << 20;

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The platform names no cache folder and the user neither.
    #[error("there is no cache folder: neither --cache nor {CACHE_ENV} is set and the home folder is unknown")]
    NoFolder,
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl CacheError {
    /// For `map_err` on file operations.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Interrupted(interrupted) => interrupted.into(),
            CacheError::NoFolder => {
                Self::new(ExitStatus::Usage, error.to_string()).hint("name a folder with --cache DIR")
            }
            CacheError::Io { .. } => Self::new(ExitStatus::Internal, error.to_string())
                .hint(format!("check permissions and free space, or name another folder with --cache or {CACHE_ENV}")),
        }
    }
}

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The folder that the flag names, else `CAULK_CACHE`, else `caulk` in the platform's cache folder. It is made
    /// if it is not there.
    ///
    /// # Errors
    /// When no folder is known or it cannot be made.
    pub fn open(flag: Option<&Path>) -> Result<Self, CacheError> {
        let from_env = || std::env::var_os(CACHE_ENV).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = flag
            .map(Path::to_owned)
            .or_else(from_env)
            .or_else(|| dirs::cache_dir().map(|dir| dir.join("caulk")))
            .ok_or(CacheError::NoFolder)?;
        fs::create_dir_all(&root).map_err(CacheError::io("create the cache folder", &root))?;
        // Absolute, because tools are started in other working directories.
        let root = root.canonicalize().map_err(CacheError::io("open the cache folder", &root))?;
        Ok(Self { root })
    }

    /// The folder itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one version of a tool.
    pub fn tool_dir(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("tools").join(format!("{name}-{version}"))
    }

    /// Manifests of the user's own, and a folder for each model.
    pub fn models_dir(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Partial and intermediate files.
    pub fn downloads_dir(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// What rules want, by scanner version.
    pub fn wishes_dir(&self) -> PathBuf {
        self.root.join("wishes")
    }

    /// What models made of the turns that all chats open with.
    pub fn prefixes_dir(&self) -> PathBuf {
        self.root.join("prefixes")
    }

    /// Schema packs that the user imported.
    pub fn schemas_dir(&self) -> PathBuf {
        self.root.join("schemas")
    }

    /// The file that a set-up holds a lock on.
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("setup.lock")
    }

    /// The Python that has the pinned Checkov, if its set-up was completed.
    pub fn checkov_python(&self) -> Option<PathBuf> {
        crate::setup::checkov_python(self)
    }

    /// The pinned Trivy; on platforms that have no pinned build, the one on the `PATH`.
    pub fn trivy(&self) -> Option<PathBuf> {
        let pinned = self.tool_dir("trivy", pins::TRIVY_WHEEL_VERSION).join("trivy");
        if pinned.is_file() {
            return Some(pinned);
        }
        if pins::trivy_has_build() { None } else { which::which("trivy").ok() }
    }

    /// SHA-256 of a file, lower-case hex: from its stamp if size and modification time are still the same, else
    /// computed and stamped.
    ///
    /// # Errors
    /// When the file cannot be read, or the user interrupts.
    pub fn sha256(&self, path: &Path, progress: &Progress) -> Result<String, CacheError> {
        match self.stamped_sha256(path) {
            Some(sha256) => Ok(sha256),
            None => self.hash_anew(path, progress),
        }
    }

    /// SHA-256 of a file by its stamp alone; `None` if it has none or has changed since.
    pub fn stamped_sha256(&self, path: &Path) -> Option<String> {
        let seen = Stamp::of(path, String::new()).ok()?;
        let stamp: Stamp = serde_json::from_slice(&fs::read(self.stamp_path(&seen.path)).ok()?).ok()?;
        (stamp.path == seen.path && stamp.size == seen.size && stamp.modified_ns == seen.modified_ns)
            .then_some(stamp.sha256)
    }

    /// SHA-256 of a file, computed whatever its stamp says, and stamped.
    ///
    /// # Errors
    /// When the file cannot be read, or the user interrupts.
    pub fn hash_anew(&self, path: &Path, progress: &Progress) -> Result<String, CacheError> {
        let sha256 = hash_file(path, progress)?;
        self.stamp(path, &sha256);
        Ok(sha256)
    }

    /// Remembers a file's hash. A stamp only saves time, so that one which cannot be written is no error.
    pub fn stamp(&self, path: &Path, sha256: &str) {
        let written = Stamp::of(path, sha256.to_owned()).and_then(|stamp| {
            let file = self.stamp_path(&stamp.path);
            fs::create_dir_all(self.root.join("stamps"))?;
            fs::write(file, serde_json::to_vec(&stamp)?)
        });
        drop(written);
    }

    fn stamp_path(&self, path: &Path) -> PathBuf {
        let key = Sha256::digest(path.as_os_str().as_encoded_bytes());
        self.root.join("stamps").join(format!("{}.json", hex(&key[..8])))
    }
}

/// What a hash was computed of.
#[derive(Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    size: u64,
    modified_ns: u128,
    sha256: String,
}

impl Stamp {
    fn of(path: &Path, sha256: String) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let data = fs::metadata(&path)?;
        let modified_ns = data.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Ok(Self { path, size: data.len(), modified_ns, sha256 })
    }
}

/// SHA-256 of a file, lower-case hex, with a bar.
///
/// # Errors
/// When the file cannot be read, or the user interrupts.
pub fn hash_file(path: &Path, progress: &Progress) -> Result<String, CacheError> {
    let mut file = File::open(path).map_err(CacheError::io("open", path))?;
    let size = file.metadata().map_err(CacheError::io("read", path))?.len();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let task = progress.task(&format!("hashing {name}"), size, Unit::Bytes);
    let mut hash = Sha256::new();
    copy_hashed(&mut file, &mut io::sink(), &mut hash, &task, path)?;
    Ok(hex(&hash.finalize()))
}

/// Copies all of `from` to `to` through `hash`. `path` is what errors name.
pub(crate) fn copy_hashed(
    from: &mut impl Read,
    to: &mut impl Write,
    hash: &mut Sha256,
    task: &Task,
    path: &Path,
) -> Result<(), CacheError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        interrupt::check()?;
        let n = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(CacheError::Io { doing: "read", path: path.to_owned(), source }),
        };
        hash.update(&chunk[..n]);
        to.write_all(&chunk[..n]).map_err(CacheError::io("write", path))?;
        task.inc(n as u64);
    }
}

/// Writes a file whole or not at all: beside its place, then moved there in one step.
///
/// # Errors
/// When its folder cannot be written to.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // For whom the umask allows, as with any file.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Mode;

    const QUIET: Mode = Mode::Quiet;
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        (dir, cache)
    }

    #[test]
    fn a_hash_is_the_files_and_is_remembered_until_the_file_changes() {
        let (dir, cache) = cache();
        let file = dir.path().join("abc");
        fs::write(&file, "abc").unwrap();
        assert_eq!(cache.stamped_sha256(&file), None);
        assert_eq!(cache.sha256(&file, &Progress::new(QUIET)).unwrap(), ABC);
        assert_eq!(cache.stamped_sha256(&file).as_deref(), Some(ABC));

        fs::write(&file, "abcd").unwrap();
        assert_eq!(cache.stamped_sha256(&file), None);
        assert_ne!(cache.sha256(&file, &Progress::new(QUIET)).unwrap(), ABC);
    }

    #[test]
    fn hashing_anew_does_not_believe_the_stamp() {
        let (dir, cache) = cache();
        let file = dir.path().join("abc");
        fs::write(&file, "abc").unwrap();
        cache.stamp(&file, "0000");
        assert_eq!(cache.sha256(&file, &Progress::new(QUIET)).unwrap(), "0000");
        assert_eq!(cache.hash_anew(&file, &Progress::new(QUIET)).unwrap(), ABC);
        assert_eq!(cache.stamped_sha256(&file).as_deref(), Some(ABC));
    }

    #[test]
    fn a_cache_that_is_a_file_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(Some(file.path())).unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
