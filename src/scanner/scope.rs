//! From the paths of a command line to the folder to scan and what of it is meant.

use std::path::{Path, PathBuf};

use crate::exit::{ExitStatus, Failure};
use crate::source::RelPath;

/// A path that cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// It is not there or cannot be reached.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is neither a file nor a folder, or its name is not UTF-8.
    #[error("{path} is neither a folder nor a file with a UTF-8 name")]
    Unusable {
        /// The path as given.
        path: PathBuf,
    },
}

impl From<ScopeError> for Failure {
    fn from(error: ScopeError) -> Self {
        Failure::new(ExitStatus::Input, error.to_string()).hint("name a folder with Terraform files, or such files")
    }
}

/// The folder to scan and, relative to it, what is in scope.
///
/// No path is the working directory. One folder is the root itself, one file has its folder as root, several paths have
/// the deepest folder that holds them all. Links are resolved; the root is absolute. An empty path in the scope is the
/// whole root.
///
/// # Errors
/// When a path is not there.
pub fn scope(paths: &[PathBuf]) -> Result<(PathBuf, Vec<RelPath>), ScopeError> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut real = Vec::new();
    for path in paths {
        let full = path.canonicalize().map_err(|source| ScopeError::Unreadable { path: path.clone(), source })?;
        real.push((path, full));
    }
    let root = real.iter().map(|(_, full)| folder(full)).reduce(common).unwrap_or_default();
    let scope = real.iter().map(|(path, full)| {
        let inside = full.strip_prefix(&root).ok().and_then(RelPath::new);
        inside.ok_or_else(|| ScopeError::Unusable { path: path.to_path_buf() })
    });
    let mut scope = scope.collect::<Result<Vec<_>, _>>()?;
    scope.sort();
    scope.dedup();
    Ok((root, scope))
}

fn folder(path: &Path) -> PathBuf {
    if path.is_dir() { path.to_owned() } else { path.parent().map(Path::to_owned).unwrap_or_default() }
}

fn common(a: PathBuf, b: PathBuf) -> PathBuf {
    a.components().zip(b.components()).take_while(|(x, y)| x == y).map(|(x, _)| x).collect()
}

/// Whether a file lies in one of `scope` (files or folders; an empty path is everything; no scope at all is too).
pub fn covers(scope: &[RelPath], file: &RelPath) -> bool {
    let inside = |part: &RelPath| {
        let rest = file.as_str().strip_prefix(part.as_str());
        part.as_str().is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    scope.is_empty() || scope.iter().any(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).unwrap()
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for file in ["a/x.tf", "a/b/y.tf", "c/z.tf"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), "").unwrap();
        }
        (dir, root)
    }

    #[test]
    fn a_folder_is_the_root_and_a_files_folder_is() {
        let (_dir, root) = tree();
        assert_eq!(scope(&[root.join("a")]).unwrap(), (root.join("a"), vec![rel("")]));
        assert_eq!(scope(&[root.join("a/x.tf")]).unwrap(), (root.join("a"), vec![rel("x.tf")]));
    }

    #[test]
    fn several_paths_have_their_common_folder() {
        let (_dir, root) = tree();
        let both = scope(&[root.join("c/../c"), root.join("a/b/y.tf")]).unwrap();
        assert_eq!(both, (root.clone(), vec![rel("a/b/y.tf"), rel("c")]));
        let nested = scope(&[root.join("a"), root.join("a/b")]).unwrap();
        assert_eq!(nested, (root.join("a"), vec![rel(""), rel("b")]));
    }

    #[test]
    fn a_missing_path_is_an_input_error_that_names_it() {
        let failure = Failure::from(scope(&[PathBuf::from("/no/such/folder")]).unwrap_err());
        assert_eq!(failure.status, ExitStatus::Input);
        assert!(failure.what.contains("/no/such/folder"));
    }

    #[test]
    fn scope_covers_whole_names_only() {
        assert!(covers(&[rel("a")], &rel("a/x.tf")));
        assert!(covers(&[rel("a/x.tf")], &rel("a/x.tf")));
        assert!(!covers(&[rel("a")], &rel("ab/x.tf")));
        assert!(covers(&[rel("")], &rel("ab/x.tf")));
    }
}
