//! The new blocks that an answer may add: of which types, and how they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::schema::{Block, Kind, Schemas, Type, Usage};
use crate::source::{BlockAddr, Body};

use super::names::Names;
use super::places::PLACES;
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
pub const SECURING: [&str; 35] = [
    "aws_cloudwatch_log_group",
    "aws_cloudwatch_log_resource_policy",
    "aws_flow_log",
    "aws_iam_instance_profile",
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

/// The resource types that companions of a target may have: those that its rule connects (another of its own type closes
/// nothing), those whose names begin with the target's type, and what much is secured with; all of the target's provider.
pub fn companion_types<'a>(
    target: &str,
    connected: impl IntoIterator<Item = &'a str>,
    known: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<String> {
    let own = format!("{target}_");
    let belongs = known.into_iter().filter(|ty| ty.starts_with(&own));
    let connected = connected.into_iter().filter(|ty| *ty != target);
    let types = connected.chain(belongs).chain(SECURING);
    types.filter(|ty| provider_of(ty) == provider_of(target) && is_name(ty)).map(str::to_owned).collect()
}

/// How many new blocks may lead from one to the next by what each requires.
const CHAIN: usize = 3;

/// The resource types that attributes mean by their names, as far as the schemas have them: those of the attributes that a
/// rule inspects, at the end of `paths` in the target, then those that blocks of `types` and of the types found require.
pub fn meant_types<'a>(
    schemas: &Schemas,
    target: &BlockAddr,
    paths: impl IntoIterator<Item = &'a [String]>,
    types: &BTreeSet<String>,
) -> BTreeSet<String> {
    let resource = |ty: &str| schemas.get(Kind::Resource, ty).map(|(schema, _)| schema);
    let Some(ty) = target.resource_type() else { return BTreeSet::new() };
    let meant = |attribute: &str, of: &str| {
        let (provider, words) = of.split_once('_')?;
        let noun = REFERRING.iter().find_map(|suffix| attribute.strip_suffix(suffix));
        let is_called =
            |(called, ty): &&(&str, &str)| *called == noun.unwrap_or(attribute) && provider_of(ty) == provider;
        if let Some((_, ty)) = CALLED.iter().find(is_called).filter(|(_, ty)| *ty != of && resource(ty).is_some()) {
            return Some((*ty).to_owned());
        }
        let noun = noun?;
        let service = words.split('_').next()?;
        // What it is for may stand before what it is, as in `cluster_subnet_group_name`.
        let words: Vec<&str> = noun.split('_').collect();
        let shorter = (1..words.len().saturating_sub(1)).map(|from| words[from..].join("_"));
        let mut called = [noun.to_owned()]
            .into_iter()
            .chain(shorter)
            .flat_map(|noun| [format!("{provider}_{noun}"), format!("{provider}_{service}_{noun}")]);
        called.find(|ty| ty != of && is_name(ty) && resource(ty).is_some())
    };
    let named = paths.into_iter().filter_map(|path| meant(path.last()?, ty));
    let mut found: BTreeSet<String> = named.collect();
    let mut next: Vec<String> = found.iter().chain(types).cloned().collect();
    for _ in 0..CHAIN {
        let mut more = Vec::new();
        for of in std::mem::take(&mut next) {
            let required = resource(&of).map(|schema| required(&schema)).unwrap_or_default();
            more.extend(required.iter().filter_map(|attribute| meant(attribute, &of)));
        }
        next = more.into_iter().filter(|ty| *ty != target.labels[0] && found.insert(ty.clone())).collect();
    }
    found
}

/// The texts that a block must hold, those of the blocks in it that it must have among them.
fn required(schema: &Block) -> Vec<String> {
    let own = schema.attributes.iter().filter(|(_, it)| it.usage == Usage::Required && can_link(&it.ty));
    let mut names: Vec<String> = own.map(|(name, _)| name.clone()).collect();
    names.extend(schema.blocks.values().filter(|nested| nested.min > 0).flat_map(|nested| required(&nested.block)));
    names
}

