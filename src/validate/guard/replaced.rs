//! Arguments that providers cannot change in place: with a new value, terraform replaces what is deployed, and what is in it
//! is lost. The schemas do not tell them, only a plan does; these are the well-known ones among what fixes set
//! (providers' documentation, "Forces new resource").

use std::collections::BTreeSet;

use crate::source::SourceTree;

use super::values::leaves;
use super::{Change, Guarded};

/// Resource type and path.
const REPLACED: [(&str, &str); 43] = [
    ("aws_cloudwatch_log_group", "name"),
    ("aws_dax_cluster", "server_side_encryption.enabled"),
    ("aws_db_instance", "kms_key_id"),
    ("aws_db_instance", "storage_encrypted"),
    ("aws_docdb_cluster", "kms_key_id"),
    ("aws_docdb_cluster", "storage_encrypted"),
    ("aws_ebs_volume", "encrypted"),
    ("aws_ebs_volume", "kms_key_id"),
    ("aws_ecr_repository", "encryption_configuration.encryption_type"),
    ("aws_ecr_repository", "encryption_configuration.kms_key"),
    ("aws_efs_file_system", "encrypted"),
    ("aws_efs_file_system", "kms_key_id"),
    ("aws_eks_cluster", "encryption_config.provider.key_arn"),
    ("aws_eks_cluster", "encryption_config.resources"),
    ("aws_elasticache_replication_group", "at_rest_encryption_enabled"),
    ("aws_elasticache_replication_group", "kms_key_id"),
    ("aws_elasticsearch_domain", "encrypt_at_rest.enabled"),
    ("aws_elasticsearch_domain", "encrypt_at_rest.kms_key_id"),
    ("aws_instance", "associate_public_ip_address"),
    ("aws_instance", "ebs_block_device.encrypted"),
    ("aws_instance", "ebs_block_device.kms_key_id"),
    ("aws_instance", "root_block_device.encrypted"),
    ("aws_instance", "root_block_device.kms_key_id"),
    ("aws_msk_cluster", "encryption_info.encryption_at_rest_kms_key_arn"),
    ("aws_msk_cluster", "encryption_info.encryption_in_transit.in_cluster"),
    ("aws_mq_broker", "encryption_options.kms_key_id"),
    ("aws_neptune_cluster", "kms_key_arn"),
    ("aws_neptune_cluster", "storage_encrypted"),
    ("aws_rds_cluster", "kms_key_id"),
    ("aws_rds_cluster", "storage_encrypted"),
    ("aws_rds_global_cluster", "storage_encrypted"),
    ("aws_sagemaker_notebook_instance", "direct_internet_access"),
    ("aws_sagemaker_notebook_instance", "kms_key_id"),
    ("aws_security_group", "description"),
    ("aws_workspaces_workspace", "root_volume_encryption_enabled"),
    ("aws_workspaces_workspace", "user_volume_encryption_enabled"),
    ("azurerm_kubernetes_cluster", "disk_encryption_set_id"),
    ("azurerm_kubernetes_cluster", "private_cluster_enabled"),
    ("azurerm_storage_account", "infrastructure_encryption_enabled"),
    ("google_bigquery_table", "encryption_configuration.kms_key_name"),
    ("google_compute_disk", "disk_encryption_key.kms_key_self_link"),
    ("google_container_cluster", "private_cluster_config.enable_private_nodes"),
    ("google_sql_database_instance", "encryption_key_name"),
];

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let Some(ty) = change.target.resource_type().filter(|_| change.target.keyword == "resource") else { return };
    let written = |tree: &SourceTree| {
        let mut written = BTreeSet::new();
        if let Some((file, block)) = tree.find(&dir, change.target) {
            leaves(file, &block.body, "", &mut |path, value| {
                written.insert((path.to_owned(), value.to_owned()));
            });
        }
        written
    };
    let (before, after) = (written(change.before), written(change.after));
    for (path, _) in after.symmetric_difference(&before) {
        // What a thing is called is what it is, for most providers.
        let renamed = path == "name" && before.iter().any(|(path, _)| path == "name");
        // Of a pod hardly anything can be changed (Kubernetes docs, "Pod update and replacement").
        let of_pod = matches!(ty, "kubernetes_pod" | "kubernetes_pod_v1") && path.starts_with("spec.");
        if renamed || of_pod || REPLACED.contains(&(ty, path.as_str())) {
            guarded
                .review
                .push(format!("{}: a new `{path}` may make terraform replace what is deployed", change.target));
        }
    }
}
