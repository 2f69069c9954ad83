//! All schemas that there are, found by type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::problems;
use super::{Block, Kind, Pack, SchemaError, documented, versions};
use crate::grammar::provider_of;
use crate::source::{BlockAddr, RelPath, SourceTree};

/// The packs that are part of the binary. `caulk schema import` makes them, see `packs/README.md`.
static EMBEDDED: [(&str, Pack); 13] = [
    ("archive", Pack::embedded(include_bytes!("packs/archive.pack"))),
    ("aws", Pack::embedded(include_bytes!("packs/aws.pack"))),
    ("azurerm", Pack::embedded(include_bytes!("packs/azurerm.pack"))),
    ("external", Pack::embedded(include_bytes!("packs/external.pack"))),
    ("google", Pack::embedded(include_bytes!("packs/google.pack"))),
    ("http", Pack::embedded(include_bytes!("packs/http.pack"))),
    ("kubernetes", Pack::embedded(include_bytes!("packs/kubernetes.pack"))),
    ("local", Pack::embedded(include_bytes!("packs/local.pack"))),
    ("null", Pack::embedded(include_bytes!("packs/null.pack"))),
    ("random", Pack::embedded(include_bytes!("packs/random.pack"))),
    ("template", Pack::embedded(include_bytes!("packs/template.pack"))),
    ("time", Pack::embedded(include_bytes!("packs/time.pack"))),
    ("tls", Pack::embedded(include_bytes!("packs/tls.pack"))),
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

/// Schemas by type, from one pack for each provider: the first.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    packs: Vec<(Source, Arc<Pack>)>,
    /// Providers of which a module wants another version than the pack's, with what it wants.
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
        Ok(Self { packs: packs.collect::<Result<_, SchemaError>>()?, ..Self::default() })
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
    /// packs of others are left aside.
    #[must_use]
    pub fn fit_for(&self, tree: &SourceTree, dirs: &[&RelPath]) -> Self {
        let mut fit = Self { packs: self.packs.clone(), ..Self::default() };
        for (provider, wanted) in dirs.iter().flat_map(|dir| versions::wanted(tree, dir)) {
            let Some((source, pack)) = fit.find(&provider) else { continue };
            let Some(head) = pack.head().filter(|_| *source != Source::Module) else { continue };
            let ahead = (wanted.to_string(), head.version.clone());
            // Most of a provider stays as it is from one major version to the next; the module shows what it uses of it.
            let is_near =
                || wanted.is_just_before(&head.version) && dirs.iter().all(|dir| suits(pack, &provider, tree, dir));
            if !wanted.admits(&head.version) && !is_near() {
                fit.unfit.insert(provider, wanted.to_string());
            } else if !wanted.admits(&head.version) || wanted.is_before(&head.version) {
                fit.ahead.insert(provider, ahead);
            }
        }
        fit
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

    /// The type of that kind that is named most like this one.
    pub fn nearest(&self, kind: Kind, ty: &str) -> Option<&str> {
        let types = self.pack_of(ty)?.types().filter(|(k, _)| *k == kind);
        nearest(ty, types.map(|(_, ty)| ty))
    }

    /// The pack of the provider that a type is of. Of the embedded ones only that one is opened.
    pub fn pack_of(&self, ty: &str) -> Option<&Pack> {
        let provider = provider_of(ty);
        if self.unfit.contains_key(provider) {
            return None;
        }
        self.find(provider).map(|(_, pack)| pack)
    }

    /// The pack of a provider, by its local name.
    fn find(&self, provider: &str) -> Option<(&Source, &Pack)> {
        let own = self.packs.iter().map(|(source, pack)| (source, &**pack));
        let mut own = own.filter(|(_, pack)| pack.head().is_some_and(|head| head.name == provider));
        let embedded = || EMBEDDED.iter().find(|(name, _)| *name == provider);
        own.next().or_else(|| embedded().map(|(_, pack)| (&Source::Embedded, pack)))
    }
}

/// Whether a module's blocks of a provider are as a pack has them.
fn suits(pack: &Pack, provider: &str, tree: &SourceTree, dir: &RelPath) -> bool {
    let blocks = tree.module(dir).flat_map(|file| file.body().blocks());
    let mut own = blocks.filter(|block| block.labels.first().is_some_and(|ty| provider_of(ty) == provider));
    own.all(|block| {
        let Some((kind, ty)) = Kind::of(&block.keyword).zip(block.labels.first()) else { return false };
        let schema = pack.get(kind, ty).map(|schema| documented::filled(ty, schema).with_lifecycle());
        schema.is_some_and(|schema| problems(&block.body, &schema).is_empty())
    })
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
        assert!(fit("4.0.0").get(Kind::Resource, "aws_sqs_queue").is_none());
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
        let near = of("~> 5.0", "  name = \"q\"\n");
        assert!(near.get(Kind::Resource, "aws_sqs_queue").is_some());
        assert!(near.why_ahead("aws_sqs_queue").unwrap().contains("wants aws ~> 5.0"));
        let other = of("~> 5.0", "  gone_by_now = \"q\"\n");
        assert!(other.get(Kind::Resource, "aws_sqs_queue").is_none());
        assert!(of("~> 4.0", "  name = \"q\"\n").get(Kind::Resource, "aws_sqs_queue").is_none());
    }
}
