//! Which versions of its providers a module wants, by its configuration and its lock file.

use std::collections::BTreeMap;
use std::fmt;

use hcl_edit::expr::{Expression, ObjectKey};

use crate::source::{Block, RelPath, SourceFile, SourceTree};

/// What the lock file is called (Terraform docs, "Dependency Lock File").
const LOCK: &str = ".terraform.lock.hcl";

/// A wanted version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// That and no other, by the lock file.
    Locked(String),
    /// Any that meets the constraint (Terraform docs, "Version Constraints").
    Constraint(String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Locked(text) | Self::Constraint(text)) = self;
        f.write_str(text)
    }
}

impl Wanted {
    /// Whether a schema of this version can stand for what is wanted. Within a major version providers only add, so a locked
    /// one is met by any of its own.
    pub(super) fn admits(&self, version: &str) -> bool {
        let Some(version) = numbers(version) else { return false };
        match self {
            Self::Locked(locked) => numbers(locked).is_none_or(|locked| locked[0] == version[0]),
            Self::Constraint(terms) => terms.split(',').all(|term| meets(term.trim(), version)),
        }
    }
}

impl Wanted {
    /// Whether a schema of this version may have more than the locked one has.
    pub(super) fn is_before(&self, version: &str) -> bool {
        matches!(self, Self::Locked(locked) if numbers(locked) < numbers(version))
    }
}

impl Wanted {
    /// Whether some version of a major one may be the wanted one.
    pub(super) fn allows(&self, major: u64) -> bool {
        match self {
            Self::Locked(locked) => numbers(locked).is_none_or(|locked| locked[0] == major),
            Self::Constraint(terms) => {
                // Where terms end, at the ends of the major version, and next to each of these.
                let bounds = terms.split(',').filter_map(|term| numbers(parts(term.trim()).1));
                let ends = [[major, 0, 0], [major, u64::MAX, u64::MAX]].into_iter().chain(bounds);
                let near = ends.flat_map(|[major, minor, patch]| {
                    let (below, above) = (patch.saturating_sub(1), patch.saturating_add(1));
                    [
                        [major, minor, patch],
                        [major, minor, above],
                        [major, minor, below],
                        [major, minor.saturating_sub(1), u64::MAX],
                    ]
                });
                let mut near = near.filter(|version| version[0] == major);
                near.any(|version| terms.split(',').all(|term| meets(term.trim(), version)))
            }
        }
    }
}

/// The major version that a version is of; `None` where that is not told.
pub(super) fn major(version: &str) -> Option<u64> {
    numbers(version).map(|version| version[0])
}

/// A term's operator, and what stands behind it.
fn parts(term: &str) -> (&str, &str) {
    let digits = term.find(|c: char| c.is_ascii_digit()).unwrap_or(term.len());
    (term[..digits].trim(), term[digits..].trim())
}

/// Whether a version meets one term. What cannot be read excludes nothing.
fn meets(term: &str, version: [u64; 3]) -> bool {
    let (operator, text) = parts(term);
    let Some(bound) = numbers(text) else { return true };
    match operator {
        "" | "=" => version == bound,
        "!=" => version != bound,
        ">" => version > bound,
        ">=" => version >= bound,
        "<" => version < bound,
        "<=" => version <= bound,
        // The rightmost part that is named may grow.
        "~>" => {
            let fixed = text.split('.').count().clamp(2, 3) - 1;
            version >= bound && version[..fixed] == bound[..fixed]
        }
        _ => true,
    }
}

/// Major, minor, patch; what is not named is 0. Of a version before its release only the numbers count.
pub(super) fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    let plain = version.trim().trim_start_matches('v').split(['-', '+']).next()?;
    for (place, part) in numbers.iter_mut().zip(plain.split('.')) {
        *place = part.parse().ok()?;
    }
    Some(numbers)
}

/// What the module in `dir` wants, by the providers' local names. The lock file speaks before the configuration.
pub(super) fn wanted(tree: &SourceTree, dir: &RelPath) -> BTreeMap<String, Wanted> {
    let mut wanted = BTreeMap::new();
    for block in tree.module(dir).flat_map(|file| file.body().blocks()) {
        match block.keyword.as_str() {
            "terraform" => wanted.extend(required(block)),
            // As it was written before terraform 0.13.
            "provider" => {
                let version = block.body.attribute("version").and_then(|version| version.as_str());
                let name = block.labels.first().cloned();
                wanted.extend(name.zip(version.map(|version| Wanted::Constraint(version.to_owned()))));
            }
            _ => {}
        }
    }
    wanted.extend(locked(tree, dir));
    wanted
}

