//! The real Checkov and Trivy on small modules.

use std::path::Path;

use caulk::rules;
use caulk::scanner::checkov::{CheckovWorker, ScanRequest};
use caulk::scanner::trivy::Trivy;
use caulk::scanner::{CheckKey, Scan};
use caulk::source::RelPath;

use crate::common;

const ROOT: &str = r#"
provider "aws" {
  region     = "eu-central-1"
  access_key = "AKIAIOSFODNN7EXAMPLE"
}
data "aws_iam_policy_document" "all" {
  statement {
    actions   = ["*"]
    resources = ["*"]
  }
}
module "logs" {
  source   = "./modules/logs"
  for_each = toset(["a.b"])
}
resource "aws_s3_bucket" "counted" {
  count = 2
}
resource "aws_s3_bucket" "skipped" {
  #checkov:skip=CKV_AWS_18:kept without logs
}
"#;
const LOGS: &str = "resource \"aws_s3_bucket\" \"logs\" {\n  bucket = \"logs\"\n}\n";
const OTHER: &str = "resource \"aws_db_instance\" \"db\" {\n  storage_encrypted = true\n}\n";

fn module() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    common::write(dir.path(), &[("main.tf", ROOT), ("modules/logs/main.tf", LOGS), ("broken.tf", "resource \"x\" {")]);
    dir
}

fn failing(scan: &Scan, rule: &str) -> Vec<String> {
    let of_rule = scan.failed.iter().filter(|finding| finding.rule == rule);
    of_rule.map(|finding| format!("{} {}", finding.location.file, finding.place())).collect()
}

fn scan(worker: &mut CheckovWorker, root: &Path) -> Scan {
    worker.scan(&ScanRequest::all(root)).unwrap()
}

#[test]
fn policies_are_judged_by_what_they_are_now() {
    let mut worker = CheckovWorker::start(&common::python()).unwrap();
    let mut fails = |resource: &str| {
        let dir = tempfile::tempdir().unwrap();
        let statement = format!("{{ Effect = \"Allow\", Action = [\"s3:PutObject\"], Resource = \"{resource}\" }}");
        let policy = format!("jsonencode({{ Version = \"2012-10-17\", Statement = [{statement}] }})");
        let text = format!("resource \"aws_iam_policy\" \"p\" {{\n  name   = \"p\"\n  policy = {policy}\n}}\n");
        common::write(dir.path(), &[("main.tf", &text)]);
        !failing(&scan(&mut worker, dir.path()), "CKV_AWS_355").is_empty()
            || !failing(&scan(&mut worker, dir.path()), "CKV_AWS_290").is_empty()
    };
    let one = "arn:aws:s3:::b/*";
    assert_eq!([fails("*"), fails(one), fails("*"), fails(one)], [true, false, true, false]);
}

#[test]
fn checkov_names_blocks_of_every_kind_in_the_file_that_holds_them() {
    let python = common::python();
    let dir = module();
    let mut worker = CheckovWorker::start(&python).unwrap();
    let scan = scan(&mut worker, dir.path());
    assert_eq!(
        failing(&scan, "CKV2_AWS_6"),
        [
            "main.tf aws_s3_bucket.counted[0]",
            "main.tf aws_s3_bucket.counted[1]",
            "main.tf aws_s3_bucket.skipped",
            "modules/logs/main.tf module.logs[\"a.b\"].aws_s3_bucket.logs",
        ]
    );
    assert_eq!(failing(&scan, "CKV_AWS_41"), ["main.tf provider.aws"]);
    assert_eq!(failing(&scan, "CKV_AWS_110"), ["main.tf data.aws_iam_policy_document.all"]);
    let skipped = scan.skipped_keys.iter().find(|key| key.rule == "CKV_AWS_18").unwrap();
    assert_eq!(skipped.resource, "aws_s3_bucket.skipped");
    assert_eq!(scan.parse_errors, [RelPath::new("broken.tf").unwrap()]);
    assert_eq!(scan.failed.len(), scan.failed_keys.len());
}

#[test]
fn one_scan_leaves_nothing_behind_for_the_next() {
    let python = common::python();
    let (a, b) = (module(), tempfile::tempdir().unwrap());
    common::write(b.path(), &[("main.tf", OTHER)]);
    let mut worker = CheckovWorker::start(&python).unwrap();
    let first = scan(&mut worker, a.path());
    let other = scan(&mut worker, b.path());
    assert!(other.failed_keys.iter().all(|key| key.resource == "aws_db_instance.db"));
    assert!(other.passed_keys.contains(&CheckKey {
        rule: "CKV_AWS_16".into(),
        file: RelPath::new("main.tf").unwrap(),
        resource: "aws_db_instance.db".into(),
    }));
    assert_eq!(scan(&mut worker, a.path()).failed_keys, first.failed_keys);

    // The same folder with another text: nothing of the old one is remembered.
    common::write(b.path(), &[("main.tf", &OTHER.replace("true", "false"))]);
    assert_eq!(failing(&scan(&mut worker, b.path()), "CKV_AWS_16"), ["main.tf aws_db_instance.db"]);
}

