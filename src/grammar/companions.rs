//! The new blocks that an answer may add: of which types, and how they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::schema::Kind;
use crate::source::BlockAddr;

use super::names::Names;
use super::{is_name, provider_of};

/// Data sources that need no argument: who and where one is.
const HERE: [&str; 7] = [
    "aws_caller_identity",
    "aws_partition",
    "aws_region",
    "azurerm_client_config",
    "azurerm_subscription",
    "google_client_config",
    "google_project",
];

/// Data sources whose arguments are a document.
const DOCUMENTS: [&str; 2] = ["aws_iam_policy_document", "google_iam_policy"];

/// What much else is secured with: keys, identities and their policies, logs, network rules.
const SECURING: [&str; 34] = [
    "aws_cloudwatch_log_group",
    "aws_cloudwatch_log_resource_policy",
    "aws_flow_log",
    "aws_iam_policy",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_iam_role_policy_attachment",
    "aws_kms_alias",
    "aws_kms_key",
    "aws_s3_bucket",
    "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block",
    "aws_security_group",
    "aws_sns_topic",
    "aws_sqs_queue",
    "azurerm_disk_encryption_set",
    "azurerm_key_vault",
    "azurerm_key_vault_access_policy",
    "azurerm_key_vault_key",
    "azurerm_log_analytics_workspace",
    "azurerm_monitor_diagnostic_setting",
    "azurerm_network_security_group",
    "azurerm_private_endpoint",
    "azurerm_storage_account",
    "azurerm_user_assigned_identity",
    "google_compute_firewall",
    "google_compute_security_policy",
    "google_kms_crypto_key",
    "google_kms_crypto_key_iam_member",
    "google_kms_key_ring",
    "google_service_account",
    "google_storage_bucket",
    "kubernetes_network_policy",
    "kubernetes_service_account",
];

/// The resource types that companions of a target may have: those that its rule connects, those whose names begin with the
/// target's type, and what much is secured with; all of the target's provider.
pub fn companion_types<'a>(
    target: &str,
    connected: impl IntoIterator<Item = &'a str>,
    known: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<String> {
    let own = format!("{target}_");
    let belongs = known.into_iter().filter(|ty| ty.starts_with(&own));
    let types = connected.into_iter().chain(belongs).chain(SECURING);
    types.filter(|ty| provider_of(ty) == provider_of(target) && is_name(ty)).map(str::to_owned).collect()
}

/// What may follow a block of an answer.
pub(super) struct Followers {
    /// Whether anything may, by the rule `added`.
    pub any: bool,
    /// Whether the header of a block may, by the rule `header`.
    pub header: bool,
    /// The rules.
    pub rules: String,
}

/// What new blocks of an answer may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct New<'a> {
    /// Types of resources.
    pub types: &'a BTreeSet<String>,
    /// The target's provider, if it has one.
    pub provider: Option<&'a str>,
    /// What they are named after: the target's name.
    pub name: &'a str,
}

impl<'a> New<'a> {
    fn data(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        HERE.into_iter().chain(DOCUMENTS).filter(|ty| Some(provider_of(ty)) == self.provider)
    }

    /// New blocks that an expression of the block `of` may name, each with its type and a regular expression of its names:
    /// those that are not declared yet.
    pub(super) fn referred(&self, names: &Names, of: &BlockAddr) -> Vec<(Kind, &'a str, String)> {
        let mut referred = Vec::new();
        let declared = |ty: &str| self.taken(names, ty).next().is_some();
        for ty in self.types.iter().filter(|ty| !declared(ty) && of.resource_type() != Some(ty)) {
            referred.push((Kind::Resource, ty.as_str(), format!("{}(_[a-z]+)?", self.name)));
        }
        for ty in self.data().filter(|ty| of.resource_type() != Some(ty)) {
            let free = self.free_data(names, ty);
            if !free.is_empty() {
                referred.push((Kind::Data, ty, format!("({})", free.join("|"))));
            }
        }
        referred
    }

    /// The names that a new block of a type might have but that are declared.
    fn taken<'n>(&self, names: &'n Names, ty: &str) -> impl Iterator<Item = &'n str> {
        let of_type =
            names.iter().filter(move |(addr, _)| addr.keyword == "resource" && addr.resource_type() == Some(ty));
        of_type
            .filter_map(|(addr, _)| addr.labels.get(1))
            .map(String::as_str)
            .filter(|name| name.starts_with(self.name))
    }

    fn free_data(&self, names: &Names, ty: &str) -> Vec<&'a str> {
        let free = |name: &&str| {
            !names.declare(&BlockAddr { keyword: "data".into(), labels: vec![ty.into(), (*name).into()] })
        };
        let mut candidates = vec!["current", self.name];
        candidates.dedup();
        candidates.into_iter().filter(free).collect()
    }

    /// What may follow a block: a data source without arguments, the header of another block. With that header the language
    /// ends, as the body is a matter of the type.
    pub(super) fn followers(&self, names: &Names) -> Followers {
        // Types by the names that are taken, as the others share one terminal.
        let mut types: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for ty in self.types {
            types.entry(self.taken(names, ty).collect()).or_default().push(ty);
        }
        let mut headers = Vec::new();
        let mut terminals = String::new();
        for (index, (taken, types)) in types.into_iter().enumerate() {
            let except = if taken.is_empty() { String::new() } else { format!(" & ~/{}/", taken.join("|")) };
            let _ = writeln!(terminals, "NEW{index}: /{}(_[a-z]+)?/{except}", self.name);
            headers.push(format!(r#""\n\nresource \"" ({}) "\" \"" NEW{index} "\" {{\n""#, either(&types)));
        }
        let mut whole = Vec::new();
        for ty in self.data() {
            for name in self.free_data(names, ty) {
                let header = format!(r"\n\ndata \{q}{ty}\{q} \{q}{name}\{q} {{", q = '"');
                match HERE.contains(&ty) {
                    true => whole.push(format!("\"{header}}}\"")),
                    false => headers.push(format!(r#""{header}\n""#)),
                }
            }
        }
        let mut ways = Vec::new();
        if !whole.is_empty() {
            let header = if headers.is_empty() { "" } else { " header?" };
            ways.push(format!("({}){header}", whole.join(" | ")));
        }
        if !headers.is_empty() {
            ways.push("header".to_owned());
        }
        let mut text = String::new();
        if !ways.is_empty() {
            let _ = writeln!(text, "added: {}", ways.join(" | "));
        }
        if !headers.is_empty() {
            let _ = writeln!(text, "header: {}", headers.join("\n  | "));
        }
        Followers { any: !ways.is_empty(), header: !headers.is_empty(), rules: text + &terminals }
    }

    /// Whether such a data source is complete without an argument.
    pub(super) fn needs_no_body(addr: &BlockAddr) -> bool {
        addr.keyword == "data" && addr.labels.first().is_some_and(|ty| HERE.contains(&ty.as_str()))
    }
}

fn either(words: &[&str]) -> String {
    words.iter().map(|word| super::hcl::quote(word)).collect::<Vec<_>>().join(" | ")
}
