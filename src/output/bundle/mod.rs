//! The bundle: a folder with everything that a run has to say, written whole or not at all.
//!
//! ```text
//! manifest.json   the run, every finding with its outcome, the hashes of the other files
//! changes.json    the fixes as byte edits with the hashes of the files they are for
//! patches/        NNNN-RULE-ADDRESS.patch, one per fix, over the files as scanned
//! all.patch       all fixes together; not there when there is none
//! report.sarif    SARIF 2.1.0 with `fixes`
//! audit.jsonl     prompts, grammars, answers and verdicts, chained by hashes
//! ```

mod read;
mod verify;
mod write;

pub use read::Bundle;
pub use verify::problems;
pub use write::{Written, beside, check_target, finds_root, write};

use crate::outcome::RunReport;
use crate::validate::VerifiedFix;

/// The manifest, which makes a folder a bundle.
pub const MANIFEST: &str = "manifest.json";
/// The edits.
pub const CHANGES: &str = "changes.json";
/// The patch of all fixes.
pub const ALL_PATCH: &str = "all.patch";
/// The SARIF report.
pub const SARIF: &str = "report.sarif";
/// The audit log.
pub const AUDIT: &str = "audit.jsonl";

/// Bytes of an address in a patch's file name.
const ADDRESS_LEN: usize = 80;
/// Bytes of a rule in a patch's file name.
const RULE_LEN: usize = 40;

/// Where a fix's patch is in the bundle: `patches/0001-CKV_AWS_20-aws_s3_bucket.data.patch`. The number makes it unique.
pub(super) fn patch_name(report: &RunReport, number: usize, fix: &VerifiedFix) -> String {
    let id = fix.findings().first();
    let finding = report.outcomes.iter().map(|outcome| &outcome.finding).find(|finding| Some(&finding.id) == id);
    let (rule, place) = finding.map_or_else(Default::default, |finding| (finding.rule.clone(), finding.place()));
    format!("patches/{number:04}-{}-{}.patch", file_name_part(&rule, RULE_LEN), file_name_part(&place, ADDRESS_LEN))
}

/// The text with everything but letters, digits, `.`, `_` and `-` replaced by one `_`, cut to `limit` bytes. Never empty.
fn file_name_part(text: &str, limit: usize) -> String {
    let mut part = String::new();
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => part.push(c),
            _ if part.ends_with('_') && c != '_' => {}
            _ => part.push('_'),
        }
    }
    part.truncate(limit);
    let part = part.trim_matches(['_', '.']);
    if part.is_empty() { "x".to_owned() } else { part.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn patches_have_safe_names() {
        let report = sample::report();
        let names: Vec<_> = report.fixes.iter().enumerate().map(|(i, fix)| patch_name(&report, i + 1, fix)).collect();
        assert_eq!(
            names,
            [
                "patches/0001-CKV_AWS_20-aws_s3_bucket.data.patch",
                "patches/0002-CKV2_AWS_6-aws_s3_bucket.data.patch",
                "patches/0003-CKV_AWS_126-module.a_x_y_.aws_instance.web_0.patch",
            ]
        );
    }

    /// The bundle that `tests/cases` read: what is written is part of caulk's interface, so a change must be seen.
    /// `UPDATE=1 cargo test` writes it anew.
    #[test]
    fn the_format_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("caulk-out");
        write(&sample::report(), &out).unwrap();
        let golden = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundles/sample"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::remove_dir_all(golden).unwrap();
            write(&sample::report(), golden).unwrap();
        }
        for entry in walkdir::WalkDir::new(&out).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file()) {
            let name = entry.path().strip_prefix(&out).unwrap();
            let (now, before) = (std::fs::read(entry.path()).unwrap(), std::fs::read(golden.join(name)));
            assert_eq!(String::from_utf8(now).unwrap(), String::from_utf8(before.unwrap()).unwrap(), "{name:?}");
        }
        assert_eq!(Bundle::open(golden).unwrap().strangers().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn parts_of_names_are_cut_and_never_empty() {
        assert_eq!(file_name_part(&"a".repeat(500), 80).len(), 80);
        assert_eq!(file_name_part("../../etc/passwd", 80), "etc_passwd");
        assert_eq!(file_name_part("日本", 80), "x");
        assert_eq!(file_name_part("a[\"b c\"]", 80), "a_b_c");
    }
}