/// The attributes of a block that by their names lead to a block of a type: `vpc_id`, `bucket` or `server_id`, for
/// `aws_vpc`, `aws_s3_bucket` and `azurerm_mssql_server`.
pub(super) fn leading_to<'a>(schema: &'a Block, ty: &str) -> Vec<&'a str> {
    linkable(schema).into_iter().filter(|name| leads_to(name, ty)).collect()
}

/// The attributes that lead to a block of a type from inside of the blocks that a block must hold, and of those that its body
/// holds, by their paths: `private_service_connection.private_connection_resource_id`.
pub(super) fn leading_from_inside(schema: &Block, ty: &str, body: Option<&Body>) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (name, nested) in &schema.blocks {
        let inside = body.and_then(|body| body.blocks().find(|block| block.keyword == *name)).map(|block| &block.body);
        if nested.min == 0 && inside.is_none() {
            continue;
        }
        let own = leading_to(&nested.block, ty).into_iter().map(|attribute| vec![attribute.to_owned()]);
        for path in own.chain(leading_from_inside(&nested.block, ty, inside)) {
            paths.push([vec![name.clone()], path].concat());
        }
    }
    paths
}

/// Whether an attribute leads to a block of a type by its name.
pub(super) fn leads_to(attribute: &str, ty: &str) -> bool {
    let words: Vec<&str> = ty.split('_').skip(1).collect();
    let mut nouns = (0..words.len()).map(|from| words[from..].join("_"));
    let noun = REFERRING.iter().find_map(|suffix| attribute.strip_suffix(suffix)).unwrap_or(attribute);
    // `resource` and the like stand for whatever it is.
    nouns.any(|known| known == noun || format!("{known}s") == noun) || noun == "resource" || noun.ends_with("_resource")
}

/// Whether an attribute of a block of some type may name a block of another one, as `log_bucket` does `google_storage_bucket`.
pub fn may_name(attribute: &str, of: &str, ty: &str) -> bool {
    let noun = REFERRING.iter().find_map(|suffix| attribute.strip_suffix(suffix)).unwrap_or(attribute);
    let what = ty.rsplit('_').next().unwrap_or(ty);
    provider_of(of) == provider_of(ty) && (noun == what || noun.ends_with(&format!("_{what}")))
}

/// All attributes of a block that could hold a reference to another one: not those by which it says what and where it is.
pub(super) fn linkable(schema: &Block) -> Vec<&str> {
    let is_own = |name: &str| OWN.contains(&name) || PLACES.contains(&name);
    let settable = schema.attributes.iter().filter(|(name, attribute)| attribute.usage.is_settable() && !is_own(name));
    settable.filter(|(_, attribute)| can_link(&attribute.ty)).map(|(name, _)| name.as_str()).collect()
}

/// Attributes by which a block says what it is.
pub(super) const OWN: [&str; 7] = ["id", "name", "name_prefix", "description", "display_name", "type", "kind"];

fn can_link(ty: &Type) -> bool {
    match ty {
        Type::List(inner) | Type::Set(inner) => **inner == Type::String,
        ty => *ty == Type::String,
    }
}

/// What blocks are called in attributes, where it is not by their type.
const CALLED: [(&str, &str); 11] = [
    ("kms", "aws_kms_key"),
    ("kms_master_key", "aws_kms_key"),
    ("encryption_key", "aws_kms_key"),
    ("log_destination", "aws_cloudwatch_log_group"),
    ("log_destination_configs", "aws_cloudwatch_log_group"),
    ("signing_profile_version", "aws_signer_signing_profile"),
    ("web_acl", "aws_wafv2_web_acl"),
    ("web_application_firewall_policy_link", "azurerm_frontdoor_firewall_policy"),
    ("kms_key", "google_kms_crypto_key"),
    ("kms_key_self_link", "google_kms_crypto_key"),
    ("key_vault_key_identifier", "azurerm_key_vault_key"),
];

