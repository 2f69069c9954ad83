//! A run as tests need one: three findings fixed by three fixes (the second includes the first), one unfixed, one
//! skipped, a file that does not parse, a finding that was refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::edit::{Changeset, FileChange, TextEdit};
use crate::finding::{Finding, Location, Severity, Tool};
use crate::outcome::{
    Attempt, Gate, GenStats, Judgement, ModelIdentity, Outcome, Refused, Resolution, RunReport, ToolVersion, Verdict,
};
use crate::seal::{Seal, Side};
use crate::source::{BlockAddr, RelPath, ResourceAddr, SourceError};
use crate::validate::VerifiedFix;

use crate::digest::sha256_hex;

pub(super) const MAIN: &str = "\
resource \"aws_s3_bucket\" \"data\" {
  bucket = \"data\" # grün
  acl    = \"public-read\"
}

resource \"aws_instance\" \"web\" {
  ami = \"ami-1\"
}
";

pub(super) const NET: &str =
    "resource \"aws_security_group\" \"ssh\" {\r\n  ingress {\r\n    cidr_blocks = [\"0.0.0.0/0\"]\r\n  }\r\n}\r\n";

pub(super) fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// Replaces pieces of the base texts: file, text that stands there, text instead (an empty text appends).
pub(super) fn changeset(edits: &[(&str, &str, &str)]) -> Changeset {
    let base = base();
    let mut files: BTreeMap<RelPath, FileChange> = BTreeMap::new();
    for (file, find, insert) in edits {
        let text = &base[&path(file)];
        let start = if find.is_empty() { text.len() } else { text.find(find).unwrap() };
        let change = files.entry(path(file)).or_default();
        change.base_sha256 = sha256_hex(text.as_bytes());
        change.edits.push(TextEdit { range: start..start + find.len(), insert: (*insert).to_owned() });
    }
    Changeset { files }
}

pub(super) fn base() -> BTreeMap<RelPath, String> {
    [(path("main.tf"), MAIN.to_owned()), (path("net work/sg.tf"), NET.to_owned())].into()
}

fn finding(rule: &str, message: &str, file: &str, lines: (usize, usize), address: &str) -> Finding {
    let location = Location { file: path(file), start_line: lines.0, end_line: lines.1 };
    let address: ResourceAddr = address.parse().unwrap();
    Finding::new(Tool::Checkov, rule, message, location, Some(address))
}

fn verdict(gate: Gate, judgement: Judgement) -> Verdict {
    Verdict { gate, judgement, took: Duration::from_millis(12) }
}

fn pass(gate: Gate) -> Verdict {
    verdict(gate, Judgement::Pass { note: None })
}

fn attempt(number: usize, answer: &str, verdicts: Vec<Verdict>) -> Attempt {
    Attempt {
        led: crate::outcome::Led::Found,
        number,
        seed: (number > 1).then_some(7),
        prompt: "<|im_start|>user\nfix it<|im_end|>\n".to_owned(),
        grammars: vec!["start: \"resource\"".to_owned()],
        answer: answer.to_owned(),
        kept: None,
        complete: true,
        omitted: Vec::new(),
        stats: GenStats { prompt_tokens: 900, cached_tokens: 700, answer_tokens: 21, ..GenStats::default() },
        verdicts,
    }
}

const ACL: (&str, &str, &str) = ("main.tf", "\"public-read\"", "\"private\"");
const BLOCK: (&str, &str, &str) = (
    "main.tf",
    "",
    "\nresource \"aws_s3_bucket_public_access_block\" \"data\" {\n  bucket = aws_s3_bucket.data.id\n}\n",
);
const IMDS: (&str, &str, &str) = ("main.tf", "\"ami-1\"\n", "\"ami-1\"\n  monitoring = true\n");

