//! Schema packs: one provider's schemas in one small file.
//!
//! A pack is a zlib stream (RFC 1950) of lines. The first is the [`Head`] as JSON; each of the others is a kind, a type and
//! a [`Block`] as JSON, with a space between, in order of kind and type. It is inflated when first asked, and a line is
//! parsed when its type is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::{Block, Kind, SchemaError};

/// The version of the format.
const FORMAT: u32 = 1;
/// Bytes that a pack may inflate to, at most; the largest provider's is 4 MiB.
const LARGEST: u64 = 64 << 20;

/// What a pack says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    pub format: u32,
    /// The provider's local name by convention: what its types begin with.
    pub name: String,
    /// Its source address without the host: `hashicorp/aws`.
    pub provider: String,
    /// Its version.
    pub version: String,
    /// What it was read from.
    pub source: String,
    /// The licence of that.
    pub licence: String,
}

impl Head {
    /// The head of a pack of this format.
    pub fn new(name: &str, provider: &str, version: &str, source: &str, licence: &str) -> Self {
        let [name, provider, version, source, licence] = [name, provider, version, source, licence].map(str::to_owned);
        Self { format: FORMAT, name, provider, version, source, licence }
    }

    /// A pack may come from anywhere: its name becomes that of a file, and all of this is shown on terminals.
    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !self.name.starts_with(|c: char| c.is_ascii_lowercase()) || !self.name.chars().all(plain) {
            return Err(format!("{:?} is no name of a provider", self.name));
        }
        match [&self.provider, &self.version, &self.source, &self.licence]
            .iter()
            .find(|text| text.contains(char::is_control))
        {
            Some(text) => Err(format!("{text:?} has control characters")),
            None => Ok(()),
        }
    }
}

/// One provider's schemas.
#[derive(Debug)]
pub struct Pack {
    packed: Cow<'static, [u8]>,
    inflated: OnceLock<Result<Inflated, String>>,
}

#[derive(Debug)]
struct Inflated {
    text: String,
    head: Head,
    /// Where in the text the JSON of each type stands.
    types: BTreeMap<(Kind, String), Range<usize>>,
}

impl Inflated {
    /// What a pack's bytes hold, or why they are no pack.
    fn new(packed: &[u8]) -> Result<Self, String> {
        let mut text = String::new();
        let read = ZlibDecoder::new(packed).take(LARGEST).read_to_string(&mut text);
        read.map_err(|error| format!("it is no schema pack: {error}"))?;
        let first = text.lines().next().unwrap_or_default();
        let head: Head = serde_json::from_str(first).map_err(|error| format!("it is no schema pack: {error}"))?;
        if head.format != FORMAT {
            return Err(format!("it is of format {}, this caulk reads {FORMAT}; import it again", head.format));
        }
        head.check()?;
        let mut types = BTreeMap::new();
        let mut at = first.len() + 1;
        for line in text[at.min(text.len())..].lines() {
            let mut parts = line.splitn(3, ' ');
            let (keyword, ty, block) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            let (Some(kind), Some(ty), Some(block)) = (Kind::of(keyword), ty, block) else {
                return Err(format!(
                    "a line of it is of no type: {}",
                    line.chars().take(60).collect::<String>().escape_debug()
                ));
            };
            types.insert((kind, ty.to_owned()), at + line.len() - block.len()..at + line.len());
            at += line.len() + 1;
        }
        Ok(Self { text, head, types })
    }
}

impl Pack {
    /// A pack in memory. Nothing is read of it yet.
    pub const fn embedded(packed: &'static [u8]) -> Self {
        Self { packed: Cow::Borrowed(packed), inflated: OnceLock::new() }
    }

    /// Makes a pack.
    ///
    /// # Panics
    /// Never: a vector takes what is written to it, and these types have a JSON form.
    pub fn new(head: &Head, schemas: &BTreeMap<(Kind, String), Block>) -> Self {
        let mut text = serde_json::to_string(head).expect("a head has a JSON form");
        for ((kind, ty), block) in schemas {
            let block = serde_json::to_string(block).expect("a schema has a JSON form");
            text.push_str(&format!("\n{} {ty} {block}", kind.keyword()));
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes()).expect("a vector can be written to");
        Self { packed: Cow::Owned(encoder.finish().expect("a vector can be written to")), inflated: OnceLock::new() }
    }

