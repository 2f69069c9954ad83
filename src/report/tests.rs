//! The formats on the sample reports of `tests/fixtures/reports`, written after the formats' documentation, and what
//! becomes of bad ones.

use std::path::PathBuf;

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports")
}

fn sample(name: &str) -> Report {
    read(&fixtures().join(name), &fixtures().join("tree")).unwrap()
}

/// Rule, severity, file, line, address of each finding.
fn short(report: &Report) -> Vec<String> {
    let line = |finding: &Finding| {
        let severity = finding.severity.map_or("-", crate::output::findings::severity_name);
        let address = finding.address.as_ref().map_or("-".to_owned(), ToString::to_string);
        format!("{} {severity} {}:{} {address}", finding.rule, finding.location.file, finding.location.start_line)
    };
    report.findings.iter().map(line).collect()
}

/// A report file of that text, read for the sample tree.
fn read_text(text: &str) -> Result<Report, ReportError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.json");
    std::fs::write(&file, text).unwrap();
    read(&file, &fixtures().join("tree"))
}

#[test]
fn checkov_json_of_one_framework() {
    let report = sample("checkov.json");
    assert_eq!(report.tool, Tool::Checkov);
    assert_eq!(
        short(&report),
        [
            "CKV_AWS_110 - main.tf:5 data.aws_iam_policy_document.all",
            "CKV2_AWS_6 medium modules/logs/main.tf:1 module.logs.aws_s3_bucket.logs",
        ]
    );
    assert_eq!(report.findings[0].hints.evaluated_keys, ["statement/[0]/actions"]);
    assert_eq!(report.findings[1].hints.guideline.as_deref(), Some("https://docs.example.com/rule"));
}

#[test]
fn checkov_json_of_several_frameworks_keeps_terraform() {
    let report = sample("checkov-list.json");
    assert_eq!(short(&report), ["CKV_TF_1 - main.tf:12 module.logs"]);
    assert_eq!(
        (report.refused[0].path.as_str(), report.refused[0].reason.as_str()),
        ("/Dockerfile", "not a Terraform file")
    );
}

