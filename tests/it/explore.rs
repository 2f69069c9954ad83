//! What running the real rules on blocks shows.

use std::collections::BTreeMap;

use caulk::rules::{At, Must, Wanted};
use caulk::scanner::checkov::CheckovWorker;
use caulk::scanner::explore::Exploration;
use caulk::schema::{Kind, Schemas};
use caulk::source::{BlockAddr, RelPath};

use crate::common;

const MODULE: &str = r#"
variable "ranges" {
  default = ["0.0.0.0/0"]
}
resource "aws_security_group" "rules" {
  ingress {
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["10.0.0.0/8"]
  }
  ingress {
    from_port   = 22
    to_port     = 22
    cidr_blocks = ["10.0.0.0/8", "0.0.0.0/0"]
  }
}
resource "azurerm_search_service" "index" {
  replica_count = 1
}
resource "google_sql_database_instance" "db" {
  database_version = "POSTGRES_15"
  settings {
    tier = "db-f1-micro"
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
  }
}
resource "aws_redshift_parameter_group" "parameters" {
  family = "redshift-1.0"
}
resource "aws_cloudfront_response_headers_policy" "headers" {
  name = "h"
}
resource "aws_ebs_volume" "disk" {
  encrypted = true
}
resource "google_kms_crypto_key" "key" {
  name = "k"
}
resource "azurerm_storage_account" "logs" {
  name = "Acme_Logs"
}
resource "google_container_cluster" "bare" {
  name = "bare"
}
resource "aws_docdb_cluster_parameter_group" "parameters" {
  family = "docdb5.0"
}
resource "aws_glue_security_configuration" "plain" {
  name = "plain"
}
resource "aws_ecs_cluster" "quiet" {
  configuration {
    execute_command_configuration {
    }
  }
}
resource "kubernetes_pod" "pod" {
  spec {
    container {
      image = "nginx"
    }
  }
}
"#;

/// Each alternative as `path=values`, joined.
fn explored(worker: &mut CheckovWorker, module: &str, rule: &str, block: (&str, &str)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    common::write(dir.path(), &[("main.tf", module)]);
    let schema = Schemas::embedded().get(Kind::Resource, block.0).unwrap().0.with_lifecycle();
    let exploration = Exploration {
        root: dir.path(),
        rule,
        file: &RelPath::new("main.tf").unwrap(),
        block: &BlockAddr::resource(block.0, block.1),
        schema: &schema,
    };
    let found = worker.explore(&exploration).unwrap().ways;
    found.iter().map(|changes| changes.iter().map(told).collect::<Vec<_>>().join(" & ")).collect()
}

fn told(wanted: &Wanted) -> String {
    let at = match &wanted.at {
        At::All => String::new(),
        At::These(positions) => format!("{positions:?}"),
        At::New => "+".to_owned(),
        At::Inside(steps) => format!(">{}", serde_json::to_string(steps).unwrap()),
    };
    let must = match &wanted.must {
        Must::Be(values) => format!("={}", serde_json::to_string(values).unwrap()),
        Must::NotBe(values) => format!("!{}", serde_json::to_string(values).unwrap()),
        Must::Exist => "=*".to_owned(),
        Must::NotExist => "=-".to_owned(),
    };
    format!("{}{at}{must}", wanted.path.join("."))
}

