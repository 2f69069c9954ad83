//! `caulk fix` as a whole: real Checkov, real Trivy, real terraform; answers of a log where the test is about what is
//! made of them, of the small real model where it is about the way itself.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common;

const MODULE: &str = r#"# The team's topics.
resource "aws_sns_topic" "orders" {
  name = "orders" # announced to all shops
}

resource "aws_sqs_queue" "orders" {
  name                      = "orders"
  message_retention_seconds = 86400
}
"#;

const TOPIC: (&str, &str) = ("CKV_AWS_26", "aws_sns_topic.orders");
const QUEUE: (&str, &str) = ("CKV_AWS_27", "aws_sqs_queue.orders");

fn caulk(dir: &Path, args: &[&str]) -> Output {
    common::ready();
    common::caulk().current_dir(dir).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The ids of the findings of a folder, by rule and address.
fn ids(dir: &Path) -> BTreeMap<(String, String), String> {
    let output = caulk(dir, &["scan", "--format", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = found["findings"].as_array().unwrap();
    findings.iter().map(|f| ((text(f, "rule"), text(f, "address")), text(f, "id"))).collect()
}

/// Writes a log in which these answers were given, in order, for a finding each.
fn log(dir: &Path, answers: &[((&str, &str), &[&str])]) {
    let ids = ids(dir);
    let mut lines = String::new();
    for ((rule, address), answers) in answers {
        let id = &ids[&((*rule).to_owned(), (*address).to_owned())];
        for (index, answer) in answers.iter().enumerate() {
            let attempt = json!({ "number": index + 1, "answer": answer });
            lines += &format!("{}\n", json!({ "kind": "attempt", "finding": id, "attempt": attempt }));
        }
    }
    std::fs::write(dir.join("answers.jsonl"), lines).unwrap();
}

/// Runs the answers, and gives the manifest.
fn replayed(dir: &Path, answers: &[((&str, &str), &[&str])]) -> Value {
    log(dir, answers);
    let output = caulk(dir, &["fix", "--replay", "answers.jsonl", "--quiet"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
    manifest(dir)
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("caulk-out/manifest.json")).unwrap()).unwrap()
}

/// The outcome and the reason of a finding.
fn outcome(manifest: &Value, (rule, address): (&str, &str)) -> (String, String) {
    let findings = manifest["findings"].as_array().unwrap();
    let finding = findings.iter().find(|f| f["rule"] == rule && f["address"] == address).unwrap();
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("reason"))
}

fn git_apply(dir: &Path, args: &[&str]) -> bool {
    Command::new("git").current_dir(dir).arg("apply").args(args).status().unwrap().success()
}

fn module() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    common::write(dir.path(), &[("main.tf", MODULE)]);
    dir
}

const ENCRYPTED_QUEUE: &str = "resource \"aws_sqs_queue\" \"orders\" {\n  sqs_managed_sse_enabled = true\n}";
const ENCRYPTED_TOPIC: &str = "resource \"aws_sns_topic\" \"orders\" {\n  kms_master_key_id = \"alias/aws/sns\"\n}";

#[test]
fn a_proven_answer_becomes_a_patch_that_closes_exactly_what_the_manifest_says() {
    let dir = module();
    let manifest = replayed(dir.path(), &[(TOPIC, &[ENCRYPTED_TOPIC]), (QUEUE, &[ENCRYPTED_QUEUE])]);
    assert_eq!(outcome(&manifest, QUEUE).0, "fixed", "{manifest}");
    assert_eq!(std::fs::read_to_string(dir.path().join("main.tf")).unwrap(), MODULE);
    let before = ids(dir.path());
    for entry in std::fs::read_dir(dir.path().join("caulk-out/patches")).unwrap() {
        assert!(git_apply(dir.path(), &["--check", entry.unwrap().path().to_str().unwrap()]));
    }
    assert!(git_apply(dir.path(), &["caulk-out/all.patch"]));
    let after = ids(dir.path());
    let fixed: Vec<_> = before.keys().filter(|(rule, at)| outcome(&manifest, (rule, at)).0 == "fixed").collect();
    let gone: Vec<_> = before.keys().filter(|key| !after.contains_key(*key)).collect();
    assert_eq!(gone, fixed);
    assert!(after.keys().all(|key| before.contains_key(key)));
    let text = std::fs::read_to_string(dir.path().join("main.tf")).unwrap();
    assert!(
        text.starts_with("# The team's topics.\n") && text.contains("\"orders\" # announced to all shops\n"),
        "{text}"
    );
}

#[test]
fn what_is_refused_is_told_and_a_later_answer_may_pass() {
    let dir = module();
    let open = "resource \"aws_sqs_queue\" \"orders\" {\n  message_retention_seconds = 3600\n}";
    let manifest = replayed(dir.path(), &[(QUEUE, &[open, ENCRYPTED_QUEUE])]);
    assert_eq!(outcome(&manifest, QUEUE).0, "fixed");
    let audit = std::fs::read_to_string(dir.path().join("caulk-out/audit.jsonl")).unwrap();
    assert!(audit.contains("CKV_AWS_27 still fails on aws_sqs_queue.orders"), "{audit}");
    // The topic has no answer in the log.
    assert_eq!(
        outcome(&manifest, TOPIC),
        ("unfixed".into(), "the log has no answer for it that is allowed and new".into())
    );
}

#[test]
fn answers_that_hide_or_invent_are_never_emitted() {
    let dir = module();
    let none: [&[&str]; 4] = [
        &["resource \"aws_sqs_queue\" \"orders\" {\n  count = 0\n}"],
        &["resource \"aws_sqs_queue\" \"orders\" {\n  name = \"orders\" # checkov:skip=CKV_AWS_27\n}"],
        &["resource \"aws_sqs_queue\" \"orders\" {\n  kms_master_key_id = \"your-key\"\n}"],
        &["resource \"aws_sqs_queue\" \"orders\" {\n  kms_master_key_id = aws_kms_key.orders.id\n}"],
    ];
    for answers in none {
        let manifest = replayed(dir.path(), &[(QUEUE, answers)]);
        assert_ne!(outcome(&manifest, QUEUE).0, "fixed", "{answers:?}");
        assert!(!dir.path().join("caulk-out/all.patch").exists());
    }
}

#[test]
fn a_companion_that_brings_a_new_finding_is_refused() {
    let dir = module();
    let answer = "resource \"aws_sqs_queue\" \"orders\" {\n  sqs_managed_sse_enabled = true\n}\n\n\
                  resource \"aws_security_group\" \"orders\" {\n  description = \"Guards the queue\"\n}";
    let manifest = replayed(dir.path(), &[(QUEUE, &[answer])]);
    let (outcome, reason) = outcome(&manifest, QUEUE);
    assert_eq!(outcome, "unfixed");
    assert!(reason.contains("a new finding: CKV2_AWS_5 fails on aws_security_group.orders"), "{reason}");
}

/// A key that no scanner has anything against, and the topic that uses it.
const TOPIC_WITH_KEY: &str = r#"resource "aws_sns_topic" "orders" {
  kms_master_key_id = aws_kms_key.orders.arn
}

