//! All schemas that there are, found by type.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::problems;
use super::versions::{self, Wanted};
use super::{Block, Kind, Pack, SchemaError, documented};
use crate::grammar::provider_of;
use crate::source::{self, BlockAddr, RelPath, SourceTree};

/// The packs that are part of the binary, of several of a provider the newest first. `caulk schema import` makes them, see
/// `packs/README.md`.
static EMBEDDED: [(&str, Pack); 16] = [
    ("archive", Pack::embedded(include_bytes!("packs/archive-2.pack"))),
    ("aws", Pack::embedded(include_bytes!("packs/aws-6.pack"))),
    ("aws", Pack::embedded(include_bytes!("packs/aws-5.pack"))),
    ("azurerm", Pack::embedded(include_bytes!("packs/azurerm-4.pack"))),
    ("azurerm", Pack::embedded(include_bytes!("packs/azurerm-3.pack"))),
    ("external", Pack::embedded(include_bytes!("packs/external-2.pack"))),
    ("google", Pack::embedded(include_bytes!("packs/google-6.pack"))),
    ("google", Pack::embedded(include_bytes!("packs/google-5.pack"))),
    ("http", Pack::embedded(include_bytes!("packs/http-3.pack"))),
    ("kubernetes", Pack::embedded(include_bytes!("packs/kubernetes-2.pack"))),
    ("local", Pack::embedded(include_bytes!("packs/local-2.pack"))),
    ("null", Pack::embedded(include_bytes!("packs/null-3.pack"))),
    ("random", Pack::embedded(include_bytes!("packs/random-3.pack"))),
    ("template", Pack::embedded(include_bytes!("packs/template-2.pack"))),
    ("time", Pack::embedded(include_bytes!("packs/time-0.pack"))),
    ("tls", Pack::embedded(include_bytes!("packs/tls-4.pack"))),
];

/// Where a pack comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Part of the binary.
    Embedded,
    /// Imported by the user, from this file.
    Imported(PathBuf),
    /// Asked of the module's own providers.
    Module,
}

/// Schemas by type, from one pack for each provider: of several the first, or the one that a module's versions ask for.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    packs: Vec<(Source, Arc<Pack>)>,
    /// Which of its packs speaks for a provider, where that may not be the first.
    chosen: BTreeMap<String, usize>,
    /// Providers of which a module wants another version than any pack's, with what it wants.
    unfit: BTreeMap<String, String>,
    /// Providers of which a module wants an earlier version than the pack's that is still like it, with both.
    ahead: BTreeMap<String, (String, String)>,
}