/// Whether an attribute means a block of a type by its name, as `kms_key_id` or `performance_insights_kms_key_id`
/// mean `aws_kms_key`: it names more than a word of the type, or says that what it holds refers to something.
pub(super) fn means(attribute: &str, ty: &str) -> bool {
    let suffix = REFERRING.iter().find(|suffix| attribute.ends_with(**suffix));
    let noun = suffix.and_then(|suffix| attribute.strip_suffix(suffix)).unwrap_or(attribute);
    let words: Vec<&str> = ty.split('_').skip(1).collect();
    let mut nouns = (0..words.len()).map(|from| words[from..].join("_"));
    let named = nouns.any(|known| match known.contains('_') {
        true => noun == known || noun.ends_with(&format!("_{known}")),
        // Roles are called by what they are for.
        false if ty == "aws_iam_role" => (noun == known || noun.ends_with("_role")) && suffix == Some(&"_arn"),
        // A word alone says it only where what is held refers to something.
        false => noun == known && suffix.is_some_and(|suffix| suffix.starts_with("_id") || suffix.starts_with("_arn")),
    });
    let called = CALLED.iter().filter(|(_, of)| *of == ty);
    named || called.into_iter().any(|(known, _)| noun == *known || noun.ends_with(&format!("_{known}")))
}

/// Whether an attribute calls a block in a way of its own.
pub(super) fn is_called_so(attribute: &str) -> bool {
    CALLED.iter().any(|(known, _)| *known == attribute)
}

/// What attributes of a new block call by a word alone.
pub(super) const CALLED_EXACTLY: [(&str, &str); 7] = [
    ("bucket", "aws_s3_bucket"),
    ("bucket", "google_storage_bucket"),
    ("key_ring", "google_kms_key_ring"),
    ("network", "google_compute_network"),
    ("role", "aws_iam_role"),
    ("subnetwork", "google_compute_subnetwork"),
    ("topic", "google_pubsub_topic"),
];

/// By which of its attributes a block of a type is called in an attribute that means it, where one is right.
pub(super) fn called_by(attribute: &str, ty: &str) -> Option<&'static str> {
    match attribute {
        // Google's keys are named by where they are.
        _ if ty == "google_kms_crypto_key" => Some("id"),
        "bucket" if ty == "google_storage_bucket" => Some("name"),
        "bucket" | "key_ring" | "network" | "subnetwork" | "topic" => Some("id"),
        // CloudFront's, of which the newer firewalls' are ARNs (provider's documentation).
        "web_acl_id" if ty == "aws_wafv2_web_acl" => Some("arn"),
        "log_destination_configs" => Some("arn"),
        "signing_profile_version_arns" => Some("version_arn"),
        // Azure's ids are all called so.
        _ if attribute.ends_with("_id") && provider_of(ty) == "azurerm" => Some("id"),
        _ if attribute.ends_with("_ids") => Some("id"),
        _ if attribute.ends_with("_name") || attribute.ends_with("_names") => Some("name"),
        _ if attribute.ends_with("_arn") || attribute.ends_with("_arns") => Some("arn"),
        _ => None,
    }
}

/// Whether an attribute says by its name that it holds what another thing is called.
pub(super) fn refers(attribute: &str) -> bool {
    REFERRING.iter().any(|suffix| attribute.ends_with(suffix))
}