resource "aws_kms_key" "orders" {
  description = "Encrypts orders"
  enable_key_rotation = true
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          AWS = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"
        }
        Action = "kms:*"
        Resource = "*"
      },
    ]
  })
}

data "aws_caller_identity" "current" {}"#;

#[test]
fn a_fix_that_the_second_scanner_refuses_is_taken_back_and_tried_again() {
    let dir = module();
    // Trivy wants a key of the customer's own.
    let manifest = replayed(dir.path(), &[(TOPIC, &[ENCRYPTED_TOPIC])]);
    let (result, reason) = outcome(&manifest, TOPIC);
    assert_eq!(result, "unfixed");
    assert!(reason.contains("taken back") && reason.contains("AWS-0136"), "{reason}");
    assert!(!dir.path().join("caulk-out/all.patch").exists());
    let manifest = replayed(dir.path(), &[(TOPIC, &[ENCRYPTED_TOPIC, TOPIC_WITH_KEY])]);
    assert_eq!(outcome(&manifest, TOPIC).0, "fixed", "{manifest}");
}

#[test]
fn a_patch_that_builds_on_another_holds_it_and_applies_alone() {
    let dir = module();
    let queue = "resource \"aws_sqs_queue\" \"orders\" {\n  kms_master_key_id = aws_kms_key.orders.id\n}";
    let manifest = replayed(dir.path(), &[(TOPIC, &[TOPIC_WITH_KEY]), (QUEUE, &[queue])]);
    assert_eq!(manifest["fixes"][1]["includes"], json!([1]), "{manifest}");
    let patch = manifest["fixes"][1]["patch"].as_str().unwrap();
    assert!(git_apply(dir.path(), &[&format!("caulk-out/{patch}")]));
    assert!(!ids(dir.path()).contains_key(&(QUEUE.0.to_owned(), QUEUE.1.to_owned())));
}