pub(super) fn report() -> RunReport {
    let mut acl =
        finding("CKV_AWS_20", "S3 Bucket has an ACL that allows READ", "main.tf", (1, 4), "aws_s3_bucket.data");
    acl.severity = Some(Severity::High);
    acl.hints.guideline = Some("docs/s3-1".to_owned());
    let block = finding("CKV2_AWS_6", "S3 bucket has a Public Access block", "main.tf", (1, 4), "aws_s3_bucket.data");
    let imds =
        finding("CKV_AWS_126", "detailed monitoring", "main.tf", (6, 8), "module.a[\"x/y\"].aws_instance.web[0]");
    let ssh = finding("CKV_AWS_24", "no ingress from 0.0.0.0/0", "net work/sg.tf", (1, 5), "aws_security_group.ssh");
    let broken = finding("CKV_AWS_1", "a policy", "broken.tf", (3, 3), "aws_iam_policy.p");
    let fixes = vec![
        VerifiedFix::for_tests(&[&acl.id], changeset(&[ACL]), &[], &[], vec![pass(Gate::Parse), pass(Gate::Rescan)]),
        VerifiedFix::for_tests(
            &[&block.id],
            changeset(&[ACL, BLOCK]),
            &[1],
            &["terraform validate could not run"],
            vec![
                pass(Gate::Parse),
                verdict(Gate::Validate, Judgement::Unavailable { why: "no provider".to_owned() }),
                pass(Gate::Rescan),
            ],
        ),
        VerifiedFix::for_tests(&[&imds.id], changeset(&[IMDS]), &[], &[], vec![pass(Gate::Parse)]),
    ];
    let reject = Judgement::Reject { reasons: vec!["CKV_AWS_20 still fails".to_owned()] };
    let outcome = |finding: Finding, resolution, attempts| Outcome {
        target: finding.address.as_ref().map(|a| a.block.clone()),
        finding,
        resolution,
        attempts,
        seconds: 1.5,
    };
    let good = || vec![attempt(1, "resource …", vec![pass(Gate::Parse)])];
    let retried =
        vec![attempt(1, "{}", vec![verdict(Gate::Rescan, reject)]), attempt(2, "resource …", vec![pass(Gate::Parse)])];
    let unknown = "the office network is not known: name it in a variable".to_owned();
    let skipped = Resolution::Skipped { reason: "broken.tf does not parse".to_owned() };
    RunReport {
        root: PathBuf::from("/nowhere/sample"),
        tools: vec![
            ToolVersion { name: "checkov".to_owned(), version: Some("3.3.30".to_owned()) },
            ToolVersion { name: "terraform".to_owned(), version: None },
        ],
        model: Some(ModelIdentity {
            name: "qwen2.5-coder-1.5b".to_owned(),
            sha256: "ab".repeat(32),
            architecture: "qwen2".to_owned(),
            device: "cpu".to_owned(),
        }),
        seal: Seal {
            network: Side { sealed: true, how: "seccomp".to_owned() },
            writes: Side { sealed: false, how: "the system has no Landlock".to_owned() },
        },
        prompts_sha256: "cd".repeat(32),
        seed: 0,
        outcomes: vec![
            outcome(acl, Resolution::Fixed { fix: 1 }, retried),
            outcome(block, Resolution::Fixed { fix: 2 }, good()),
            outcome(imds, Resolution::Fixed { fix: 3 }, good()),
            outcome(ssh, Resolution::Unfixed { reason: unknown }, good()),
            Outcome {
                target: Some(BlockAddr::resource("aws_iam_policy", "p")),
                ..outcome(broken, skipped, Vec::new())
            },
        ],
        fixes,
        all: changeset(&[ACL, IMDS, BLOCK]),
        unreadable: vec![SourceError {
            file: path("broken.tf"),
            line: 3,
            column: 7,
            message: "expected `}`".to_owned(),
        }],
        refused: vec![Refused {
            rule: "CKV_AWS_9".to_owned(),
            path: "../other/x.tf".to_owned(),
            reason: "outside the root".to_owned(),
        }],
        started: 1_738_310_400,
        seconds: 48.25,
        base: base(),
    }
}