#[test]
fn rules_that_are_code_show_what_satisfies_them() {
    let mut worker = CheckovWorker::start(&common::python()).unwrap();
    let mut of = |rule: &str, ty: &str, name: &str| explored(&mut worker, MODULE, rule, (ty, name));
    // What is open is taken out of the list of the block that is open. What else passes is told as well.
    let ssh = of("CKV_AWS_24", "aws_security_group", "rules");
    assert!(ssh.contains(&"ingress.cidr_blocks[1]=[[\"10.0.0.0/8\"]]".to_owned()), "{ssh:?}");
    // A bound.
    assert_eq!(of("CKV_AZURE_208", "azurerm_search_service", "index"), ["replica_count=[3,4]"]);
    // One more block; the one that stands is not made another.
    let flags = of("CKV_GCP_51", "google_sql_database_instance", "db");
    let on = r#"settings.database_flags.name+=["log_checkpoints"] & settings.database_flags.value+=["on"]"#;
    assert_eq!(flags, [on]);
    // Two steps, of which the first one alone does not do.
    assert_eq!(
        of("CKV_AWS_105", "aws_redshift_parameter_group", "parameters"),
        [r#"parameter.name=["require_ssl"] & parameter.value=[true]"#]
    );
    // Four of them, three of which are on the way.
    let headers = of("CKV_AWS_259", "aws_cloudfront_response_headers_policy", "headers");
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0].matches(" & ").count(), 3, "{headers:?}");
    assert_eq!(of("CKV_AWS_189", "aws_ebs_volume", "disk"), ["kms_key_id=*"]);
    assert_eq!(of("CKV_GCP_82", "google_kms_crypto_key", "key"), ["lifecycle.prevent_destroy=[true]"]);
    // The name that is there, as such a thing may be called.
    assert_eq!(of("CKV_AZURE_43", "azurerm_storage_account", "logs"), [r#"name=["acmelogs"]"#]);
    // Which version, and how much, the rules do not say.
    let image = of("CKV_K8S_14", "kubernetes_pod", "pod");
    assert!(image.len() == 1 && image[0].starts_with("spec.container.image!["), "{image:?}");
    assert!(image[0].contains(r#""nginx","nginx:latest""#), "{image:?}");
    let limit = of("CKV_K8S_11", "kubernetes_pod", "pod");
    assert_eq!(limit, [r#"spec.container.resources.limits=[{"cpu":null}]"#]);
    // Any entry of a map does.
    assert_eq!(of("CKV_GCP_21", "google_container_cluster", "bare"), ["resource_labels=*"]);
    // The value of a parameter is one of those that the rule looks for in it.
    let audit = of("CKV_AWS_104", "aws_docdb_cluster_parameter_group", "parameters");
    assert_eq!(audit, [r#"parameter.name=["audit_logs"] & parameter.value=["enabled","ddl","all"]"#]);
    // Five of them, in whatever order: one alternative for each set.
    let glue = of("CKV_AWS_99", "aws_glue_security_configuration", "plain");
    let sorted = |way: &String| way.split(" & ").map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let sets: std::collections::BTreeSet<_> = glue.iter().map(sorted).collect();
    assert!(!glue.is_empty() && sets.len() == glue.len(), "{glue:?}");
    // On the way to what passes, any key does.
    let commands = of("CKV_AWS_224", "aws_ecs_cluster", "quiet");
    assert!(!commands.is_empty() && commands.iter().all(|way| !way.contains("NONE")), "{commands:?}");
    // It does not fail there.
    assert!(of("CKV_AWS_3", "aws_ebs_volume", "disk").is_empty());
    assert!(of("CKV_NONE_1", "aws_ebs_volume", "disk").is_empty());
}

const DOCUMENTS: &str = r#"
resource "aws_sqs_queue_policy" "anybody" {
  queue_url = "https://queue"
  policy    = <<EOT
{"Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*", "arn:aws:iam::1:root"]}, "Action": "sqs:*", "Resource": "x"}]}
EOT
}
resource "aws_ecs_task_definition" "service" {
  family = "f"
  container_definitions = jsonencode([
    { name = "a", readonlyRootFilesystem = true },
    { name = "b", pidMode = "host" },
  ])
}
resource "aws_kms_key" "k" {
  policy = jsonencode({ Statement = [
    { Effect = "Deny", Principal = "*", Action = "kms:*", Resource = "*" },
    { Effect = "Allow", Principal = "*", Action = "kms:*", Resource = "*" },
  ] })
}
"#;

#[test]
fn changes_inside_documents_are_found() {
    let mut worker = CheckovWorker::start(&common::python()).unwrap();
    let mut of = |rule: &str, ty: &str, name: &str| explored(&mut worker, DOCUMENTS, rule, (ty, name));
    let queue = of("CKV_AWS_168", "aws_sqs_queue_policy", "anybody");
    assert!(queue.contains(&r#"policy>["Statement",0,"Principal","AWS",0]=-"#.to_owned()), "{queue:?}");
    assert_eq!(
        of("CKV_AWS_336", "aws_ecs_task_definition", "service"),
        [r#"container_definitions>[1,"readonlyRootFilesystem"]=[true]"#]
    );
    assert_eq!(of("CKV_AWS_335", "aws_ecs_task_definition", "service"), [r#"container_definitions>[1,"pidMode"]=-"#]);
    // A statement is not made another one: whom it is for is left open.
    let key = of("CKV_AWS_33", "aws_kms_key", "k");
    assert_eq!(key, ["policy=-", r#"policy>["Statement",1,"Principal"]=*"#]);
}

#[test]
fn what_was_found_before_the_runs_were_used_up_is_told() {
    let mut worker = CheckovWorker::start(&common::python()).unwrap();
    let long = format!("  description = \"{}\"\n  ingress {{", "x".repeat(400_000));
    let module = MODULE.replacen("  ingress {", &long, 1);
    let ssh = explored(&mut worker, &module, "CKV_AWS_24", ("aws_security_group", "rules"));
    assert!(ssh.contains(&"ingress.cidr_blocks[1]=[[\"10.0.0.0/8\"]]".to_owned()), "{ssh:?}");
}

#[test]
fn all_rules_show_what_they_want_of_new_blocks() {
    let mut worker = CheckovWorker::start(&common::python()).unwrap();
    let types = ["aws_kms_key", "aws_security_group"];
    let schema = |ty: &str| (ty.to_owned(), Schemas::embedded().get(Kind::Resource, ty).unwrap().0);
    let types: BTreeMap<_, _> = types.into_iter().map(schema).collect();
    let house = worker.house(&types).unwrap();
    let told = |ty: &str| house[ty].iter().flatten().flatten().map(told).collect::<Vec<_>>();
    assert!(told("aws_kms_key").contains(&"enable_key_rotation=[true]".to_owned()), "{:?}", told("aws_kms_key"));
    assert_eq!(told("aws_security_group"), ["description=*"]);
}