#[test]
fn a_patch_holds_no_more_than_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let database = "\nresource \"aws_db_instance\" \"main\" {\n  engine = \"postgres\"\n}\n";
    common::write(dir.path(), &[("main.tf", &format!("{MODULE}{database}"))]);
    let answer = |name: &str| format!("resource \"aws_db_instance\" \"main\" {{\n  {name} = true\n}}");
    let (login, kept) = (("CKV_AWS_161", "aws_db_instance.main"), ("CKV_AWS_293", "aws_db_instance.main"));
    // The second line is aligned with the first one, and by itself `terraform fmt` would have it otherwise.
    let manifest = replayed(
        dir.path(),
        &[
            (QUEUE, &[ENCRYPTED_QUEUE]),
            (login, &[&answer("iam_database_authentication_enabled")]),
            (kept, &[&answer("deletion_protection")]),
        ],
    );
    assert_eq!(outcome(&manifest, kept).0, "fixed", "{manifest}");
    assert_eq!(manifest["fixes"][2]["includes"], json!([2]), "{manifest}");
    let own = manifest["fixes"][1]["applicability"].clone();
    assert_eq!(manifest["fixes"][2]["applicability"], own, "{manifest}");
}

#[test]
fn of_a_free_answer_the_least_that_does_is_kept() {
    let dir = module();
    // That the queue waits is nothing to the rule.
    let answer = "resource \"aws_sqs_queue\" \"orders\" {\n  delay_seconds = 5\n  sqs_managed_sse_enabled = true\n}";
    let least = "resource \"aws_sqs_queue\" \"orders\" {\n  sqs_managed_sse_enabled = true\n}";
    let manifest = replayed(dir.path(), &[(QUEUE, &["", "", answer]), (TOPIC, &[TOPIC_WITH_KEY])]);
    assert_eq!(outcome(&manifest, QUEUE).0, "fixed", "{manifest}");
    // The next finding of the module is judged on top of what was kept.
    assert_eq!(outcome(&manifest, TOPIC).0, "fixed", "{manifest}");
    let patch = std::fs::read_to_string(dir.path().join("caulk-out/all.patch")).unwrap();
    assert!(patch.contains("sqs_managed_sse_enabled") && !patch.contains("delay_seconds"), "{patch}");
    let log = std::fs::read_to_string(dir.path().join("caulk-out/audit.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let kept: Vec<Value> = lines.map(|line| line["attempt"]["kept"].clone()).filter(|kept| !kept.is_null()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["answer"].as_str().unwrap().trim_end(), least);
    assert_eq!(kept[0]["tried"].as_array().unwrap().len(), 2, "{kept:?}");
}

#[test]
fn what_neither_rule_nor_module_tells_is_for_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = "resource \"google_container_cluster\" \"main\" {\n  name               = \"main\"\n  \
                   monitoring_service = \"none\"\n}\n";
    common::write(dir.path(), &[("main.tf", cluster)]);
    let answer =
        "resource \"google_container_cluster\" \"main\" {\n  monitoring_service = \"monitoring.googleapis.com\"\n}";
    let finding = ("CKV_GCP_8", "google_container_cluster.main");
    let manifest = replayed(dir.path(), &[(finding, &[answer])]);
    assert_eq!(outcome(&manifest, finding).0, "fixed", "{manifest}");
    let fix = &manifest["fixes"][0];
    assert_eq!(fix["applicability"], "review");
    assert!(fix["review_reasons"].to_string().contains("whether `monitoring_service` is to be"), "{fix}");
}

#[test]
fn values_of_the_house_are_written_where_they_belong_without_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let volume =
        "resource \"aws_ebs_volume\" \"data\" {\n  availability_zone = \"eu-west-1a\"\n  encrypted         = true\n}\n";
    let key = "arn:aws:kms:eu-west-1:111122223333:key/0f3a";
    let house = format!("[[value]]\nattribute = \"kms_key_id\"\ntypes = [\"aws_*\"]\nvalue = \"{key}\"\n");
    common::write(dir.path(), &[("main.tf", volume), ("caulk.toml", &house)]);
    let fix = ["fix", "--model", "none", "--rule", "CKV_AWS_189"];
    let output = caulk(dir.path(), &[fix.as_slice(), &["--apply"]].concat());
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
    let after = std::fs::read_to_string(dir.path().join("main.tf")).unwrap();
    assert_eq!(after, volume.replace("true\n}", &format!("true\n  kms_key_id        = \"{key}\"\n}}")));
    common::write(dir.path(), &[("house/keys.toml", "[[values]]\n")]);
    let output = caulk(dir.path(), &[fix.as_slice(), &["--knowledge", "house"]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("keys.toml") && stderr(&output).contains("values"), "{}", stderr(&output));
}

#[test]
fn a_secret_is_left_to_a_variable() {
    let dir = tempfile::tempdir().unwrap();
    let cache = "resource \"aws_elasticache_replication_group\" \"cache\" {\n  replication_group_id       = \"cache\"\n  \
                 description                = \"Sessions.\"\n  transit_encryption_enabled = true\n}\n";
    common::write(dir.path(), &[("main.tf", cache)]);
    let output = caulk(dir.path(), &["fix", "--model", "none", "--rule", "CKV_AWS_31", "--apply"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
    let after = std::fs::read_to_string(dir.path().join("main.tf")).unwrap();
    assert!(after.contains("auth_token                 = var.cache_auth_token\n"), "{after}");
    assert!(after.contains("variable \"cache_auth_token\" {") && after.contains("sensitive   = true"), "{after}");
    let fix = &manifest(dir.path())["fixes"][0];
    assert_eq!(fix["applicability"], "review");
    assert!(fix["review_reasons"].to_string().contains("has to be given a value"), "{fix}");
}

#[test]
fn several_root_modules_are_fixed_in_one_run_and_none_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("z.tf", MODULE), ("net/main.tf", MODULE), ("net/deep/main.tf", MODULE)];
    common::write(dir.path(), &files);
    let ids: Vec<String> = {
        let output = caulk(dir.path(), &["scan", "--format", "json", "--rule", QUEUE.0]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        found["findings"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids.len(), 3);
    let line = |id: &String| {
        let attempt = json!({ "number": 1, "answer": ENCRYPTED_QUEUE });
        format!("{}\n", json!({ "kind": "attempt", "finding": id, "attempt": attempt }))
    };
    std::fs::write(dir.path().join("answers.jsonl"), ids.iter().map(line).collect::<String>()).unwrap();
    let output = caulk(dir.path(), &["fix", "--replay", "answers.jsonl", "--rule", QUEUE.0]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for (name, text) in files {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), text, "{name}");
    }
    assert!(git_apply(dir.path(), &["--check", "caulk-out/all.patch"]));
}

#[test]
fn a_report_of_another_scanner_goes_the_same_way() {
    let dir = module();
    let report = json!({ "results": [{
        "rule_id": "AVD-AWS-0096", "long_id": "aws-sqs-enable-queue-encryption", "rule_description": "Unencrypted SQS queue.",
        "rule_provider": "aws", "rule_service": "sqs", "impact": "", "resolution": "Turn on SQS Queue encryption",
        "links": [], "description": "Queue is not encrypted", "severity": "HIGH", "status": 0,
        "resource": "aws_sqs_queue.orders",
        "location": { "filename": dir.path().join("main.tf"), "start_line": 6, "end_line": 9 }
    }] });
    std::fs::write(dir.path().join("tfsec.json"), report.to_string()).unwrap();
    let first = caulk(dir.path(), &["fix", "--report", "tfsec.json", "--replay", "/dev/null"]);
    assert_eq!(first.status.code(), Some(3), "{}", stderr(&first));
    // The id of a finding is what a run says it is: ask one that has no answer to it.
    let other = json!({ "kind": "attempt", "finding": "none", "attempt": { "number": 1, "answer": "" } });
    std::fs::write(dir.path().join("answers.jsonl"), format!("{other}\n")).unwrap();
    let args = ["fix", "--report", "tfsec.json", "--replay", "answers.jsonl"];
    assert_eq!(caulk(dir.path(), &args).status.code(), Some(1));
    let id = manifest(dir.path())["findings"][0]["id"].clone();
    let answer = json!({ "kind": "attempt", "finding": id, "attempt": { "number": 1, "answer": ENCRYPTED_QUEUE } });
    std::fs::write(dir.path().join("answers.jsonl"), format!("{answer}\n")).unwrap();
    let output = caulk(dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(manifest(dir.path())["findings"][0]["outcome"], "fixed");
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    common::ready();
    let dir = module();
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let prompts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/prompts");
    let args = ["fix", "--model", common::SMALL_MODEL, "--prompts", prompts, "--candidates", "9"];
    let mut child = common::caulk()
        .current_dir(dir.path())
        .env("TMPDIR", &temporary)
        .args(args)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The run says when it has begun to fix.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("fixing")));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_to_string(dir.path().join("main.tf")).unwrap(), MODULE);
    assert!(!dir.path().join("caulk-out").exists());
    // Checkov's parser keeps a cache of its own there.
    let mut left = std::fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_string_lossy().starts_with("caulk-")));
}

