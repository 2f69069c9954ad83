//! The scratch copy: a root module and the local modules that it calls, in a temporary folder, where candidates are
//! written and scanned. The source tree itself is never written to.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::source::{RelPath, SourceFile, SourceTree};

/// Files larger than this are linked, not copied: bytes.
const COPY_LIMIT: u64 = 1 << 20;

/// What is scanned together: the folder of a root module and the folders of the local modules below its calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// The root module's folder.
    pub dir: RelPath,
    /// All folders, the root module's included.
    pub folders: BTreeSet<RelPath>,
}

impl Unit {
    /// The root module in `dir` with all that it calls.
    pub fn of(tree: &SourceTree, dir: &RelPath) -> Self {
        let mut folders = BTreeSet::new();
        let mut waiting = vec![dir.clone()];
        while let Some(next) = waiting.pop() {
            if folders.insert(next.clone()) {
                waiting.extend(tree.calls(&next).into_values());
            }
        }
        Self { dir: dir.clone(), folders }
    }
}

/// A unit's copy. Removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    folders: BTreeSet<RelPath>,
}

impl Scratch {
    /// Copies a unit with its files as they are on disk.
    ///
    /// # Errors
    /// When a `.tf` file cannot be read or the temporary folder cannot be written (disk full).
    pub fn copy(tree: &SourceTree, unit: &Unit) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("caulk-").tempdir()?;
        let scratch = Self { folder, folders: unit.folders.clone() };
        for dir in &unit.folders {
            std::fs::create_dir_all(dir.under(scratch.root()))?;
        }
        // A call may name a folder that is not there.
        for dir in unit.folders.iter().filter(|dir| dir.under(tree.root()).is_dir()) {
            copy_folder(&dir.under(tree.root()), &dir.under(scratch.root()))?;
        }
        Ok(scratch)
    }

    /// The copy's counterpart of the scanned root.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the copy's `.tf` files equal to those of a tree, as far as they are the unit's and parse. `shown` is the
    /// tree that it shows so far.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn show(&self, tree: &SourceTree, shown: &SourceTree) -> io::Result<()> {
        self.changed(tree, shown).try_for_each(|file| {
            // Whole, and in a link's place: what the tools may write to must not lead out.
            crate::cache::write_whole(&file.path().under(self.root()), file.text().as_bytes())
        })
    }

    /// Whether the copy of a tree is another one than that of the tree that it shows so far.
    pub fn is_another(&self, tree: &SourceTree, shown: &SourceTree) -> bool {
        self.changed(tree, shown).next().is_some()
    }

    fn changed<'a>(&'a self, tree: &'a SourceTree, shown: &'a SourceTree) -> impl Iterator<Item = &'a SourceFile> {
        let files = self.folders.iter().flat_map(|dir| tree.module(dir));
        files.filter(|file| shown.file(file.path()).is_none_or(|old| old.text() != file.text()))
    }
}

/// Copies a folder's files. Its sub-folders and what is large are linked, so that `file()` finds them and no scanner
/// enters them; `.tf` files are always copied, as candidates are written over them.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (std::path::absolute(entry.path())?, to.join(entry.file_name()));
        // A linked file is copied as the scanner would read it; a dangling link is left out.
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        let source = path.extension().is_some_and(|ext| ext == "tf");
        if target.exists() || entry.file_name() == ".git" {
            continue;
        }
        if meta.is_dir() || (meta.is_file() && meta.len() > COPY_LIMIT && !source) {
            std::os::unix::fs::symlink(&path, &target)?;
        } else if meta.is_file() {
            match std::fs::read(&path) {
                Ok(bytes) => std::fs::write(&target, bytes)?,
                Err(error) if source => return Err(error),
                // What cannot be read and is no source is no matter of the scanners either.
                Err(_) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;

    /// Two root modules, one in a folder below the other: the copy of the outer one links the inner one's folder.
    #[test]
    fn showing_a_tree_never_writes_through_a_link_into_the_source() {
        let source = tempfile::tempdir().unwrap();
        let large = format!("# {}\n", "x".repeat(2 << 20));
        std::fs::create_dir(source.path().join("net")).unwrap();
        for (name, text) in [("z.tf", "a = 1\n"), ("net/main.tf", "b = 1\n"), ("large.tf", large.as_str())] {
            std::fs::write(source.path().join(name), text).unwrap();
        }
        let tree = SourceTree::load(source.path(), &[RelPath::default()]).unwrap();
        let scratch = Scratch::copy(&tree, &Unit::of(&tree, &RelPath::default())).unwrap();
        let changed = ["z.tf", "net/main.tf", "large.tf"]
            .map(|name| SourceFile::parse(RelPath::new(name).unwrap(), b"changed = true\n".to_vec()).unwrap());
        scratch.show(&SourceTree::from_files(source.path(), changed), &tree).unwrap();
        let read = |root: &Path, name: &str| std::fs::read_to_string(root.join(name)).unwrap();
        assert_eq!(read(source.path(), "net/main.tf"), "b = 1\n");
        assert_eq!(read(source.path(), "z.tf"), "a = 1\n");
        assert_eq!(read(source.path(), "large.tf"), large);
        assert_eq!(read(scratch.root(), "z.tf"), "changed = true\n");
        assert_eq!(read(scratch.root(), "large.tf"), "changed = true\n");
    }

    #[test]
    fn what_is_no_file_and_what_calls_name_in_vain_is_left_out() {
        let source = tempfile::tempdir().unwrap();
        let call = "module \"x\" {\n  source = \"./nowhere\"\n}\n";
        std::fs::write(source.path().join("main.tf"), call).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(source.path().join("socket")).unwrap();
        let tree = SourceTree::load(source.path(), &[RelPath::default()]).unwrap();
        let scratch = Scratch::copy(&tree, &Unit::of(&tree, &RelPath::default())).unwrap();
        assert!(scratch.root().join("main.tf").is_file() && !scratch.root().join("socket").exists());
    }
}