    /// Reads a pack from a file.
    ///
    /// # Errors
    /// When it cannot be read or is no pack of this format.
    pub fn open(path: &Path) -> Result<Self, SchemaError> {
        let packed = std::fs::read(path).map_err(|source| SchemaError::Io { path: path.to_owned(), source })?;
        let pack = Self { packed: Cow::Owned(packed), inflated: OnceLock::new() };
        match pack.inflated() {
            Ok(_) => Ok(pack),
            Err(why) => Err(SchemaError::Content { path: path.to_owned(), why: why.clone() }),
        }
    }

    /// Its bytes, as in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.packed
    }

    /// What it says of itself. `None` when it is no pack.
    pub fn head(&self) -> Option<&Head> {
        self.inflated().as_ref().ok().map(|inflated| &inflated.head)
    }

    /// The schema of a type.
    pub fn get(&self, kind: Kind, ty: &str) -> Option<Block> {
        let inflated = self.inflated().as_ref().ok()?;
        let block = inflated.types.get(&(kind, ty.to_owned()))?;
        serde_json::from_str(&inflated.text[block.clone()]).ok()
    }

    /// Whether it holds a type.
    pub fn has(&self, kind: Kind, ty: &str) -> bool {
        self.inflated().as_ref().is_ok_and(|inflated| inflated.types.contains_key(&(kind, ty.to_owned())))
    }

    /// The types, in order.
    pub fn types(&self) -> impl Iterator<Item = (Kind, &str)> {
        let inflated = self.inflated().as_ref().ok().into_iter();
        inflated.flat_map(|inflated| inflated.types.keys().map(|(kind, ty)| (*kind, ty.as_str())))
    }

    fn inflated(&self) -> &Result<Inflated, String> {
        self.inflated.get_or_init(|| Inflated::new(&self.packed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attribute, NestedBlock, Nesting, Type, Usage};
    use super::*;

    fn block() -> Block {
        let attribute = Attribute::new;
        let fields = BTreeMap::from([("x".to_owned(), attribute(Type::Any, Usage::Optional))]);
        Block {
            attributes: BTreeMap::from([
                ("arn".to_owned(), attribute(Type::String, Usage::Computed)),
                ("ports".to_owned(), attribute(Type::List(Box::new(Type::Number)), Usage::Required)),
                ("rules".to_owned(), attribute(Type::Set(Box::new(Type::Object(fields))), Usage::OptionalComputed)),
            ]),
            blocks: BTreeMap::from([(
                "logging".to_owned(),
                NestedBlock { nesting: Nesting::List, min: 0, max: 1, block: Block::default() },
            )]),
            open: true,
        }
    }

    #[test]
    fn what_was_packed_is_read_back() {
        let head = Head::new("aws", "hashicorp/aws", "6.0.0", "a test", "MPL-2.0");
        let schemas = BTreeMap::from([
            ((Kind::Data, "aws_x".to_owned()), Block::default()),
            ((Kind::Resource, "aws_x".to_owned()), block()),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aws.pack");
        std::fs::write(&file, Pack::new(&head, &schemas).bytes()).unwrap();
        let pack = Pack::open(&file).unwrap();
        assert_eq!(pack.head(), Some(&head));
        assert_eq!(pack.types().collect::<Vec<_>>(), [(Kind::Resource, "aws_x"), (Kind::Data, "aws_x")]);
        assert_eq!(pack.get(Kind::Resource, "aws_x"), Some(block()));
        assert_eq!(pack.get(Kind::Data, "aws_x"), Some(Block::default()));
        assert_eq!(pack.get(Kind::Resource, "aws"), None);
        assert!(pack.has(Kind::Data, "aws_x") && !pack.has(Kind::Data, "aws"));
    }

    #[test]
    fn what_is_no_pack_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.pack");
        let later = Head { format: FORMAT + 1, ..Head::new("x", "x/x", "1", "", "") };
        let outside = Head::new("../x", "x/x", "1", "", "");
        let loud = Head::new("x", "x/\u{1b}[2J", "1", "", "");
        let packed = |head: &Head| Pack::new(head, &BTreeMap::new()).bytes().to_vec();
        for bytes in [b"no".to_vec(), Vec::new(), packed(&later), packed(&outside), packed(&loud)] {
            std::fs::write(&file, bytes).unwrap();
            assert!(Pack::open(&file).unwrap_err().to_string().contains("x.pack"));
        }
    }
}