impl Schemas {
    /// The embedded packs, and before them those in a folder (`*.pack`), if it is there.
    ///
    /// # Errors
    /// When a file of the folder cannot be read or is no pack.
    pub fn open(folder: &Path) -> Result<Self, SchemaError> {
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(SchemaError::Io { path: folder.to_owned(), source }),
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "pack"));
        paths.sort();
        let packs = paths.into_iter().map(|path| Ok((Source::Imported(path.clone()), Arc::new(Pack::open(&path)?))));
        let mut packs = packs.collect::<Result<Vec<_>, SchemaError>>()?;
        // The newest speaks first; of what does not say how new it is, its user has to know.
        let version = |pack: &Pack| pack.head().and_then(|head| versions::numbers(&head.version));
        packs.sort_by_key(|(_, pack)| Reverse(version(pack).unwrap_or([u64::MAX; 3])));
        Ok(Self { packs, ..Self::default() })
    }

    /// Only the embedded ones.
    pub fn embedded() -> Self {
        Self::default()
    }

    /// The same with what a module's own providers say of themselves: of them, nobody else speaks.
    #[must_use]
    pub fn with_module(&self, packs: Vec<Pack>) -> Self {
        let own = packs.into_iter().map(|pack| (Source::Module, Arc::new(pack)));
        Self { packs: own.chain(self.packs.iter().cloned()).collect(), ..Self::default() }
    }

    /// The same for modules (one and the root module that it is called from) that want certain versions of their providers:
    /// packs of others are left aside. Of those that they admit, the pack speaks that lacks the fewest types of theirs.
    #[must_use]
    pub fn fit_for(&self, tree: &SourceTree, dirs: &[&RelPath]) -> Self {
        let mut fit = Self { packs: self.packs.clone(), ..Self::default() };
        let mut wanted: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
        for block in typed(tree, dirs) {
            wanted.entry(provider_of(&block.labels[0]).to_owned()).or_default();
        }
        for (provider, version) in dirs.iter().flat_map(|dir| versions::wanted(tree, dir)) {
            wanted.entry(provider).or_default().push(version);
        }
        for (provider, wanted) in wanted {
            fit.choose(&provider, &wanted, tree, dirs);
        }
        fit
    }

    fn choose(&mut self, provider: &str, wanted: &[Wanted], tree: &SourceTree, dirs: &[&RelPath]) {
        let own = typed(tree, dirs).filter(|block| provider_of(&block.labels[0]) == provider);
        let own: Vec<&source::Block> = own.collect();
        let types: BTreeSet<_> = own.iter().filter_map(|b| Some((Kind::of(&b.keyword)?, &b.labels[0]))).collect();
        let lacks = |pack: &Pack| types.iter().filter(|(kind, ty)| !pack.has(*kind, ty)).count();
        // Of what does not say which version it is of, its user has to know.
        let admits =
            |version: &str| versions::numbers(version).is_none() || wanted.iter().all(|wanted| wanted.admits(version));
        let allows = |major: u64| wanted.iter().all(|wanted| wanted.allows(major));
        let is_allowed = |version: &str| versions::major(version).is_some_and(allows);
        // Most of a provider stays as it is from one major version to the next; the module shows what it uses of it.
        let is_near = |pack: &Pack, version: &str| {
            let before = versions::major(version).and_then(|major| major.checked_sub(1));
            before.is_some_and(allows) && own.iter().all(|block| suits(pack, block))
        };
        let packs: Vec<_> =
            self.packs_of(provider).into_iter().filter_map(|(from, pack)| Some((from, pack, pack.head()?))).collect();
        let said = || wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let fitting = (0..packs.len()).filter(|&at| admits(&packs[at].2.version)).min_by_key(|&at| lacks(packs[at].1));
        let fitting = fitting.or_else(|| packs.iter().position(|(_, _, head)| is_allowed(&head.version)));
        let fitting = fitting.or_else(|| packs.iter().position(|(_, pack, head)| is_near(pack, &head.version)));
        match (packs.first(), fitting) {
            // What the providers say of themselves is of the version that the module has.
            (None | Some((Source::Module, ..)), _) => {}
            (Some(_), None) => drop(self.unfit.insert(provider.to_owned(), said())),
            (Some(_), Some(at)) => {
                let version = packs[at].2.version.clone();
                if !admits(&version) || wanted.iter().any(|wanted| wanted.is_before(&version)) {
                    self.ahead.insert(provider.to_owned(), (said(), version));
                }
                self.chosen.insert(provider.to_owned(), at);
            }
        }
    }

    /// Why there is no schema of a type.
    pub fn why_none(&self, ty: &str) -> String {
        let provider = provider_of(ty);
        match self.unfit.get(provider) {
            Some(wanted) => format!(
                "the module wants {provider} {wanted}, of which there is no schema (`caulk schema import` adds one)"
            ),
            None => format!("there is no schema of {ty} (`caulk schema import` adds one)"),
        }
    }

    /// Why the schema of a type may have what the module's provider does not.
    pub fn why_ahead(&self, ty: &str) -> Option<String> {
        let provider = provider_of(ty);
        let (locked, version) = self.ahead.get(provider)?;
        Some(format!("the module wants {provider} {locked}, and the schema is of {version}: some of it may be newer"))
    }

    /// All packs with their sources, those that speak first first.
    pub fn packs(&self) -> impl Iterator<Item = (&Source, &Pack)> {
        let own = self.packs.iter().map(|(source, pack)| (source, &**pack));
        own.chain(EMBEDDED.iter().map(|(_, pack)| (&Source::Embedded, pack)))
    }

    /// What a block consists of, as far as its schema says, with what every resource may have.
    pub fn of(&self, block: &BlockAddr) -> Option<Block> {
        let kind = Kind::of(&block.keyword)?;
        let (schema, _) = self.get(kind, block.labels.first()?)?;
        Some(if kind == Kind::Resource { schema.with_lifecycle() } else { schema })
    }

    /// The schema of a type, with the pack that it is from.
    pub fn get(&self, kind: Kind, ty: &str) -> Option<(Block, &Pack)> {
        let pack = self.pack_of(ty)?;
        Some((documented::filled(ty, pack.get(kind, ty)?), pack))
    }

    /// The schema of a type, of whatever version: from the first pack that has it.
    pub fn any(&self, kind: Kind, ty: &str) -> Option<(Block, &Pack)> {
        let (_, pack) = self.packs_of(provider_of(ty)).into_iter().find(|(_, pack)| pack.has(kind, ty))?;
        Some((documented::filled(ty, pack.get(kind, ty)?), pack))
    }

    /// The type of that kind that is named most like this one.
    pub fn nearest(&self, kind: Kind, ty: &str) -> Option<&str> {
        let types = self.pack_of(ty)?.types().filter(|(k, _)| *k == kind);
        nearest(ty, types.map(|(_, ty)| ty))
    }

    /// The pack of the provider that a type is of. Of the embedded ones only those of that provider are opened.
    pub fn pack_of(&self, ty: &str) -> Option<&Pack> {
        let provider = provider_of(ty);
        if self.unfit.contains_key(provider) {
            return None;
        }
        let at = self.chosen.get(provider).copied().unwrap_or_default();
        self.packs_of(provider).get(at).map(|(_, pack)| *pack)
    }

    /// The packs of a provider, by its local name, those that speak first first.
    fn packs_of(&self, provider: &str) -> Vec<(&Source, &Pack)> {
        let own = self.packs.iter().map(|(source, pack)| (source, &**pack));
        let own = own.filter(|(_, pack)| pack.head().is_some_and(|head| head.name == provider));
        let embedded = EMBEDDED.iter().filter(|(name, _)| *name == provider);
        own.chain(embedded.map(|(_, pack)| (&Source::Embedded, pack))).collect()
    }
}

