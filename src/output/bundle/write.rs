//! Writes a bundle into a folder beside its place and then moves it there in one step.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::digest::sha256_hex;
use crate::interrupt;
use crate::outcome::RunReport;
use crate::output::manifest::{self, v1};
use crate::output::{OutputError, audit, json, patch, sarif};

use super::{ALL_PATCH, AUDIT, Bundle, CHANGES, MANIFEST, SARIF};

/// A bundle that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its folder.
    pub dir: PathBuf,
    /// The patch of all fixes, when there is one.
    pub all_patch: Option<PathBuf>,
    /// How many patches of single fixes there are.
    pub patches: usize,
}

/// Writes the run's bundle to `dir`. What stands there is replaced when it is a caulk bundle that holds nothing else, or
/// an empty folder.
///
/// # Errors
/// When the place is taken, the disk is full, there is no permission, or the user interrupts. Nothing is left behind
/// then, and a bundle that stood there before still stands.
pub fn write(report: &RunReport, dir: &Path) -> Result<Written, OutputError> {
    let place = place(dir)?;
    let replaces = check_free(&place)?;
    let files = contents(report, &place)?;
    let parent = &beside(dir)?;
    // 0777 less the umask, as `mkdir` has it: TempDir's own 0700 would shut others out of the bundle.
    let staged = tempfile::Builder::new()
        .prefix(".caulk-out-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(OutputError::io("write to", parent))?;
    stage(staged.path(), &files).map_err(|error| at_place(error, staged.path(), &place))?;
    interrupt::check()?;
    move_in(staged, &place, replaces)?;
    sync(parent)?;
    let patches = report.fixes.len();
    Ok(Written { dir: dir.to_owned(), all_patch: (patches > 0).then(|| dir.join(ALL_PATCH)), patches })
}

/// Whether a bundle may and can be written there: to be asked before the work, so that it is not lost.
///
/// # Errors
/// When something else stands there, or the folder cannot be written.
pub fn check_target(dir: &Path) -> Result<(), OutputError> {
    let place = place(dir)?;
    check_free(&place)?;
    // The nearest folder that is there already: nothing is made by asking.
    let parent = place.ancestors().skip(1).find(|parent| parent.is_dir()).unwrap_or(Path::new("/"));
    tempfile::tempdir_in(parent).map(drop).map_err(|source| OutputError::Unwritable {
        dir: dir.to_owned(),
        // Which temporary name was tried says nothing.
        source: source.kind().into(),
    })
}

/// Whether `caulk apply` finds the scanned folder from the bundle at `dir`.
pub fn finds_root(root: &Path, dir: &Path) -> bool {
    place(dir).is_ok_and(|place| root_from_bundle(root, &place).is_some())
}

/// The folder that is written to when a bundle is: the one that holds it. It is made where it is not there, as a folder above it
/// would have to be open to a sealed run else.
///
/// # Errors
/// When it cannot be made.
pub fn beside(dir: &Path) -> Result<PathBuf, OutputError> {
    let place = place(dir)?;
    let parent = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(OutputError::io("create", parent))?;
    Ok(parent.to_owned())
}

/// The absolute path of the bundle; links are followed, so that the folder behind a link is replaced and not the link.
fn place(dir: &Path) -> Result<PathBuf, OutputError> {
    let absolute = match dir.canonicalize() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::path::absolute(dir).map_err(OutputError::io("write", dir))?
        }
        Err(error) => return Err(OutputError::io("write", dir)(error)),
    };
    if matches!(absolute.components().next_back(), Some(Component::Normal(_))) {
        Ok(absolute)
    } else {
        Err(OutputError::Occupied { path: dir.to_owned(), why: "it is no folder of its own".to_owned() })
    }
}

/// Whether a bundle stands there that may be replaced.
fn check_free(place: &Path) -> Result<bool, OutputError> {
    let occupied = |why: String| OutputError::Occupied { path: place.to_owned(), why };
    match fs::read_dir(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(occupied("it is a file".to_owned())),
        Err(error) => return Err(OutputError::io("read", place)(error)),
        Ok(mut entries) => {
            if entries.next().is_none() {
                return Ok(false);
            }
        }
    }
    let bundle = Bundle::open(place).map_err(|_| occupied("it is neither empty nor a caulk bundle".to_owned()))?;
    match bundle.strangers()?.first() {
        Some(stranger) => Err(occupied(format!("it holds {stranger}, which is not caulk's"))),
        None => Ok(true),
    }
}

/// All files of the bundle, the manifest last.
fn contents(report: &RunReport, place: &Path) -> Result<Vec<(String, Vec<u8>)>, OutputError> {
    let run = manifest::run(report);
    let mut files = Vec::new();
    for (fix, said) in report.fixes.iter().zip(&run.fixes) {
        files.push((said.patch.clone(), patch::unified(&report.base, fix.changeset())?));
    }
    let all_patch = (!report.fixes.is_empty()).then(|| ALL_PATCH.to_owned());
    if let Some(name) = &all_patch {
        files.push((name.clone(), patch::unified(&report.base, &report.all)?));
    }
    files.push((CHANGES.to_owned(), json::pretty(&manifest::changes(report))?.into_bytes()));
    files.push((SARIF.to_owned(), sarif::run(report)?.into_bytes()));
    files.push((AUDIT.to_owned(), audit::log(report)?.into_bytes()));
    let manifest = v1::Manifest {
        version: v1::VERSION,
        run,
        all_patch,
        root_from_bundle: root_from_bundle(&report.root, place),
        files: files
            .iter()
            .map(|(path, bytes)| v1::File { path: path.clone(), bytes: bytes.len() as u64, sha256: sha256_hex(bytes) })
            .collect(),
    };
    files.push((MANIFEST.to_owned(), json::pretty(&manifest)?.into_bytes()));
    Ok(files)
}

