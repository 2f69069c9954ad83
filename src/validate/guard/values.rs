//! Guardrails on values: nothing that cannot be known from the module is made up, and no secret is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Regex;

use crate::addresses::range;
use crate::knowledge::Knowledge;
use crate::naming;
use crate::pattern::pattern;
use crate::rules::RANGES;
use crate::secret;
use crate::source::{BlockAddr, Body, SourceFile, SourceTree};
use crate::time;

use super::{Change, Guarded};

/// Text that stands in for a value which somebody still has to supply.
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\byour|\b(my|insert|enter|some)[-_ ]|replace|change_?me|\btodo\b|fixme|placeholder|<[a-z_ -]+>|x{4,}|\.{3}|…",
    )
});

/// Words that stand in for a name, unless the module itself calls its things so.
static EXAMPLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(dummy|example|sample|foobar)\b"));

/// What is called by name in an account that is computed: `arn:aws:iam::${data.aws_caller_identity.me.account_id}:role/name`.
static IN_ACCOUNT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^arn:\S*\$\{[^}]*\}:(?:alias|group|instance-profile|key|policy|role|secret|user)[/:]([\w+=,.@/-]+)$")
});

/// Identifiers that a cloud gives out, and addresses of people and hosts: nobody can guess a right one.
static GIVEN_OUT: LazyLock<Regex> = LazyLock::new(|| {
    let kinds = [
        r"\barn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:[0-9]{12}:[^\s$]*",
        r"\b[0-9]{12}\b",
        r"\b(vpc|subnet|sg|ami|i|vol|eni|rtb|igw|nat|acl|snap|pcx|tgw|lt|eipalloc)-[0-9a-f]{8,17}\b",
        r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
        r"/subscriptions/[^/$\s]+",
        r"\bprojects/[a-z0-9-]+/[a-z]+/[a-z0-9-]+",
        r"[\w.+-]+@[\w-]+(\.[\w-]+)+",
        r"\bhttps?://[^\s$]+",
        r"\b(ref=)?[0-9a-f]{40}\b",
        r"\bsha(256|512):[0-9a-f]+",
    ];
    pattern(&kinds.join("|"))
});

/// IPv4 and IPv6 addresses, with their prefix.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}\b|(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4})(?:/(?P<prefix>\d{1,3}))?")
});