/// The blocks of modules that are of a provider's types.
fn typed<'a>(tree: &'a SourceTree, dirs: &[&'a RelPath]) -> impl Iterator<Item = &'a source::Block> {
    let blocks = dirs.iter().flat_map(|dir| tree.module(dir)).flat_map(|file| file.body().blocks());
    let typed = |block: &&source::Block| {
        matches!(Kind::of(&block.keyword), Some(Kind::Resource | Kind::Data)) && !block.labels.is_empty()
    };
    blocks.filter(typed).collect::<Vec<_>>().into_iter()
}

/// Whether a block is as a pack has it.
fn suits(pack: &Pack, block: &source::Block) -> bool {
    let Some((kind, ty)) = Kind::of(&block.keyword).zip(block.labels.first()) else { return false };
    let schema = pack.get(kind, ty).map(|schema| documented::filled(ty, schema).with_lifecycle());
    schema.is_some_and(|schema| problems(&block.body, &schema).is_empty())
}

/// The name that is most like another one, if any is near (Jaro-Winkler, at least 0.8).
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|other| (strsim::jaro_winkler(name, other), other)).filter(|(score, _)| *score >= 0.8);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Kind;
    use crate::source::SourceFile;

    #[test]
    fn a_schema_that_is_newer_than_the_locked_provider_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let tree = SourceTree::from_files(dir.path(), []);
        let fit = |version: &str| {
            let lock = format!("provider \"registry.example/hashicorp/aws\" {{\n  version = \"{version}\"\n}}\n");
            std::fs::write(dir.path().join(".terraform.lock.hcl"), lock).unwrap();
            Schemas::embedded().fit_for(&tree, &[&RelPath::default()])
        };
        let own = Schemas::embedded().pack_of("aws_sqs_queue").unwrap().head().unwrap().version.clone();
        let older = fit("6.0.0");
        assert!(older.get(Kind::Resource, "aws_sqs_queue").is_some());
        assert!(older.why_ahead("aws_sqs_queue").unwrap().contains("wants aws 6.0.0"), "{older:?}");
        assert_eq!(fit(&own).why_ahead("aws_sqs_queue"), None);
        assert!(fit("3.0.0").get(Kind::Resource, "aws_sqs_queue").is_none());
    }

    #[test]
    fn a_schema_of_the_next_major_version_does_where_the_module_holds_nothing_that_it_has_not() {
        let of = |version: &str, body: &str| {
            let pin =
                format!("terraform {{\n  required_providers {{\n    aws = {{ version = \"{version}\" }}\n  }}\n}}\n");
            let text = format!("{pin}resource \"aws_sqs_queue\" \"q\" {{\n{body}}}\n");
            let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into_bytes()).unwrap();
            Schemas::embedded().fit_for(&SourceTree::from_files("/nowhere", [file]), &[&RelPath::default()])
        };
        let near = of("~> 4.0", "  name = \"q\"\n");
        assert!(near.get(Kind::Resource, "aws_sqs_queue").is_some());
        assert!(near.why_ahead("aws_sqs_queue").unwrap().contains("wants aws ~> 4.0"));
        let other = of("~> 4.0", "  gone_by_now = \"q\"\n");
        assert!(other.get(Kind::Resource, "aws_sqs_queue").is_none());
        assert!(of("~> 3.0", "  name = \"q\"\n").get(Kind::Resource, "aws_sqs_queue").is_none());
    }

    #[test]
    fn of_several_packs_the_one_speaks_that_the_module_wants_or_whose_types_it_uses() {
        let of = |version: Option<&str>, ty: &str| {
            let pin = version.map_or(String::new(), |version| {
                format!(
                    "terraform {{\n  required_providers {{\n    azurerm = {{ version = \"{version}\" }}\n  }}\n}}\n"
                )
            });
            let text = format!("{pin}resource \"{ty}\" \"a\" {{\n}}\n");
            let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into_bytes()).unwrap();
            let fit = Schemas::embedded().fit_for(&SourceTree::from_files("/nowhere", [file]), &[&RelPath::default()]);
            let version = fit.pack_of(ty).and_then(Pack::head).map(|head| head.version[..1].to_owned());
            (version, fit.get(Kind::Resource, ty).is_some(), fit.why_ahead(ty))
        };
        let (old, both) = ("azurerm_sql_server", "azurerm_key_vault");
        let third = (Some("3".to_owned()), true, None);
        assert_eq!(of(None, both), (Some("4".into()), true, None));
        assert_eq!(of(None, old), third);
        assert_eq!(of(Some(">= 3.0"), old), third);
        assert_eq!(of(Some("~> 3.0"), both), third);
        for pinned in ["= 3.0.0", "~> 3.100.0", ">= 3.50, < 3.90"] {
            let (version, is_there, ahead) = of(Some(pinned), both);
            assert!(version.as_deref() == Some("3") && is_there && ahead.is_some(), "{pinned}");
        }
        assert_eq!(of(Some("~> 4.0"), old), (Some("4".into()), false, None));
        assert!(Schemas::embedded().any(Kind::Resource, old).is_some());
    }
}