/// The root as seen from the bundle, when one of the two folders lies within the folder that holds the other: `..`,
/// `../modules/a`, `../..`. A longer way round would name folders of the machine.
fn root_from_bundle(root: &Path, place: &Path) -> Option<String> {
    let root = root.canonicalize().ok()?;
    let parent = place.parent()?;
    // The bundle's parent may not exist yet; its existing part decides where links lead.
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    let path = match (root.strip_prefix(&parent), parent.strip_prefix(&root)) {
        (Ok(below), _) => Path::new("..").join(below),
        (_, Ok(above)) => above.components().fold(PathBuf::from(".."), |path, _| path.join("..")),
        _ => return None,
    };
    let text = path.to_str()?;
    Some(text.trim_end_matches('/').to_owned())
}

fn stage(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<(), OutputError> {
    for (name, bytes) in files {
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(OutputError::io("create", folder))?;
        }
        fs::write(&path, bytes).map_err(OutputError::io("write", &path))?;
        interrupt::check()?;
    }
    // After all writes: one flush of the file system then serves many files.
    for (name, _) in files {
        sync(&dir.join(name))?;
    }
    sync(dir)
}

/// Errors name the place where the bundle should go, not the folder that is gone by then.
fn at_place(error: OutputError, staged: &Path, place: &Path) -> OutputError {
    match error {
        OutputError::Io { doing, path, source } => {
            let path = path.strip_prefix(staged).map_or_else(|_| path.clone(), |rest| place.join(rest));
            OutputError::Io { doing, path, source }
        }
        other => other,
    }
}

/// Moves the staged folder to its place. The folder that it replaces, or itself on an error, goes with its `TempDir`.
fn move_in(staged: TempDir, place: &Path, replaces: bool) -> Result<(), OutputError> {
    if !replaces {
        fs::rename(staged.path(), place).map_err(OutputError::io("write", place))?;
        // It is no longer at the path that dropping would remove.
        let _ = staged.keep();
        return Ok(());
    }
    if exchange(staged.path(), place) {
        return Ok(());
    }
    let parent = place.parent().unwrap_or(Path::new("/"));
    let aside = tempfile::Builder::new()
        .prefix(".caulk-old-")
        .tempdir_in(parent)
        .map_err(OutputError::io("write to", parent))?;
    fs::rename(place, aside.path()).map_err(OutputError::io("replace", place))?;
    match fs::rename(staged.path(), place) {
        Ok(()) => {
            let _ = staged.keep();
            Ok(())
        }
        Err(error) => {
            if fs::rename(aside.path(), place).is_err() {
                // Better a folder too many than the old bundle gone.
                let _ = aside.keep();
            }
            Err(OutputError::io("replace", place)(error))
        }
    }
}

/// Swaps two folders in one step. False where the system or the file system cannot.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

fn sync(path: &Path) -> Result<(), OutputError> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // Some file systems cannot flush folders.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        result => result.map_err(OutputError::io("write", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_bundle_is_written_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("deep/caulk-out");
        let mut report = sample::report();
        for seed in [1, 2] {
            report.seed = seed;
            let written = write(&report, &out).unwrap();
            assert_eq!(written.all_patch, Some(out.join(ALL_PATCH)));
            assert_eq!(names(&out), [ALL_PATCH, AUDIT, CHANGES, MANIFEST, "patches", SARIF]);
            assert_eq!(names(&out.join("patches")).len(), 3);
            assert_eq!(names(out.parent().unwrap()), ["caulk-out"], "nothing beside it");
            assert_eq!(Bundle::open(&out).unwrap().manifest.run.seed, seed);
        }
    }

    #[test]
    fn an_empty_folder_is_taken_and_no_fix_means_no_patch() {
        let dir = tempfile::tempdir().unwrap();
        let report = RunReport { outcomes: Vec::new(), fixes: Vec::new(), all: Default::default(), ..sample::report() };
        let written = write(&report, dir.path()).unwrap();
        assert_eq!(written.all_patch, None);
        assert_eq!(names(dir.path()), [AUDIT, CHANGES, MANIFEST, SARIF]);
    }

    #[test]
    fn what_is_not_caulks_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let full = dir.path().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join(MANIFEST), "{}").unwrap();
        let mixed = dir.path().join("mixed");
        write(&sample::report(), &mixed).unwrap();
        fs::write(mixed.join("patches/notes.txt"), "mine").unwrap();
        for place in [&file, &full, &mixed, &dir.path().to_owned(), &PathBuf::from("/")] {
            assert!(matches!(write(&sample::report(), place), Err(OutputError::Occupied { .. })), "{place:?}");
        }
        assert_eq!(fs::read_to_string(mixed.join("patches/notes.txt")).unwrap(), "mine");
        assert_eq!(names(dir.path()), ["file", "full", "mixed"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let too_long = dir.path().join("x".repeat(300));
        assert!(matches!(write(&sample::report(), &too_long), Err(OutputError::Io { .. })));
        let mut report = sample::report();
        report.base.insert(sample::path("main.tf"), "another text".to_owned());
        assert!(matches!(write(&report, &dir.path().join("out")), Err(OutputError::Changed(_))));
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn the_root_is_told_without_absolute_paths() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("repo/modules/a")).unwrap();
        let told = |root: &str, place: &str| root_from_bundle(&base.join(root), &base.join(place));
        assert_eq!(told("repo", "repo/caulk-out").as_deref(), Some(".."));
        assert_eq!(told("repo/modules/a", "repo/caulk-out").as_deref(), Some("../modules/a"));
        assert_eq!(told("repo", "repo/modules/a/out").as_deref(), Some("../../.."));
        assert_eq!(told("repo", "elsewhere/out"), None);
    }
}