/// `key = "value"` inside an object.
static ENTRY: LazyLock<Regex> = LazyLock::new(|| pattern(r#"([A-Za-z_][\w-]*)"?\s*[=:]\s*"((?:[^"\\]|\\.)+)""#));

/// A bucket's ARN holds no account, only the bucket's name.
static BUCKET_ARN: LazyLock<Regex> = LazyLock::new(|| pattern(r"arn:aws[a-z-]*:s3:::([a-z0-9][a-z0-9.-]*)"));

static INTERPOLATION: LazyLock<Regex> = LazyLock::new(|| pattern(r"\$\{[^{}]*\}"));

pub(super) static STRING: LazyLock<Regex> = LazyLock::new(|| pattern(r#""((?:[^"\\]|\\.)*)""#));

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    // As a whole: `1.2.3.4` is not known from `11.2.3.45`.
    let known_in = |tree: &SourceTree, text: &str| {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
        let whole = |file: &str, at: usize| {
            !inside(file[..at].chars().next_back()) && !inside(file[at + text.len()..].chars().next())
        };
        let given = change.knowledge.texts().iter().map(String::as_str);
        let module = tree.module(&dir).map(SourceFile::text);
        module.chain(given).any(|file| file.match_indices(text).any(|(at, _)| whole(file, at)))
    };
    let known = |text: &str| known_in(change.before, text);
    // A range that an earlier fix has made up is no better known for it.
    let scanned = |text: &str| known_in(change.scanned, text);
    // What things of the module are called, or name one another.
    let mut names = BTreeSet::new();
    let mut images = BTreeSet::new();
    for (file, block) in
        change.before.module(&dir).flat_map(|file| file.body().blocks().map(move |block| (file, block)))
    {
        leaves(file, &block.body, &mut |path, value| {
            let name = path.rsplit('.').next().unwrap_or(path);
            if naming::holds_name(name) {
                names.extend(STRING.captures_iter(value).map(|text| text[1].to_owned()));
            }
            let own = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|_| is_image(name));
            let entries = ENTRY.captures_iter(value).filter(|entry| is_image(&entry[1]));
            images.extend(own.map(repository).map(str::to_owned));
            images.extend(entries.map(|entry| repository(&entry[2]).to_owned()));
        });
    }
    let knowledge = change.knowledge;
    let known = Known { text: &known, scanned: &scanned, names: &names, images: &images, knowledge, before: &[] };
    for addr in change.companions.iter().chain([change.target]) {
        let Some((file, block)) = change.after.find(&dir, addr) else { continue };
        let mut old = BTreeMap::<String, Vec<String>>::new();
        if let Some((file, block)) = change.before.find(&dir, addr) {
            leaves(file, &block.body, &mut |path, value| {
                old.entry(path.to_owned()).or_default().push(value.to_owned());
            });
        }
        leaves(file, &block.body, &mut |path, value| {
            let before = old.get(path).map(Vec::as_slice).unwrap_or_default();
            if !before.iter().any(|old| old == value) {
                literal(addr, path, value, &Known { before, ..known }, guarded);
            }
        });
    }
}

/// What the module has.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// Whether a text stands in it as a whole.
    text: &'a dyn Fn(&str) -> bool,
    /// Whether it stood there before any fix.
    scanned: &'a dyn Fn(&str) -> bool,
    /// Names of things.
    names: &'a BTreeSet<String>,
    /// Repositories of images.
    images: &'a BTreeSet<String>,
    /// What the user has given.
    knowledge: &'a Knowledge,
    /// What stood in that place.
    before: &'a [String],
}

/// Calls `each` with the path and the text of every attribute's value.
pub(super) fn leaves(file: &SourceFile, body: &Body, each: &mut impl FnMut(&str, &str)) {
    body.by_path().into_iter().for_each(|(path, attribute)| each(&path, file.slice(&attribute.value)));
}

/// Judges one value that is new.
fn literal(addr: &BlockAddr, path: &str, value: &str, known: &Known<'_>, guarded: &mut Guarded) {
    let Known { text: known, scanned, names, images, knowledge, before } = known;
    // A long value is new as a whole by one of its parts.
    let stood = |text: &str| before.iter().any(|old| old.contains(&format!("\"{text}\"")));
    let name = path.rsplit('.').next().unwrap_or(path);
    let entries = ENTRY.captures_iter(value).map(|entry| (entry[1].to_owned(), entry[2].to_owned()));
    let own =
        value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(|text| (name.to_owned(), text.to_owned()));
    for (name, text) in own.into_iter().chain(entries) {
        // A version that an earlier fix has made up is no better known for it.
        if !stood(&text) && is_image(&name) && !scanned(&text) && !text.contains("${") {
            // A digest is judged with all that is given out.
            match images.contains(repository(&text)) {
                true => {
                    guarded.review.push(format!("{addr}: {path}: which version, as in {text:?}, is a person's choice"))
                }
                false => {
                    guarded.reasons.push(format!("{addr}: {path}: which image {text:?} is, the module does not say"))
                }
            }
        }
        let is_phone = ["phone", "phone_number"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
        if is_phone && !stood(&text) && !known(&text) && !text.contains("${") {
            guarded.reasons.push(format!("{addr}: {path}: {text:?} is made up; use what the module has, or create it"));
        }
        // What is left when all that is computed is taken away.
        let written = INTERPOLATION.replace_all(&text, "");
        if !stood(&text) && secret::is_name_of_one(&name) && written.contains(char::is_alphanumeric) {
            guarded.reasons.push(format!("{addr}: {path}: {name}: a secret must not be written down"));
        }
    }
    ranges(addr, path, value, known, guarded);
    let strings = STRING.captures_iter(value).filter_map(|c| Some(c.get(1)?.as_str()));
    for text in strings.filter(|text| !text.is_empty() && !stood(text)) {
        let mut refuse = |why: String| guarded.reasons.push(format!("{addr}: {path}: {why}"));
        if secret::is_in(text) {
            refuse("a secret must not be written down".to_owned());
        }
        let gives = || knowledge.gives(addr.resource_type().unwrap_or_default(), name, text);
        if names_another(addr, path, text) && !names.contains(text) && !gives() {
            refuse(format!("{text:?} names what the module does not have; refer to a block, or add one"));
        }
        let called = IN_ACCOUNT.captures(text).map(|found| found[1].to_owned());
        // One that had to be in any account had to be in this one, and every account has those that services make for themselves.
        let in_any = text.rsplit_once("}:").map(|(_, tail)| format!("*:{tail}\""));
        let stood_in_any = in_any.is_some_and(|in_any| before.iter().any(|old| old.contains(&in_any)));
        let is_there = |called: &str| names.contains(called) || stood_in_any || called.starts_with("aws-service-role/");
        if called.is_some_and(|called| !is_there(&called)) && !gives() {
            refuse(format!("{text:?} names what the module does not have; refer to a block, or add one"));
        }
        if known(text) {
            if !scanned(text) {
                addresses(addr, path, text, scanned, guarded);
            }
            continue;
        }
        if is_no_address(name, text) {
            refuse(format!("{text:?} is no address"));
        }
        if is_no_one_of(addr, name, text) {
            refuse(format!("{text:?} is no {name}"));
        }
        if is_anything(name, text) {
            refuse(format!("{text:?} stands for anything, as `*` does"));
        }
        if is_over(name, text) {
            refuse(format!("{text:?} lies in the past"));
        }
        // A name may be the label in the cloud's own spelling, as far as that is the module's word and not the answer's.
        let called_so = |found: &str| {
            let label = addr.labels.last().filter(|label| naming::holds_name(name) && known(label));
            label.is_some_and(|label| label.to_ascii_lowercase().contains(&found.to_ascii_lowercase()))
        };
        let example = || EXAMPLE.find(text).filter(|found| !known(found.as_str()) && !called_so(found.as_str()));
        if let Some(found) = PLACEHOLDER.find(text).or_else(example) {
            refuse(format!("{:?} is a placeholder", found.as_str()));
        }
        // With another scheme a URL leads to the same place.
        let place = |found: &str| found.strip_prefix("https://").is_some_and(|place| known(&format!("http://{place}")));
        let given_out = GIVEN_OUT.find_iter(text).map(|found| found.as_str());
        for found in given_out.filter(|found| !known(found) && !place(found)) {
            refuse(format!("{found:?} is made up; use what the module has, or create it"));
        }
        for bucket in BUCKET_ARN.captures_iter(text).filter(|bucket| !known(&bucket[1])) {
            refuse(format!("{:?} is made up; use what the module has, or create it", &bucket[0]));
        }
        addresses(addr, path, text, scanned, guarded);
    }
}

/// Attributes of others that hold addresses.
static OF_ADDRESSES: LazyLock<Regex> = LazyLock::new(|| pattern(r"cidr|prefix|address|range|(^|_)ips?(_|$)"));

/// What is named by a reference to a block's attribute: the block's keyword or type, and the attribute.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(?:data\.)?([a-z][a-z0-9_]*)\.[A-Za-z_][\w-]*(?:\[[^\]]*\])?\.([a-z_][a-z0-9_]*)"));

/// Where a range of addresses is wanted, nothing else stands.
fn ranges(addr: &BlockAddr, path: &str, value: &str, known: &dyn Fn(&str) -> bool, guarded: &mut Guarded) {
    let name = path.rsplit('.').next().unwrap_or(path);
    if !RANGES.contains(&name) {
        return;
    }
    // Azure calls some by name.
    let tag = |text: &str| name.starts_with("source_address") && !text.contains(['/', '.', ':']);
    let wrong = STRING
        .captures_iter(value)
        .map(|text| text[1].to_owned())
        .find(|text| !text.contains("${") && !known(text) && !tag(text) && range(text).is_none());
    let inputs = ["each", "local", "module", "var"];
    let other =
        NAMED.captures_iter(value).find(|named| !inputs.contains(&&named[1]) && !OF_ADDRESSES.is_match(&named[2]));
    if let Some(wrong) = wrong.or_else(|| other.map(|named| named[0].to_owned())) {
        guarded.reasons.push(format!("{addr}: {path}: {wrong} is no range of addresses"));
    }
}

/// Whether a text has the form of an address, or of a range of them, and is none. Versions may have that form too.
fn is_no_address(argument: &str, text: &str) -> bool {
    static FORM: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^\d+(\.\d+){3,}(/\d+)*$|^[0-9a-fA-F:]*::[0-9a-fA-F:]*(/\d+)*$"));
    FORM.is_match(text) && range(text).is_none() && !argument.contains("version")
}

/// Whether an argument that lists what is allowed holds wildcards and nothing else.
fn is_anything(argument: &str, text: &str) -> bool {
    let lists = ["actions", "permissions", "resources", "scopes", "verbs"];
    let allows = lists.iter().any(|end| argument.ends_with(end)) && !argument.contains("not_");
    allows && text.contains('*') && text.chars().all(|c| !c.is_alphanumeric())
}

/// Whether an argument that says when something ends holds a day that is over.
fn is_over(argument: &str, text: &str) -> bool {
    static DAY: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d{4}-\d{2}-\d{2}"));
    let ends = argument.contains("expir") || argument.ends_with("end_date") || argument.ends_with("not_after");
    ends && DAY.find(text).is_some_and(|day| day.as_str() < &time::today()[..])
}

/// Whether an argument that says which role or kind it is says several, or one that there cannot be (Google Cloud docs, "Roles and
/// permissions").
fn is_no_one_of(addr: &BlockAddr, argument: &str, text: &str) -> bool {
    static ROLE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^((projects|organizations)/[^/]+/)?roles/[A-Za-z0-9_.]+$"));
    let is_of_google = addr.resource_type().is_some_and(|ty| ty.starts_with("google_") && ty.contains("_iam_"));
    match argument {
        "role" if is_of_google => !text.contains("${") && !ROLE.is_match(text),
        "role" | "kind" => text.contains(','),
        _ => false,
    }
}

/// Whether an argument's value is the name of another thing. What the block itself is called is its own to say (`bucket` of
/// an `aws_s3_bucket`, `secret_id` of a `google_secret_manager_secret`; not what a block in it calls so), and what AWS
/// itself keeps is there in every account.
fn names_another(addr: &BlockAddr, path: &str, text: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    let is_another = naming::names_another(addr.resource_type().unwrap_or_default(), name == path, name);
    is_another && !text.contains("${") && !naming::is_everywhere(name, text)
}

/// Whether an argument says which image a container is made of.
fn is_image(argument: &str) -> bool {
    matches!(argument, "image" | "image_uri" | "container_image")
}

/// The repository of an image, without its tag and digest (OCI Distribution Spec, "Pulling manifests").
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    // A colon before a slash is that of a port.
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Public addresses cannot be known; private ones, and how wide a range is, are a choice for a person to look at.
fn addresses(addr: &BlockAddr, path: &str, text: &str, known: &dyn Fn(&str) -> bool, guarded: &mut Guarded) {
    // `iam::aws` holds no address.
    let in_word = |at: usize, len: usize| {
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == ':');
        part(text[..at].chars().next_back()) || part(text[at + len..].chars().next())
    };
    for found in ADDRESS.captures_iter(text) {
        if found.name("ip").is_some_and(|ip| in_word(ip.start(), ip.len())) {
            continue;
        }
        let Ok(ip) = found["ip"].parse::<IpAddr>() else { continue };
        let prefix = found.name("prefix").and_then(|prefix| prefix.as_str().parse::<u8>().ok());
        // All addresses, or none in particular: the scanners judge that.
        if known(&found[0]) || (ip.is_unspecified() && prefix.is_none_or(|prefix| prefix == 0)) {
            continue;
        }
        let private = match ip {
            IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
        };
        if private {
            guarded
                .review
                .push(format!("{addr}: {path}: whether {} is the right range is a person's choice", &found[0]));
        } else {
            guarded.reasons.push(format!("{addr}: {path}: the address {} is made up", &found[0]));
        }
    }
}
