//! Writes changes to the working tree: all files or none.
//!
//! Every file's hash is checked first, then the new texts are staged beside their files, then renamed over them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::edit::{Changeset, EditError, FileChange};
use crate::interrupt;
use crate::source::RelPath;

use super::OutputError;
use crate::digest::sha256_hex;

/// A file about to be replaced.
struct Staged {
    name: String,
    path: PathBuf,
    old: Vec<u8>,
    new: NamedTempFile,
}

/// Applies a changeset to the files below `root` and returns those that changed. Permissions stay; files behind links
/// within the root are replaced, not the links.
///
/// # Errors
/// When a file is not as it was scanned (all such files are named), lies outside the root, or cannot be written; when
/// the user interrupts. No file is changed then.
pub fn write(root: &Path, changeset: &Changeset) -> Result<Vec<RelPath>, OutputError> {
    let root = match root.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OutputError::NoRoot(root.to_owned())),
        found => found.map_err(OutputError::io("read", root))?,
    };
    let mut texts = Vec::new();
    let mut changed = Vec::new();
    for (path, change) in &changeset.files {
        match new_text(&root, path, change)? {
            Ok((file, old, new)) if old != new => texts.push((path, file, old, new)),
            Ok(_) => {}
            Err(error) => changed.push(error),
        }
    }
    if !changed.is_empty() {
        return Err(OutputError::Changed(changed));
    }
    let mut staged = Vec::new();
    for (path, file, old, new) in &texts {
        interrupt::check()?;
        staged.push(stage(path, file, old, new)?);
    }
    // The last point to stop at: renaming all takes no time worth an interruption.
    interrupt::check()?;
    replace(staged)?;
    Ok(texts.into_iter().map(|(path, ..)| path.clone()).collect())
}

type Texts = (PathBuf, Vec<u8>, Vec<u8>);

/// The file's real path, its bytes and its new bytes. The inner error is for files that changed.
fn new_text(root: &Path, path: &RelPath, change: &FileChange) -> Result<Result<Texts, EditError>, OutputError> {
    let gone = |found: &str| EditError::Base {
        file: path.to_string(),
        expected: change.base_sha256.clone(),
        found: found.to_owned(),
    };
    let named = path.under(root);
    let file = match named.canonicalize() {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(gone("that of no file"))),
        Err(error) => return Err(OutputError::io("read", &named)(error)),
    };
    if !file.starts_with(root) {
        return Err(OutputError::Outside(path.to_string()));
    }
    let old = fs::read(&file).map_err(OutputError::io("read", &file))?;
    let Ok(base) = std::str::from_utf8(&old) else { return Ok(Err(gone(&sha256_hex(&old)))) };
    Ok(change.apply(path, base).map(|new| (file, base.as_bytes().to_vec(), new.into_bytes())))
}

fn stage(path: &RelPath, file: &Path, old: &[u8], new: &[u8]) -> Result<Staged, OutputError> {
    let new = staged_file(file, new).map_err(OutputError::io("write", file))?;
    Ok(Staged { name: path.to_string(), path: file.to_owned(), old: old.to_vec(), new })
}

/// A temporary file beside `file`, with its permissions and owner. Its name ends in no extension that scanners read.
fn staged_file(file: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let parent = file.parent().unwrap_or(Path::new("/"));
    let mut staged = tempfile::Builder::new().prefix(".caulk-").suffix(".tmp").tempfile_in(parent)?;
    staged.write_all(bytes)?;
    let (meta, own) = (fs::metadata(file)?, staged.as_file().metadata()?);
    if (meta.uid(), meta.gid()) != (own.uid(), own.gid()) {
        // Only root may give files away; for others the file is theirs from now on, as with any editor.
        let _ = fchown(staged.as_file(), Some(meta.uid()), Some(meta.gid()));
    }
    // After the owner: changing that may drop bits of the mode.
    staged.as_file().set_permissions(meta.permissions())?;
    staged.as_file().sync_all()?;
    Ok(staged)
}

/// Renames all; when one fails, the ones before it get their old texts back.
fn replace(staged: Vec<Staged>) -> Result<(), OutputError> {
    let mut done: Vec<(String, PathBuf, Vec<u8>)> = Vec::new();
    for Staged { name, path, old, new } in staged {
        if let Err(error) = new.persist(&path) {
            let source = OutputError::io("write", &path)(error.error);
            let files: Vec<String> =
                done.into_iter().filter_map(|(name, path, old)| put_back(name, &path, &old)).collect();
            let half = !files.is_empty();
            return Err(if half { OutputError::Half { files, source: Box::new(source) } } else { source });
        }
        done.push((name, path, old));
    }
    for (_, path, _) in &done {
        // The texts are on disk already; a folder that cannot be flushed is no reason to call it failed.
        let _ = path.parent().map(|parent| File::open(parent).and_then(|folder| folder.sync_all()));
    }
    Ok(())
}

