//! The files below a root, parsed, and the modules that they make up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::{Block, BlockAddr, RelPath, ResourceAddr, SourceError, SourceFile, local_addr};

/// Folders that hold no source of their own.
const NOT_ENTERED: [&str; 2] = [".terraform", ".git"];
/// Longest chain of module calls that is followed.
const MODULE_DEPTH: usize = 16;
/// Most ways to one module that are told.
const MODULE_WAYS: usize = 1000;

/// The `.tf` files of the scanned tree, by path; a module is the files of one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceTree {
    root: PathBuf,
    files: BTreeMap<RelPath, Result<Arc<SourceFile>, SourceError>>,
}

impl SourceTree {
    /// Reads and parses every `.tf` file below `root` that lies in one of `scope` (files or folders relative to the
    /// root; an empty path is everything). `.terraform`, `.git` and links that leave the root are not entered.
    /// Files that do not parse are kept with their error.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn load(root: &Path, scope: &[RelPath]) -> std::io::Result<Self> {
        let real_root = root.canonicalize()?;
        std::fs::read_dir(&real_root)?;
        let inside = |entry: &DirEntry| {
            let entered = entry.depth() == 0 || !NOT_ENTERED.iter().any(|name| entry.file_name() == *name);
            let stays =
                !entry.path_is_symlink() || entry.path().canonicalize().is_ok_and(|p| p.starts_with(&real_root));
            entered && stays
        };
        let mut paths: Vec<RelPath> = WalkDir::new(&real_root)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(inside)
            // A folder that cannot be entered, or a link to a folder above itself: nothing to read there.
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file() && entry.path().extension().is_some_and(|ext| ext == "tf"))
            .filter_map(|entry| RelPath::new(entry.path().strip_prefix(&real_root).ok()?))
            .filter(|path| scope.iter().any(|scope| path.is_in(scope)))
            .collect();
        paths.dedup();
        let files = paths.into_par_iter().map(|path| (path.clone(), read(&real_root, path).map(Arc::new))).collect();
        Ok(Self { root: root.to_owned(), files })
    }

    /// A tree of parsed files that need not be on disk.
    pub fn from_files(root: impl Into<PathBuf>, files: impl IntoIterator<Item = SourceFile>) -> Self {
        let files = files.into_iter().map(|file| (file.path().clone(), Ok(Arc::new(file))));
        Self { root: root.into(), files: files.collect() }
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All files, with the error of those that do not parse.
    pub fn files(&self) -> impl Iterator<Item = (&RelPath, Result<&SourceFile, &SourceError>)> {
        self.files.iter().map(|(path, file)| (path, file.as_ref().map(Arc::as_ref)))
    }

    /// One file, if it is there and parses.
    pub fn file(&self, path: &RelPath) -> Option<&SourceFile> {
        self.files.get(path)?.as_deref().ok()
    }

    /// The folders that hold files.
    pub fn folders(&self) -> BTreeSet<RelPath> {
        self.files.keys().map(RelPath::parent).collect()
    }

    /// The local modules that the module in `dir` calls, by the name of the call.
    pub fn calls(&self, dir: &RelPath) -> BTreeMap<String, RelPath> {
        let calls = self.module(dir).flat_map(|file| file.body().blocks()).filter(|block| block.keyword == "module");
        calls.filter_map(|call| Some((call.labels.first()?.clone(), called_dir(dir, call)?))).collect()
    }

    /// The parsed files of one module folder.
    pub fn module(&self, dir: &RelPath) -> impl Iterator<Item = &SourceFile> {
        let dir = dir.clone();
        self.files.iter().filter(move |(path, _)| path.parent() == dir).filter_map(|(_, file)| file.as_deref().ok())
    }

    /// The block of an address within a module folder, with its file. `local.NAME` leads to the `locals` block.
    pub fn find(&self, dir: &RelPath, addr: &BlockAddr) -> Option<(&SourceFile, &Block)> {
        self.module(dir).find_map(|file| match (addr.keyword.as_str(), addr.labels.as_slice()) {
            ("local", [name]) => {
                let mut locals = file.body().blocks().filter(|block| block.keyword == "locals");
                Some((file, locals.find(|block| block.body.attribute(name).is_some())?))
            }
            _ => Some((file, file.find(addr)?)),
        })
    }

    /// What a module declares: its blocks, and the names in its `locals` as `local.NAME`.
    pub fn declared(&self, dir: &RelPath) -> BTreeSet<BlockAddr> {
        let mut declared = BTreeSet::new();
        for block in self.module(dir).flat_map(|file| file.body().blocks()) {
            if block.keyword == "locals" {
                declared.extend(block.body.attributes().map(|attribute| local_addr(&attribute.key)));
            } else {
                declared.insert(block.addr());
            }
        }
        declared
    }

    /// Resolves an address with a module path, from the root module in `dir`, through local `source = "./…"` calls.
    /// Instance keys (`count`, `for_each`) all lead to the one block that declares them.
    pub fn resolve(&self, dir: &RelPath, addr: &ResourceAddr) -> Option<(&SourceFile, &Block)> {
        let mut dir = dir.clone();
        for call in &addr.modules {
            let name = call.split('[').next().unwrap_or(call);
            let addr = BlockAddr { keyword: "module".to_owned(), labels: vec![name.to_owned()] };
            dir = called_dir(&dir, self.find(&dir, &addr)?.1)?;
        }
        self.find(&dir, &addr.block)
    }

    /// The addresses of a block of the module in `dir`, without instance keys: one for each way in which a root module
    /// (one that no other calls) reaches that module by local calls.
    pub fn addresses(&self, dir: &RelPath, block: &BlockAddr) -> Vec<ResourceAddr> {
        let mut calls: BTreeMap<RelPath, Vec<(RelPath, String)>> = BTreeMap::new();
        for caller in self.folders() {
            for (name, called) in self.calls(&caller) {
                calls.entry(called).or_default().push((caller.clone(), name));
            }
        }
        let mut found = Vec::new();
        let mut open = vec![(dir.clone(), Vec::new())];
        while let Some((dir, modules)) = open.pop()
            && found.len() < MODULE_WAYS
        {
            match calls.get(&dir) {
                Some(callers) if modules.len() < MODULE_DEPTH => {
                    for (caller, name) in callers {
                        open.push((caller.clone(), [std::slice::from_ref(name), modules.as_slice()].concat()));
                    }
                }
                Some(_) => {}
                None => found.push(ResourceAddr { modules, block: block.clone(), key: None }),
            }
        }
        found.sort();
        found
    }

    /// The same tree with one file's new text, parsed.
    ///
    /// # Errors
    /// When the new text does not parse.
    pub fn with_file(&self, path: &RelPath, text: String) -> Result<Self, SourceError> {
        let file = SourceFile::parse(path.clone(), text.into_bytes())?;
        let mut tree = self.clone();
        tree.files.insert(path.clone(), Ok(Arc::new(file)));
        Ok(tree)
    }
}

