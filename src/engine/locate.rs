//! From a finding to the block that it is about, and to the root module that it is scanned from.

use crate::finding::Finding;
use crate::source::{Block, RelPath, SourceFile, SourceTree};
use crate::validate::Case;

/// A finding with its case, or with the reason why it has none.
#[derive(Clone, Debug)]
pub struct Located {
    /// The finding.
    pub finding: Finding,
    /// Where it leads.
    pub case: Result<Case, String>,
}

/// Locates all findings and puts them in the order of file and place, so that those of one block stand together.
pub fn locate(tree: &SourceTree, findings: Vec<Finding>) -> Vec<Located> {
    let mut placed: Vec<_> = findings.into_iter().map(|finding| one(tree, finding)).collect();
    placed.sort_by(|(at, a), (bt, b)| {
        let key =
            |at: usize, l: &Located| (l.finding.location.file.clone(), at, l.finding.tool, l.finding.rule.clone());
        key(*at, a).cmp(&key(*bt, b))
    });
    placed.into_iter().map(|(_, located)| located).collect()
}

fn one(tree: &SourceTree, finding: Finding) -> (usize, Located) {
    let path = &finding.location.file;
    let parsed = tree.files().find(|(file, _)| *file == path).map(|(_, file)| file);
    let (at, case) = match parsed {
        None => (0, Err(format!("{path} is not among the Terraform files that were read"))),
        Some(Err(error)) => (0, Err(format!("the file does not parse: {error}"))),
        // Two names of one file: an edit by one of them would be an edit of the other module too.
        Some(Ok(_)) if is_linked(tree, path) => (0, Err(format!("{path} is a link; fix the file that it leads to"))),
        Some(Ok(file)) => match block_of(file, &finding) {
            None => (0, Err(format!("no block of {path} is at {}", finding.place()))),
            Some(block) => {
                let unit = unit_of(tree, &finding, file, block);
                let subject = (path.clone(), block.addr());
                let case = Case { finding: finding.clone(), subject, file: path.clone(), block: block.addr(), unit };
                (block.span.start, Ok(case))
            }
        },
    };
    (at, Located { finding, case })
}

/// Whether a file, or a folder on the way to it, is a link.
pub(super) fn is_linked(tree: &SourceTree, path: &RelPath) -> bool {
    let mut place = tree.root().to_owned();
    path.as_str().split('/').any(|part| {
        place.push(part);
        place.is_symlink()
    })
}

/// By the address that the finding names, else by its first line.
fn block_of<'a>(file: &'a SourceFile, finding: &Finding) -> Option<&'a Block> {
    let named = finding.address.as_ref().and_then(|address| file.find(&address.block));
    named.or_else(|| file.block_at_line(finding.location.start_line))
}

/// The folder of the root module: the file's own, or that from which the address's module path leads to the block.
fn unit_of(tree: &SourceTree, finding: &Finding, file: &SourceFile, block: &Block) -> RelPath {
    let own = file.path().parent();
    let Some(address) = finding.address.as_ref().filter(|address| !address.modules.is_empty()) else { return own };
    let leads_here = |dir: &RelPath| {
        let found = tree.resolve(dir, address);
        found.is_some_and(|(f, b)| f.path() == file.path() && b.span == block.span)
    };
    tree.folders().into_iter().find(leads_here).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Location, Tool};

    #[test]
    fn a_link_to_a_file_is_not_fixed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), "resource \"t\" \"a\" {\n}\n").unwrap();
        std::fs::create_dir(dir.path().join("prod")).unwrap();
        std::os::unix::fs::symlink("../main.tf", dir.path().join("prod/main.tf")).unwrap();
        let tree = SourceTree::load(dir.path(), &[RelPath::default()]).unwrap();
        let finding = |file: &str| {
            let location = Location { file: RelPath::new(file).unwrap(), start_line: 1, end_line: 2 };
            Finding::new(Tool::Checkov, "R", "m", location, None)
        };
        let located = locate(&tree, vec![finding("main.tf"), finding("prod/main.tf")]);
        assert!(located[0].case.is_ok());
        assert!(located[1].case.as_ref().unwrap_err().contains("prod/main.tf is a link"));
    }
}
