//! Fixes that close a finding and not the gap: what does nothing any more, what lets others do the same, what shuts out those
//! who were meant to come in.

use crate::rules::TRAFFIC;
use crate::source::{BlockAddr, Body};

use super::{Change, Guarded};

/// Attributes that say who a rule of a firewall lets in or out.
pub(super) const PEERS: [&str; 9] = [
    "cidr_block",
    "cidr_blocks",
    "cidr_ipv4",
    "cidr_ipv6",
    "ipv6_cidr_blocks",
    "source_address_prefix",
    "source_address_prefixes",
    "source_ranges",
    "source_security_group_id",
];

/// Attributes by which what is reached today may not be reached any more.
const ACCESS: [&str; 10] = [
    "endpoint_public_access",
    "local_account_disabled",
    "local_auth_enabled",
    "local_authentication_disabled",
    "private_cluster_enabled",
    "private_instance",
    "public_network_access",
    "public_network_access_enabled",
    "publicly_accessible",
    "shared_access_key_enabled",
];

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let addr = change.target;
    let (Some((_, before)), Some((_, after))) = (change.before.find(&dir, addr), change.after.find(&dir, addr)) else {
        return;
    };
    not_switched_off(addr, &before.body, &after.body, guarded);
    changed(&before.body, &after.body, false, &mut |key, is_about_peers| {
        if TRAFFIC.contains(&key) {
            // Other traffic leaves open what the finding was about, or cuts off what the rule was there for.
            match is_about_peers {
                true => {
                    guarded.reasons.push(format!("{addr}: `{key}` is another one: change who may come, not what for"))
                }
                false => guarded.review.push(format!("{addr}: `{key}` is another one")),
            }
        }
        // Closing a door is what was asked for; who comes through it today, only a person knows.
        if ACCESS.contains(&key) {
            guarded.review.push(format!("{addr}: `{key}` may cut off those who reach it so today"));
        }
    });
}

/// Whether a body itself says who comes or goes.
fn names_peers(body: &Body) -> bool {
    PEERS.iter().any(|key| body.attribute(key).is_some())
}

/// A block that does nothing any more closes findings, and whatever it was there for is gone.
fn not_switched_off(addr: &BlockAddr, before: &Body, after: &Body, guarded: &mut Guarded) {
    for (key, off) in [("enabled", false), ("disabled", true)] {
        let is_off = |body: &Body| body.attribute(key).and_then(|a| a.expr.as_bool()) == Some(off);
        if is_off(after) && !is_off(before) {
            guarded.reasons.push(format!("{addr}: `{key} = {off}` switches it off; that closes nothing"));
        }
    }
}

/// Calls `each` for the attributes that are another one, new or gone, and with whether the body around them, or one around
/// that, says who comes or goes. Nested blocks of a type are compared in their order; one that is new, with nothing.
fn changed(before: &Body, after: &Body, outer: bool, each: &mut impl FnMut(&str, bool)) {
    let peers = outer || names_peers(before);
    let text = |body: &Body, key: &str| body.attribute(key).map(|a| a.expr.to_string().trim().to_owned());
    let gone = before.attributes().filter(|a| after.attribute(&a.key).is_none());
    for attribute in after.attributes().chain(gone) {
        if text(before, &attribute.key) != text(after, &attribute.key) {
            each(&attribute.key, peers);
        }
    }
    let nothing = Body::default();
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for block in after.blocks() {
        let at = seen.entry(block.keyword.as_str()).or_default();
        let same = before.blocks().filter(|old| old.keyword == block.keyword).nth(*at);
        *at += 1;
        changed(same.map_or(&nothing, |old| &old.body), &block.body, peers, each);
    }
}