/// The name again if the file could not be put back.
fn put_back(name: String, path: &Path, old: &[u8]) -> Option<String> {
    let restored = staged_file(path, old).and_then(|file| file.persist(path).map_err(|error| error.error));
    restored.is_err().then_some(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::output::sample;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in sample::base() {
            let file = path.under(dir.path());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        dir
    }

    fn both() -> Changeset {
        sample::changeset(&[("main.tf", "public-read", "private"), ("net work/sg.tf", "0.0.0.0/0", "10.0.0.0/8")])
    }

    fn all_files(dir: &Path) -> Vec<String> {
        let files = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = files.filter(|entry| !entry.file_type().is_dir());
        files.map(|entry| entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn files_are_changed_and_keep_their_permissions() {
        let dir = tree();
        let main = dir.path().join("main.tf");
        fs::set_permissions(&main, fs::Permissions::from_mode(0o640)).unwrap();
        let written = write(dir.path(), &both()).unwrap();
        assert_eq!(written, [sample::path("main.tf"), sample::path("net work/sg.tf")]);
        assert_eq!(fs::read_to_string(&main).unwrap(), sample::MAIN.replace("public-read", "private"));
        assert_eq!(fs::metadata(&main).unwrap().permissions().mode() & 0o777, 0o640);
        let net = fs::read_to_string(dir.path().join("net work/sg.tf")).unwrap();
        assert_eq!(net, sample::NET.replace("0.0.0.0/0", "10.0.0.0/8"));
        assert_eq!(all_files(dir.path()), ["main.tf", "net work/sg.tf"], "nothing beside them");
    }

    #[test]
    fn one_changed_file_stops_all() {
        let dir = tree();
        fs::write(dir.path().join("net work/sg.tf"), "other").unwrap();
        let error = write(dir.path(), &both()).unwrap_err();
        assert!(error.to_string().starts_with("nothing was written: net work/sg.tf has changed"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("main.tf")).unwrap(), sample::MAIN);
        fs::remove_file(dir.path().join("net work/sg.tf")).unwrap();
        assert!(matches!(write(dir.path(), &both()), Err(OutputError::Changed(files)) if files.len() == 1));
        assert!(matches!(write(&dir.path().join("no"), &both()), Err(OutputError::NoRoot(_))));
    }

    #[test]
    fn a_link_is_followed_within_the_root_only() {
        let (dir, other) = (tree(), tree());
        let net = dir.path().join("net work/sg.tf");
        fs::rename(&net, dir.path().join("real.tf")).unwrap();
        std::os::unix::fs::symlink("../real.tf", &net).unwrap();
        write(dir.path(), &both()).unwrap();
        assert!(net.symlink_metadata().unwrap().is_symlink());
        assert!(fs::read_to_string(dir.path().join("real.tf")).unwrap().contains("10.0.0.0/8"));

        let main = dir.path().join("main.tf");
        fs::remove_file(&main).unwrap();
        std::os::unix::fs::symlink(other.path().join("main.tf"), &main).unwrap();
        assert!(matches!(write(dir.path(), &both()), Err(OutputError::Outside(file)) if file == "main.tf"));
        assert_eq!(fs::read_to_string(other.path().join("main.tf")).unwrap(), sample::MAIN);
    }

    #[test]
    fn when_one_cannot_be_replaced_the_others_are_put_back() {
        let dir = tree();
        let main = dir.path().join("main.tf");
        let first = stage(&sample::path("main.tf"), &main, sample::MAIN.as_bytes(), b"new").unwrap();
        let second = stage(&sample::path("net work/sg.tf"), &dir.path().join("net work/sg.tf"), b"", b"new").unwrap();
        // A folder cannot be replaced by a file.
        fs::remove_file(dir.path().join("net work/sg.tf")).unwrap();
        fs::create_dir(dir.path().join("net work/sg.tf")).unwrap();
        assert!(matches!(replace(vec![first, second]), Err(OutputError::Io { .. })));
        assert_eq!(fs::read_to_string(&main).unwrap(), sample::MAIN);
        assert_eq!(all_files(dir.path()), ["main.tf"]);
    }
}
