//! What must stand in a nested block that does nothing while it is empty: where one only has to be there, the scanner is content
//! with an empty one, and nothing is better than it was.
//!
//! In: what is wanted of a block. Out: the same, with what the nested blocks that it adds are good for nothing without; which of
//! their attributes lead to something else.

use serde_json::json;

use crate::knowledge::Knowledge;
use crate::naming::names_another;
use crate::rules::{At, Must, Wanted};
use crate::schema::{Attribute, Block, Type, Usage};
use crate::secret;
use crate::source::Body;

use super::fit::nested_in;
use super::meaning::is_list_of_texts;

/// Flags that switch on what a block is about.
const FLAGS: [&str; 2] = ["enabled", "enable"];

/// What is wanted, with what people know of nested blocks that only have to be there, else with the flags that switch these on.
pub(super) fn filled(wanted: &[Wanted], ty: &str, body: &Body, schema: &Block, knowledge: &Knowledge) -> Vec<Wanted> {
    let mut all = wanted.to_vec();
    for only in wanted.iter().filter(|it| it.must == Must::Exist && it.at == At::All) {
        let inside = wanted.iter().filter(|other| other.path.starts_with(&only.path)).count() > 1;
        let Some(block) = nested_at(schema, &only.path).filter(|_| !inside && !stands(body, &only.path)) else {
            continue;
        };
        let mut holds = knowledge.wants_of_nested(ty, &only.path.join("."));
        if holds.is_empty() {
            let is_flag = |flag: &&&str| {
                block.attributes.get(**flag).is_some_and(|it| it.usage.is_settable() && it.ty == Type::Bool)
            };
            let flag = FLAGS.iter().find(is_flag);
            holds.extend(flag.map(|flag| Wanted::new(vec![(*flag).to_owned()], Must::Be(vec![json!(true)]))));
        }
        all.extend(holds.into_iter().map(|held| Wanted { path: [only.path.clone(), held.path].concat(), ..held }));
    }
    all
}

/// The schema of the nested block that a path leads to.
fn nested_at<'a>(schema: &'a Block, path: &[String]) -> Option<&'a Block> {
    path.iter().try_fold(schema, |block, name| Some(&block.blocks.get(name)?.block))
}

/// Whether there is such a nested block.
fn stands(body: &Body, path: &[String]) -> bool {
    match path {
        [] => true,
        [name, rest @ ..] => nested_in(body, name).any(|body| stands(body, rest)),
    }
}

/// The attributes of a nested block of which one must stand in it: they lead to something else, and there is nothing in it that
/// has a meaning by default. None where an empty one may be all that is meant, or where what is required says it.
pub(super) fn leading(block: &Block) -> Vec<&str> {
    let settable: Vec<(&String, &Attribute)> =
        block.attributes.iter().filter(|(_, attribute)| attribute.usage.is_settable()).collect();
    let is_text = |ty: &Type| *ty == Type::String || is_list_of_texts(ty);
    // What is a number or one of several words has a default.
    let leaves_open = |(_, attribute): &(&String, &Attribute)| {
        attribute.usage != Usage::Required && is_text(&attribute.ty) && attribute.values.is_empty()
    };
    if !settable.iter().all(leaves_open) || block.blocks.values().any(|nested| nested.min > 0) {
        return Vec::new();
    }
    let leads = |name: &&str| names_another("", false, name) && !secret::is_name_of_text(name);
    settable.iter().map(|(name, _)| name.as_str()).filter(leads).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::wanted;
    use super::*;
    use crate::schema::{Kind, Schemas};
    use crate::source::{RelPath, SourceFile};

    fn schema(ty: &str) -> Block {
        Schemas::embedded().get(Kind::Resource, ty).unwrap().0
    }

    /// What is wanted in all where a nested block has to be there.
    fn with(ty: &str, path: &str, text: &str) -> Vec<Wanted> {
        let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.as_bytes().to_vec()).unwrap();
        let knowledge = Knowledge::load(&[], None).unwrap();
        filled(&[wanted(path, Must::Exist)], ty, file.body(), &schema(ty), &knowledge).split_off(1)
    }

    #[test]
    fn a_block_that_only_has_to_be_there_is_switched_on() {
        let on = |path: &str| [wanted(path, Must::Be(vec![json!(true)]))];
        assert_eq!(with("aws_dynamodb_table", "server_side_encryption", ""), on("server_side_encryption.enabled"));
        let nodes = on("private_cluster_config.enable_private_nodes");
        assert_eq!(with("google_container_cluster", "private_cluster_config", ""), nodes);
        let subnets = [wanted("vpc_options.subnet_ids", Must::Exist)];
        assert_eq!(with("aws_elasticsearch_domain", "vpc_options", ""), subnets);
        assert_eq!(with("aws_elasticsearch_domain", "vpc_options", "vpc_options {\n}\n"), []);
        assert_eq!(with("aws_elasticsearch_domain", "domain_name", ""), []);
    }

    #[test]
    fn no_flag_is_set_that_says_more_than_that() {
        for (ty, path) in [
            ("azurerm_storage_account", "blob_properties.delete_retention_policy"),
            ("azurerm_servicebus_namespace", "network_rule_set"),
            ("aws_elasticsearch_domain", "domain_endpoint_options"),
            ("google_container_cluster", "ip_allocation_policy"),
        ] {
            assert_eq!(with(ty, path, ""), [], "{path}");
        }
    }

    #[test]
    fn a_block_that_is_nothing_but_references_holds_one() {
        for (ty, path, attributes) in [
            ("google_compute_disk", "disk_encryption_key", &["kms_key_self_link"][..]),
            ("google_container_cluster", "private_cluster_config", &[]),
            ("google_container_cluster", "ip_allocation_policy", &[]),
            ("google_container_cluster", "master_authorized_networks_config", &[]),
            ("google_compute_subnetwork", "log_config", &[]),
            ("google_compute_disk", "guest_os_features", &[]),
            ("azurerm_app_service", "logs", &[]),
        ] {
            let schema = schema(ty);
            assert_eq!(leading(&schema.blocks[path].block), attributes, "{path}");
        }
    }
}