/// What follows the name of a thing in the name of an attribute that leads to it.
const REFERRING: [&str; 7] = ["_id", "_ids", "_arn", "_arns", "_name", "_names", "_identifier"];

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

    /// How a new block of a type is called: as the target, if no block of that type is.
    pub(super) fn name_for(&self, names: &Names, ty: &str) -> Option<BlockAddr> {
        let suffix = ty.rsplit('_').next().unwrap_or_default();
        let candidates = [self.name.to_owned(), format!("{}_{suffix}", self.name)];
        let addrs = candidates.into_iter().map(|name| BlockAddr::resource(ty, name));
        let mut free = addrs.filter(|addr| !names.declare(addr));
        free.next()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_lead_to_types_by_their_names() {
        let schemas = Schemas::embedded();
        let leading = |ty: &str, to: &str| {
            let (schema, _) = schemas.get(Kind::Resource, ty).unwrap();
            leading_to(&schema, to).join(" ")
        };
        assert_eq!(leading("aws_s3_bucket_versioning", "aws_s3_bucket"), "bucket");
        assert_eq!(leading("aws_flow_log", "aws_vpc"), "vpc_id");
        assert_eq!(leading("aws_wafv2_web_acl_association", "aws_lb"), "resource_arn");
        assert_eq!(leading("azurerm_mssql_server_extended_auditing_policy", "azurerm_mssql_server"), "server_id");
        assert_eq!(leading("aws_db_instance", "aws_db_parameter_group"), "parameter_group_name");
        assert_eq!(leading("aws_cloudwatch_log_group", "aws_cloudtrail"), "");
        let (endpoint, _) = schemas.get(Kind::Resource, "azurerm_private_endpoint").unwrap();
        let inside = leading_from_inside(&endpoint, "azurerm_key_vault", None);
        assert_eq!(inside, [["private_service_connection", "private_connection_resource_id"]]);
    }

    #[test]
    fn what_a_block_is_called_makes_no_connection() {
        let (vault, _) = Schemas::embedded().get(Kind::Resource, "azurerm_key_vault").unwrap();
        assert!(!linkable(&vault).iter().any(|name| ["name", "location", "resource_group_name"].contains(name)));
    }

    #[test]
    fn what_is_inspected_or_required_tells_of_which_types_new_blocks_may_be() {
        let schemas = Schemas::embedded();
        let meant = |target: &str, path: &str, types: &[&str]| {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            let types = types.iter().map(|ty| (*ty).to_owned()).collect();
            let found = meant_types(&schemas, &BlockAddr::resource(target, "a"), [path.as_slice()], &types);
            found.into_iter().collect::<Vec<_>>().join(" ")
        };
        let signing = meant("aws_lambda_function", "code_signing_config_arn", &[]);
        assert_eq!(signing, "aws_lambda_code_signing_config aws_signer_signing_profile");
        assert_eq!(meant("aws_lambda_function", "memory_size", &[]), "");
        let endpoint = meant("azurerm_key_vault", "name", &["azurerm_private_endpoint"]);
        assert_eq!(endpoint, "azurerm_resource_group azurerm_subnet azurerm_virtual_network");
    }

    #[test]
    fn attributes_mean_types_by_their_names() {
        for (attribute, ty) in [
            ("kms_key_id", "aws_kms_key"),
            ("performance_insights_kms_key_id", "aws_kms_key"),
            ("kms_arn", "aws_kms_key"),
            ("key_id", "aws_kms_key"),
            ("kms_key_name", "google_kms_crypto_key"),
            ("key_vault_key_id", "azurerm_key_vault_key"),
            ("disk_encryption_set_id", "azurerm_disk_encryption_set"),
            ("log_group_name", "aws_cloudwatch_log_group"),
            ("log_destination", "aws_cloudwatch_log_group"),
            ("execution_role_arn", "aws_iam_role"),
            ("role_arn", "aws_iam_role"),
            ("signing_profile_version_arns", "aws_signer_signing_profile"),
        ] {
            assert!(means(attribute, ty), "{attribute} {ty}");
        }
        for (attribute, ty) in [
            ("key", "aws_kms_key"),
            ("role", "aws_iam_role"),
            ("key_name", "aws_kms_key"),
            ("group_name", "aws_security_group"),
            ("kms_key_id", "aws_sns_topic"),
        ] {
            assert!(!means(attribute, ty), "{attribute} {ty}");
        }
    }

    #[test]
    fn a_companion_is_called_as_the_target_where_it_can() {
        let types = BTreeSet::new();
        let new = New { types: &types, provider: Some("aws"), name: "a" };
        let mut names = Names::default();
        let mut called = || {
            let addr = new.name_for(&names, "aws_kms_key")?;
            names.add_new(&addr);
            addr.labels.get(1).cloned()
        };
        assert_eq!([called(), called(), called()], [Some("a".into()), Some("a_key".into()), None]);
    }
}
