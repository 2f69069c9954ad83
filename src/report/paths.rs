//! The files that reports name, matched to files below the root.
//!
//! Scanners name files relative to the folder that they ran in or scanned, with a leading `/` that means that folder,
//! absolute, or as `file://` addresses. A name is only taken if such a file is there.

use std::path::{Component, Path, PathBuf};

use crate::source::RelPath;

/// Why a finding is refused that is not about Terraform.
pub(super) const NOT_TERRAFORM: &str = "not a Terraform file";

/// Matches names to files below one root.
pub(super) struct Matcher {
    root: PathBuf,
    /// The root and the folders above it: a report may have been made in any of them.
    bases: Vec<PathBuf>,
}

impl Matcher {
    pub fn new(root: &Path) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let bases = root.ancestors().map(Path::to_owned).collect();
        Self { root, bases }
    }

    /// The file below the root that one of the names means, the first name that fits.
    ///
    /// # Errors
    /// The reason why none does.
    pub fn find(&self, names: &[String]) -> Result<RelPath, String> {
        let mut reason = "the report names no file".to_owned();
        for (position, name) in names.iter().enumerate() {
            match self.one(name) {
                Ok(file) => return Ok(file),
                Err(why) if position == 0 => reason = why,
                Err(_) => {}
            }
        }
        Err(reason)
    }

    fn one(&self, name: &str) -> Result<RelPath, String> {
        let path = plain_path(name);
        if path.extension().is_none_or(|extension| extension != "tf") {
            return Err(NOT_TERRAFORM.to_owned());
        }
        let relative = path.strip_prefix("/").unwrap_or(&path);
        // KICS names files from its own working directory, which is not known: `../../repo/main.tf`.
        let below = relative.components().skip_while(|part| matches!(part, Component::ParentDir | Component::CurDir));
        let below: PathBuf = below.collect();
        let absolute = path.is_absolute().then(|| path.clone());
        let exact = self.bases.iter().map(|base| base.join(relative));
        let loose = self.bases.iter().map(|base| base.join(&below));
        // The first file that is there is the one that is meant.
        let there =
            absolute.into_iter().chain(exact).chain(loose).map(|file| lexical(&file)).find(|file| file.is_file());
        let Some(file) = there else { return Err("no such file below the root".to_owned()) };
        // A link may lead in or out: the place where the file really is counts.
        let real = file.canonicalize().unwrap_or(file);
        let inside = real.strip_prefix(&self.root).ok().and_then(RelPath::new);
        inside.ok_or_else(|| "outside the root".to_owned())
    }
}

/// The path of a `file://` address, percent signs decoded; any other name as it is, `\` as `/` in names from Windows.
fn plain_path(name: &str) -> PathBuf {
    let Some(rest) = name.strip_prefix("file:") else {
        // Relative addresses in SARIF are percent-encoded too; a name with a real percent sign is not found then.
        let decoded = decode(name);
        return PathBuf::from(if name.contains('\\') && !name.contains('/') {
            decoded.replace('\\', "/")
        } else {
            decoded
        });
    };
    // file:///path, file://host/path, file:/path
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.find('/').map_or("", |at| &with_host[at..]),
        None => rest,
    };
    PathBuf::from(decode(path))
}

/// Percent-decoding (RFC 3986, 2.1). What is not UTF-8 then stays as it was.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = match (first, tail) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|d| u8::from_str_radix(d, 16).ok())
            }
            _ => None,
        };
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The path without `.` and `..`.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `repo/infra` is the root; `repo/other.tf` lies beside it.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("repo/infra");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        for file in ["main.tf", "sub/a b.tf", "../other.tf", "note.txt"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        (dir, root)
    }

    fn find(root: &Path, name: &str) -> Result<String, String> {
        Matcher::new(root).find(&[name.to_owned()]).map(|file| file.to_string())
    }

    #[test]
    fn every_way_to_name_a_file_leads_to_it() {
        let (_dir, root) = tree();
        let absolute = root.join("main.tf").display().to_string();
        let uri = format!("file://{}/sub/a%20b.tf", root.display());
        for (name, file) in [
            ("main.tf", "main.tf"),
            ("./main.tf", "main.tf"),
            ("/main.tf", "main.tf"),
            ("sub/../main.tf", "main.tf"),
            ("infra/main.tf", "main.tf"),
            ("/repo/infra/main.tf", "main.tf"),
            ("../infra/sub/a b.tf", "sub/a b.tf"),
            ("../../elsewhere/../infra/main.tf", "main.tf"),
            ("../../../repo/infra/main.tf", "main.tf"),
            ("sub/a%20b.tf", "sub/a b.tf"),
            (absolute.as_str(), "main.tf"),
            (uri.as_str(), "sub/a b.tf"),
        ] {
            assert_eq!(find(&root, name).as_deref(), Ok(file), "{name}");
        }
    }

    #[test]
    fn what_is_not_below_the_root_is_refused_with_the_reason() {
        let (_dir, root) = tree();
        let beside = root.join("../other.tf").display().to_string();
        assert_eq!(find(&root, &beside).unwrap_err(), "outside the root");
        assert_eq!(find(&root, "../other.tf").unwrap_err(), "outside the root");
        assert_eq!(find(&root, "gone.tf").unwrap_err(), "no such file below the root");
        assert_eq!(find(&root, "note.txt").unwrap_err(), NOT_TERRAFORM);
        assert_eq!(Matcher::new(&root).find(&[]).unwrap_err(), "the report names no file");
    }

    #[test]
    fn a_link_that_leaves_the_root_is_outside() {
        let (_dir, root) = tree();
        std::os::unix::fs::symlink(root.join("../other.tf"), root.join("link.tf")).unwrap();
        assert_eq!(find(&root, "link.tf").unwrap_err(), "outside the root");
    }

    #[test]
    fn a_second_name_helps_when_the_first_does_not() {
        let (_dir, root) = tree();
        let names = ["/builds/x/main.tf".to_owned(), "main.tf".to_owned()];
        assert_eq!(Matcher::new(&root).find(&names).unwrap().as_str(), "main.tf");
    }
}