/// The `required_providers` of a `terraform` block: objects with a `version`, or that alone.
fn required(block: &Block) -> Vec<(String, Wanted)> {
    let providers = block.body.blocks().filter(|block| block.keyword == "required_providers");
    let constraint = |value: &Expression| match value {
        Expression::String(version) => Some(version.as_str().to_owned()),
        Expression::Object(object) => object.iter().find_map(|(key, value)| match (key, value.expr()) {
            (ObjectKey::Ident(key), Expression::String(version)) if key.as_str() == "version" => {
                Some(version.as_str().to_owned())
            }
            _ => None,
        }),
        _ => None,
    };
    let attributes = providers.flat_map(|block| block.body.attributes());
    attributes.filter_map(|a| Some((a.key.clone(), Wanted::Constraint(constraint(&a.expr)?)))).collect()
}

fn locked(tree: &SourceTree, dir: &RelPath) -> Vec<(String, Wanted)> {
    let Ok(text) = std::fs::read(dir.under(tree.root()).join(LOCK)) else { return Vec::new() };
    let Ok(file) = SourceFile::parse(RelPath::default(), text) else { return Vec::new() };
    let locked = |block: &Block| {
        let name = block.labels.first()?.rsplit('/').next()?.to_owned();
        Some((name, Wanted::Locked(block.body.attribute("version")?.as_str()?.to_owned())))
    };
    file.body().blocks().filter(|block| block.keyword == "provider").filter_map(locked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(constraint: &str, version: &str) -> bool {
        Wanted::Constraint(constraint.into()).admits(version)
    }

    #[test]
    fn the_major_versions_that_a_constraint_allows_are_told() {
        let allows = |constraint: &str| {
            let wanted = Wanted::Constraint(constraint.into());
            (3..8).filter(|major| wanted.allows(*major)).collect::<Vec<_>>()
        };
        for (constraint, majors) in [
            ("~> 5.0", &[5][..]),
            ("~> 5.31.0", &[5]),
            ("5.31.0", &[5]),
            ("= 3.0.0", &[3]),
            (">= 5.0, < 5.80", &[5]),
            (">= 3.117, < 4.0", &[3]),
            (">= 4.9, < 6", &[4, 5]),
            ("< 5.0", &[3, 4]),
            ("> 5.2, != 6.0.0", &[5, 6, 7]),
            ("~> 2.0", &[]),
        ] {
            assert_eq!(allows(constraint), majors, "{constraint}");
        }
        assert!(Wanted::Locked("5.0.0".into()).allows(5) && !Wanted::Locked("5.0.0".into()).allows(6));
    }

    #[test]
    fn constraints_are_as_terraform_reads_them() {
        for (constraint, yes, no) in [
            ("~> 5.0", "5.99.1", "6.0.0"),
            ("~> 5", "5.1.0", "6.0.0"),
            ("~> 5.2.1", "5.2.9", "5.3.0"),
            (">= 4.9, < 6", "5.0.0", "6.45.0"),
            ("6.45.0", "6.45.0", "6.44.0"),
            ("= 2.1", "2.1.0", "2.1.1"),
            ("!= 2.1.0", "2.1.1", "2.1.0"),
            ("> 3, <= 4.1", "4.1.0", "3.0.0"),
        ] {
            assert!(admits(constraint, yes), "{constraint} {yes}");
            assert!(!admits(constraint, no), "{constraint} {no}");
        }
        assert!(admits("whatever", "1.0.0"));
    }

    #[test]
    fn configuration_and_lock_file_say_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let text = "terraform {\n  required_providers {\n    aws = {\n      source  = \"hashicorp/aws\"\n      version = \"~> 5.0\"\n    }\n    \
                    google = \">= 4\"\n  }\n}\nprovider \"azurerm\" {\n  version = \"~> 2.1\"\n}\n";
        let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into()).unwrap();
        let tree = SourceTree::from_files(dir.path(), [file]);
        let of = |name: &str| wanted(&tree, &RelPath::default()).get(name).map(ToString::to_string);
        assert_eq!(
            (of("aws"), of("google"), of("azurerm")),
            (Some("~> 5.0".into()), Some(">= 4".into()), Some("~> 2.1".into()))
        );
        let lock = "provider \"example.org/hashicorp/google\" {\n  version = \"4.80.0\"\n}\n";
        std::fs::write(dir.path().join(LOCK), lock).unwrap();
        assert_eq!(of("google"), Some("4.80.0".into()));
        let locked = Wanted::Locked("4.80.0".into());
        assert!(locked.is_before("4.81.0") && !locked.is_before("4.80.0") && !locked.is_before("4.9.0"));
        assert!(!Wanted::Constraint("4.80.0".into()).is_before("4.81.0"));
        assert!(Wanted::Locked("4.80.0".into()).admits("4.1.0") && !Wanted::Locked("4.80.0".into()).admits("6.50.0"));
    }
}