fn read(root: &Path, path: RelPath) -> Result<SourceFile, SourceError> {
    match std::fs::read(path.under(root)) {
        Ok(bytes) => SourceFile::parse(path, bytes),
        Err(error) => Err(SourceError { file: path, line: 0, column: 0, message: format!("cannot be read: {error}") }),
    }
}

/// The folder that a `module` block calls, when it is a local one inside the root.
fn called_dir(dir: &RelPath, call: &Block) -> Option<RelPath> {
    let source = call.body.attribute("source")?.as_str()?;
    let local = source.starts_with("./") || source.starts_with("../");
    local.then(|| RelPath::new(Path::new(dir.as_str()).join(source)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let file = root.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
    }

    #[test]
    fn trees_are_read_within_their_scope_and_root() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path();
        write(outside.path(), &[("out.tf", "")]);
        let files = ["sub/x.tf", "sub2/y.tf", "sub/.terraform/modules/z.tf", ".git/z.tf", "notes.txt"];
        write(root, &files.map(|name| (name, "")));
        write(root, &[("main.tf", "resource \"a\" \"b\" {}\n"), ("bad.tf", "a {")]);
        for (to, link) in [
            (outside.path(), "leaves"),
            (&root.join("sub2"), "linked"),
            (root, "sub/loop"),
            (&root.join("nowhere.tf"), "broken.tf"),
        ] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let names = |scope: &[&str]| {
            let scope: Vec<RelPath> = scope.iter().map(|scope| path(scope)).collect();
            let tree = SourceTree::load(root, &scope).unwrap();
            let name =
                |(path, file): (&RelPath, Result<_, _>)| format!("{path}{}", if file.is_ok() { "" } else { "!" });
            tree.files().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[""]), ["bad.tf!", "linked/y.tf", "main.tf", "sub/x.tf", "sub2/y.tf"]);
        assert_eq!(names(&["sub", "main.tf"]), ["main.tf", "sub/x.tf"]);
        assert!(names(&[]).is_empty());
        assert!(SourceTree::load(&root.join("main.tf"), &[path("")]).is_err());
        assert!(SourceTree::load(&root.join("nowhere"), &[path("")]).is_err());
    }

    fn modules() -> (tempfile::TempDir, SourceTree) {
        let dir = tempfile::tempdir().unwrap();
        let live = "module \"net\" {\n  source = \"../modules/net\"\n  count = 2\n}\n\
                    module \"far\" {\n  source = \"hashicorp/x/aws\"\n}\n";
        let net = "module \"sub\" {\n  source   = \"./sub\"\n  for_each = var.s\n}\nlocals {\n  a = 1\n}\n";
        let files = [
            ("live/main.tf", live),
            ("modules/net/main.tf", net),
            ("modules/net/sub/main.tf", "resource \"aws_subnet\" \"s\" {\n  count = 3\n}\n"),
            ("modules/net/sub/vars.tf", "variable \"v\" {}\nlocals {\n  b = 1\n}\n"),
        ];
        write(dir.path(), &files);
        let tree = SourceTree::load(dir.path(), &[RelPath::default()]).unwrap();
        (dir, tree)
    }

    #[test]
    fn addresses_lead_to_blocks_and_back() {
        let (_dir, tree) = modules();
        let resolve = |dir: &str, addr: &str| {
            let (file, block) = tree.resolve(&path(dir), &addr.parse().unwrap())?;
            Some(format!("{}:{}", file.path(), file.lines(&block.span).0))
        };
        let subnet = Some("modules/net/sub/main.tf:1".to_owned());
        assert_eq!(resolve("live", "module.net[1].module.sub[\"a.b\"].aws_subnet.s[2]"), subnet);
        assert_eq!(resolve("modules/net", "module.sub.aws_subnet.s"), subnet);
        assert_eq!(resolve("modules/net/sub", "aws_subnet.s"), subnet);
        assert_eq!(resolve("live", "module.net").as_deref(), Some("live/main.tf:1"));
        for lost in ["module.far.aws_subnet.s", "module.none.aws_subnet.s", "aws_subnet.s", "module.net.aws_subnet.s"] {
            assert_eq!(resolve("live", lost), None, "{lost}");
        }
        let net = path("modules/net");
        assert_eq!(tree.find(&net, &local_addr("a")).map(|(_, block)| block.addr().to_string()), Some("locals".into()));
        let back = tree.addresses(&path("modules/net/sub"), &BlockAddr::resource("aws_subnet", "s"));
        assert_eq!(back.iter().map(ToString::to_string).collect::<Vec<_>>(), ["module.net.module.sub.aws_subnet.s"]);
    }

    #[test]
    fn what_a_module_declares_holds_its_locals() {
        let (_dir, tree) = modules();
        let declared = tree.declared(&path("modules/net/sub"));
        let declared: BTreeSet<String> = declared.iter().map(ToString::to_string).collect();
        assert_eq!(declared, ["aws_subnet.s", "local.b", "var.v"].map(str::to_owned).into());
    }
}
