//! Ranges of addresses that are told by their first and their last one: with one end moved they may be as wide as before.
//!
//! In: the target before and after, and the new blocks. Out: refusals.

use std::net::Ipv4Addr;

use crate::source::{BlockAddr, Body};

use super::{Change, Guarded};

/// The attributes of both ends.
const ENDS: (&str, &str) = ("start_ip_address", "end_ip_address");
/// As many addresses as one of the private ranges that are given to a network (RFC 1918, a prefix of 16 bits).
const MOST: u64 = 1 << 16;

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    for addr in change.companions.iter().chain([change.target]) {
        let before = change.before.find(&dir, addr).and_then(|(_, block)| span(&block.body));
        let after = change.after.find(&dir, addr).and_then(|(_, block)| span(&block.body));
        if let Some(after) = after.filter(|after| before.as_ref() != Some(after)) {
            guarded.reasons.extend(refusal(addr, after));
        }
    }
}

/// The first and the last address of a body, where both are written out.
fn span(body: &Body) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let end = |key: &str| body.attribute(key)?.as_str()?.parse().ok();
    Some((end(ENDS.0)?, end(ENDS.1)?))
}

fn refusal(addr: &BlockAddr, (first, last): (Ipv4Addr, Ipv4Addr)) -> Option<String> {
    let (from, to) = (u64::from(u32::from(first)), u64::from(u32::from(last)));
    if from > to {
        return Some(format!("{addr}: no address lies between {first} and {last}"));
    }
    (to - from >= MOST).then(|| format!("{addr}: {first} to {last} are {} addresses: it stays as open", to - from + 1))
}