#[test]
fn checkov_json_without_any_result_is_empty() {
    let report = read_text(r#"{"passed": 0, "failed": 0, "skipped": 0, "checkov_version": "3.3.30"}"#).unwrap();
    assert!(report.findings.is_empty());
}

#[test]
fn trivy_json() {
    let report = sample("trivy.json");
    assert_eq!(short(&report), ["AWS-0086 high main.tf:1 aws_s3_bucket.data", "AWS-0086 - modules/logs/main.tf:1 -"]);
    assert!(report.findings[0].hints.resolution.as_deref().unwrap().starts_with("Enable blocking"));
}

#[test]
fn tfsec_json_names_files_absolutely() {
    let root = fixtures().join("tree");
    let text = std::fs::read_to_string(fixtures().join("tfsec.json")).unwrap();
    let report = read_text(&text.replace("@ROOT@", &root.display().to_string())).unwrap();
    assert_eq!(
        (report.tool, short(&report)),
        (Tool::Tfsec, vec!["AVD-AWS-0088 high main.tf:1 aws_s3_bucket.data".to_owned()])
    );
    assert_eq!(report.findings[0].message, "Bucket does not have encryption enabled");
    assert!(read_text(r#"{"results": null}"#).unwrap().findings.is_empty());
}

#[test]
fn terrascan_json() {
    let report = sample("terrascan.json");
    assert_eq!(
        short(&report),
        ["AC_AWS_0214 high main.tf:1 aws_s3_bucket.data", "AC_AWS_0215 low modules/logs/main.tf:1 -"]
    );
    assert_eq!((report.tool, report.findings[1].message.as_str()), (Tool::Terrascan, "s3Versioning"));
}

#[test]
fn kics_json() {
    let report = sample("kics.json");
    let rule = "568a4d22-3517-44a6-a7ad-6a7eed88722c";
    assert_eq!(
        short(&report),
        [
            format!("{rule} high main.tf:1 aws_s3_bucket.data"),
            format!("{rule} high modules/logs/main.tf:1 aws_s3_bucket.logs"),
        ]
    );
    let hints = &report.findings[0].hints;
    assert_eq!(hints.expected.as_deref(), Some("'versioning' should be true"));
    assert_eq!(hints.actual.as_deref(), Some("'versioning' is undefined or null"));
}

#[test]
fn sarif_of_any_scanner() {
    let report = sample("rules.sarif");
    assert_eq!(report.tool, Tool::Trivy);
    assert_eq!(short(&report), ["AWS-0086 high main.tf:1 aws_s3_bucket.data", "AWS-0090 low modules/logs/main.tf:1 -"]);
    let first = &report.findings[0];
    assert_eq!(first.message, "S3 Access block should block public ACL");
    assert_eq!(first.hints.resolution.as_deref(), Some("S3 buckets should block public ACLs."));
    assert_eq!(report.findings[1].location.end_line, 1);
}

#[test]
fn several_reports_are_merged_and_each_finding_is_taken_once() {
    let files = ["checkov.json", "checkov-list.json", "checkov.json"].map(|name| fixtures().join(name));
    let report = read_all(&files, &fixtures().join("tree")).unwrap();
    assert_eq!((report.tool, report.findings.len(), report.refused.len()), (Tool::Checkov, 3, 1));
}

#[test]
fn a_truncated_report_says_where_it_ends() {
    let text = std::fs::read_to_string(fixtures().join("checkov.json")).unwrap();
    let error = read_text(&text[..text.len() / 2]).unwrap_err();
    assert!(matches!(error, ReportError::Syntax { truncated: true, .. }), "{error}");
    let failure = Failure::from(error);
    assert_eq!(failure.status, ExitStatus::Input);
    assert!(failure.what.contains("report.json:") && failure.what.contains("ends in the middle"), "{failure}");
}

#[test]
fn what_is_no_report_says_what_it_is() {
    let not_json = read_text("| table |").unwrap_err();
    assert!(matches!(not_json, ReportError::Syntax { truncated: false, line: 1, .. }));
    let unknown = read_text(r#"{"name": "x", "dependencies": {}}"#).unwrap_err();
    assert!(unknown.to_string().contains("an object with name, dependencies"), "{unknown}");
    assert!(Failure::from(unknown).hint.unwrap().contains("SARIF 2.1.0"));
    let wrong = read_text("{\"check_type\": \"terraform\",\n\"results\": {\"failed_checks\": 3}}").unwrap_err();
    assert!(matches!(wrong, ReportError::Format { format: "Checkov", line: 2, .. }), "{wrong}");
    let missing = read(Path::new("/no/such/report.json"), Path::new("/")).unwrap_err();
    assert_eq!(Failure::from(missing).status, ExitStatus::Input);
}

#[test]
fn a_report_of_another_tree_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = read(&fixtures().join("checkov.json"), dir.path()).unwrap_err();
    assert!(matches!(error, ReportError::OtherTree { refused: 2, total: 2, .. }));
    assert!(error.to_string().contains("/builds/fixture/tree/main.tf"), "{error}");
}

#[test]
fn a_byte_order_mark_does_no_harm() {
    let text = std::fs::read_to_string(fixtures().join("kics.json")).unwrap();
    assert_eq!(read_text(&format!("\u{feff}{text}")).unwrap().findings.len(), 2);
}

#[test]
fn a_log_of_several_runs_holds_the_findings_of_several_scanners() {
    let run = |driver: &str, rule: &str| {
        format!(
            r#"{{ "tool": {{ "driver": {{ "name": "{driver}" }} }}, "results": [{{ "ruleId": "{rule}", "message": {{ "text": "m" }},
            "locations": [{{ "physicalLocation": {{ "artifactLocation": {{ "uri": "main.tf" }}, "region": {{ "startLine": 1 }} }} }}] }}] }}"#
        )
    };
    let runs = [run("KICS", "a"), run("Checkov", "CKV_AWS_1"), run("Trivy", "AVD-AWS-1")].join(", ");
    let report = read_text(&format!(r#"{{ "version": "2.1.0", "runs": [{runs}] }}"#)).unwrap();
    let tools: Vec<Tool> = report.findings.iter().map(|finding| finding.tool).collect();
    assert_eq!(tools, [Tool::Kics, Tool::Checkov, Tool::Trivy]);
}