#[test]
fn rules_and_scope_narrow_a_scan_and_configuration_files_do_not() {
    let python = common::python();
    let dir = module();
    common::write(dir.path(), &[(".checkov.yaml", "skip-check: [CKV2_AWS_6]\n"), (".checkov.baseline", "{}")]);
    let mut worker = CheckovWorker::start(&python).unwrap();
    let request = ScanRequest {
        rules: vec!["CKV2_AWS_6".into()],
        scope: vec![RelPath::new("modules").unwrap()],
        ..ScanRequest::all(dir.path())
    };
    let scan = worker.scan(&request).unwrap();
    assert_eq!((scan.failed.len(), scan.failed[0].rule.as_str()), (1, "CKV2_AWS_6"));
}

#[test]
fn a_module_outside_the_folder_is_only_counted() {
    let python = common::python();
    let dir = tempfile::tempdir().unwrap();
    common::write(
        dir.path(),
        &[("env/main.tf", "module \"m\" {\n  source = \"../logs\"\n}\n"), ("logs/main.tf", LOGS)],
    );
    let mut worker = CheckovWorker::start(&python).unwrap();
    let scan = scan(&mut worker, &dir.path().join("env"));
    assert!(scan.outside > 0 && scan.failed.is_empty());
}

#[test]
fn rules_say_what_they_want() {
    let python = common::python();
    let cache = tempfile::tempdir().unwrap();
    let mut worker = CheckovWorker::start(&python).unwrap();
    let version = worker.version().unwrap().to_owned();
    let wishes = rules::wishes(cache.path(), &version, &mut worker).unwrap();
    let asked =
        ["CKV_AWS_16", "CKV_AWS_158", "CKV_GCP_36", "CKV_AWS_24", "CKV2_AWS_6", "CKV_AWS_110", "CKV_TF_1", "NONE"];
    let found: Vec<_> = asked.iter().filter_map(|rule| wishes.get(*rule)).collect();
    let [value, any, negative, code, graph, data, module] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (value.inspected_key.as_deref(), value.expected.as_slice()),
        (Some("storage_encrypted"), &[true.into()][..])
    );
    assert!(any.any_value && any.expected.is_empty() && !any.code);
    assert_eq!((negative.forbidden.as_slice(), negative.absent_passes), (&[true.into()][..], true));
    assert!(code.source.as_ref().is_some_and(|s| s.starts_with("port = 22\ndef scan_resource_conf(self, conf):")));
    assert!(graph.graph.is_some() && graph.source.is_none());
    assert_eq!(graph.resource_types, ["aws_s3_bucket"]);
    assert_eq!((data.resource_types.as_slice(), data.code), (&["aws_iam_policy_document".to_owned()][..], true));
    assert!(module.source.as_ref().is_some_and(|s| s.contains("COMMIT_ID_PATTERN = ")));
    assert!(found.iter().all(|wish| !wish.to_prompt(1600).is_empty()));
    for wish in wishes.values() {
        let text = wish.to_prompt(1600);
        assert!(text.chars().count() <= 1600 && !text.contains("__init__"), "{}: {text}", wish.rule);
    }
    assert!(wishes.len() > 1000, "{} rules", wishes.len());
    // What all of them want of a key that is added beside something else.
    let house = rules::House::of(wishes.values());
    let wanted: Vec<_> = house.wants_of("aws_kms_key").iter().map(|wanted| wanted.path.join(".")).collect();
    assert!(wanted.contains(&"enable_key_rotation".to_owned()), "{wanted:?}");
}

#[test]
fn trivy_finds_and_says_its_version() {
    let binary = common::trivy();
    let dir = tempfile::tempdir().unwrap();
    common::write(dir.path(), &[("main.tf", LOGS), (".trivyignore", "AWS-0086\n")]);
    let trivy = Trivy::new(binary);
    assert!(trivy.version().unwrap().starts_with("0."));
    let scan = trivy.scan(dir.path()).unwrap();
    assert_eq!(failing(&scan, "AWS-0086"), ["main.tf aws_s3_bucket.logs"]);
    assert!(scan.failed[0].severity.is_some() && scan.failed[0].hints.resolution.is_some());
}
