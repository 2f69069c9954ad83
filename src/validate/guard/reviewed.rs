//! What a person must look at by what is known of types and their arguments: the `[[review]]` of the files of knowledge.

use std::collections::BTreeSet;

use crate::source::{BlockAddr, SourceTree};

use super::values::leaves;
use super::{Change, Guarded};

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let written = |tree: &SourceTree, addr: &BlockAddr| {
        let mut written = BTreeSet::new();
        if let Some((file, block)) = tree.find(&dir, addr) {
            // The block itself.
            written.insert((String::new(), String::new()));
            leaves(file, &block.body, &mut |path, value| {
                written.insert((path.to_owned(), value.to_owned()));
            });
        }
        written
    };
    for addr in change.companions.iter().chain([change.target]) {
        let Some(ty) = addr.resource_type().filter(|_| addr.keyword == "resource") else { continue };
        let (before, after) = (written(change.before, addr), written(change.after, addr));
        let paths: BTreeSet<&str> = after.symmetric_difference(&before).map(|(path, _)| path.as_str()).collect();
        for path in paths {
            guarded.review.extend(change.knowledge.reviews(ty, path).map(|why| format!("{addr}: {why}")));
        }
    }
}