#[test]
fn apply_writes_the_files_and_a_file_that_changed_is_left_alone() {
    let dir = module();
    log(dir.path(), &[(QUEUE, &[ENCRYPTED_QUEUE])]);
    let output = caulk(dir.path(), &["fix", "--replay", "answers.jsonl", "--apply", "--rule", "CKV_AWS_27"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let applied = std::fs::read_to_string(dir.path().join("main.tf")).unwrap();
    assert!(applied.contains("  sqs_managed_sse_enabled   = true\n"), "{applied}");
    let again = caulk(dir.path(), &["apply"]);
    assert_eq!(again.status.code(), Some(3), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(dir.path().join("main.tf")).unwrap(), applied);
}

#[test]
fn a_file_that_does_not_parse_is_skipped_with_the_parsers_message() {
    let dir = module();
    common::write(dir.path(), &[("broken.tf", "resource \"aws_sqs_queue\" \"b\" {\n  name = \n}\n")]);
    let manifest = replayed(dir.path(), &[(QUEUE, &[ENCRYPTED_QUEUE])]);
    assert_eq!(outcome(&manifest, QUEUE).0, "fixed");
    assert_eq!(manifest["unreadable"][0]["file"], "broken.tf", "{manifest}");
    assert_eq!(manifest["unreadable"][0]["line"], 2, "{manifest}");
}

#[test]
fn a_document_changes_in_one_place_without_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let module = "resource \"aws_batch_job_definition\" \"nightly\" {\n  name = \"nightly\"\n  type = \"container\"\n\n  \
                  container_properties = <<JSON\n{\n    \"image\":      \"busybox\",\n    \"privileged\": true,\n    \
                  \"vcpus\": 1\n}\nJSON\n}\n";
    common::write(dir.path(), &[("main.tf", module)]);
    let output = caulk(dir.path(), &["fix", "--model", "none", "--rule", "CKV_AWS_210", "--apply"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
    let after = std::fs::read_to_string(dir.path().join("main.tf")).unwrap();
    assert_eq!(after, module.replace("\"privileged\": true", "\"privileged\": false"));
}

#[test]
fn what_only_a_person_can_decide_is_abstained_from() {
    let dir = tempfile::tempdir().unwrap();
    common::write(dir.path(), &[("main.tf", "resource \"aws_iam_user\" \"ci\" {\n  name = \"ci\"\n}\n")]);
    let output = caulk(dir.path(), &["fix", "--model", "none", "--rule", "CKV_AWS_273"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let (result, reason) = outcome(&manifest(dir.path()), ("CKV_AWS_273", "aws_iam_user.ci"));
    assert_eq!(result, "abstained");
    assert!(reason.contains("yours to decide"), "{reason}");
}

#[test]
fn the_small_model_goes_the_whole_way() {
    let dir = module();
    // The small model's weights have no fast kernel: a short prompt keeps this test in seconds.
    let prompts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/prompts");
    let args =
        ["fix", "--model", common::SMALL_MODEL, "--prompts", prompts, "--candidates", "1", "--rule", "CKV_AWS_27"];
    let output = caulk(dir.path(), &args);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(dir.path().join("main.tf")).unwrap(), MODULE);
    let audit = std::fs::read_to_string(dir.path().join("caulk-out/audit.jsonl")).unwrap();
    let attempt =
        audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|l| l["kind"] == "attempt");
    let answer = attempt.unwrap()["attempt"]["answer"].as_str().unwrap().to_owned();
    assert!(answer.starts_with("resource \"aws_sqs_queue\" \"orders\" {\n"), "{answer}");
    let verified = caulk(dir.path(), &["bundle", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
}

/// A manifest without what differs from one run to the next, whatever is fixed.
fn timeless(manifest: &Value) -> Value {
    match manifest {
        Value::Object(entries) => {
            let lasting =
                entries.iter().filter(|(key, _)| !["seconds", "started", "root", "files"].contains(&key.as_str()));
            lasting.map(|(key, value)| (key.clone(), timeless(value))).collect()
        }
        Value::Array(values) => values.iter().map(timeless).collect(),
        other => other.clone(),
    }
}

#[test]
fn answers_that_are_written_at_once_are_those_of_one_after_the_other() {
    common::qwen();
    let types = ["aws_sns_topic", "aws_sqs_queue", "aws_cloudwatch_log_group", "aws_ecr_repository"];
    let files =
        types.map(|ty| (format!("{ty}/main.tf"), format!("resource \"{ty}\" \"a\" {{\n  name = \"orders\"\n}}\n")));
    let prompts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/prompts");
    let rules = ["CKV_AWS_26", "CKV_AWS_27", "CKV_AWS_158", "CKV_AWS_136"];
    let manifests = ["1", "3"].map(|parallel| {
        let dir = tempfile::tempdir().unwrap();
        common::write(dir.path(), &files.each_ref().map(|(path, text)| (path.as_str(), text.as_str())));
        let mut args = vec!["fix", "--prompts", prompts, "--effort", "low", "--parallel", parallel];
        args.extend(rules.iter().flat_map(|rule| ["--rule", rule]));
        let output = caulk(dir.path(), &args);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
        timeless(&manifest(dir.path()))
    });
    let asked = manifests[0]["findings"].as_array().unwrap().iter().filter(|finding| finding["attempts"] != json!([]));
    assert!(asked.count() > 1, "the model is asked: {:#}", manifests[0]);
    assert_eq!(manifests[0], manifests[1]);
}

#[test]
fn bad_input_has_its_exit_code_and_writes_nothing() {
    let dir = module();
    common::write(dir.path(), &[("cut.json", "{\"results\": {\"failed_che"), ("model.gguf", "GGUF"), ("taken/x", "x")]);
    log(dir.path(), &[]);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["fix", "nowhere"], 3, "nowhere"),
        (&["fix", "--report", "cut.json"], 3, "cut.json"),
        (&["fix", "--model", "model.gguf"], 5, "model.gguf"),
        (&["fix", "--model", "no-such-model"], 2, "no-such-model"),
        (&["fix", "--out", "taken"], 2, "taken"),
        (&["fix", "--replay", "answers.jsonl"], 3, "answers.jsonl"),
    ];
    for (args, code, named) in cases {
        let output = caulk(dir.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(named), "{args:?}: {}", stderr(&output));
        assert!(!dir.path().join("caulk-out").exists(), "{args:?}");
    }
    let empty = tempfile::tempdir().unwrap();
    let output = common::caulk().current_dir(dir.path()).env("CAULK_CACHE", empty.path()).arg("scan").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("caulk setup"), "{}", stderr(&output));
}

#[test]
fn a_bundle_that_lies_elsewhere_is_told_where_to_apply() {
    let (dir, elsewhere) = (module(), tempfile::tempdir().unwrap());
    let module = dir.path().display().to_string();
    let output = caulk(elsewhere.path(), &["fix", &module, "--model", "none"]);
    assert!(stderr(&output).contains(&format!("`caulk apply caulk-out --root {module}`")), "{}", stderr(&output));
    let output = caulk(elsewhere.path(), &["apply"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("there is no main.tf here"), "{}", stderr(&output));
    let output = caulk(elsewhere.path(), &["apply", "--root", &module]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
