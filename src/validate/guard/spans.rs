//! Ranges of addresses that are told by their first and their last one: with one end moved they may be as wide as before.
//!
//! In: the target before and after, and the new blocks. Out: refusals.

use std::net::Ipv4Addr;

use crate::rules::ENDS;
use crate::source::{BlockAddr, Body};

use super::{Change, Guarded};

/// As many addresses as a network of a private range usually has (RFC 1918, a prefix of 16 bits).
const MOST: i64 = 1 << 16;

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    for addr in change.companions.iter().chain([change.target]) {
        let before = change.before.find(&dir, addr).and_then(|(_, block)| span(&block.body));
        let after = change.after.find(&dir, addr).and_then(|(_, block)| span(&block.body));
        if let Some(after) = after.filter(|after| before != Some(*after)) {
            guarded.reasons.extend(refusal(addr, before, after));
        }
    }
}

/// The first and the last address.
type Span = (Ipv4Addr, Ipv4Addr);

/// That of a body, where both ends are written out.
fn span(body: &Body) -> Option<Span> {
    ENDS.iter().find_map(|(start, end)| {
        let end_of = |key: &str| body.attribute(key)?.as_str()?.parse().ok();
        Some((end_of(start)?, end_of(end)?))
    })
}

fn refusal(addr: &BlockAddr, before: Option<Span>, (first, last): Span) -> Option<String> {
    let width = |(first, last): Span| i64::from(u32::from(last)) - i64::from(u32::from(first)) + 1;
    let count = width((first, last));
    let told = format!("{addr}: {first} to {last}");
    if count < 1 {
        return Some(format!("{told}: no address lies between them"));
    }
    // Azure's own services, those of all its customers among them (Microsoft Learn, "Azure SQL firewall rules").
    if first.is_unspecified() && last.is_unspecified() {
        return Some(format!("{told} lets in whoever is in the same cloud"));
    }
    if before.is_some_and(|before| count > width(before)) {
        return Some(format!("{told} are {count} addresses, more than before"));
    }
    (count > MOST).then(|| format!("{told} are {count} addresses: it stays open to more than one network"))
}
