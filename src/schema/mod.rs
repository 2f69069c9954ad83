//! What a provider's resource types, data sources and configuration consist of: attributes with their types, nested blocks.
//!
//! In: the packs that are part of the binary, packs that the user imported, and what an initialised module's own providers
//! say of themselves; of one provider the newest speaks that is of a version which the module wants and has its types. Out: [`Block`]s by
//! kind and type, from [`Schemas`].

mod check;
mod documented;
mod library;
mod pack;
mod page;
mod prebuilt;
mod supposed;
mod terraform;
mod values;
mod versions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use check::{as_block, most, problems, untold};
pub use library::{Schemas, Source, nearest};
pub use pack::{Head, Pack};
pub use page::{page, type_name};
pub use prebuilt::read as read_prebuilt;
pub use terraform::read as read_terraform;

/// The block that every resource may have.
pub const LIFECYCLE: &str = "lifecycle";

/// What a block may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Block {
    /// Attributes by name.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
    /// Nested blocks by type.
    #[serde(rename = "b", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, NestedBlock>,
    /// Whether it may hold more than these.
    #[serde(rename = "o", default, skip_serializing_if = "is_false")]
    pub open: bool,
}

impl Block {
    /// With the block `lifecycle`, which every resource may have (Terraform docs, "The `lifecycle` Meta-Argument"), as far as
    /// it protects something.
    #[must_use]
    pub fn with_lifecycle(mut self) -> Self {
        let flag = |name: &str| (name.to_owned(), Attribute::new(Type::Bool, Usage::Optional));
        let attributes = ["create_before_destroy", "prevent_destroy"].map(flag).into();
        let block = Block { attributes, ..Block::default() };
        self.blocks.insert(LIFECYCLE.to_owned(), NestedBlock { nesting: Nesting::Single, min: 0, max: 1, block });
        self
    }

    /// An attribute in a block of a set of which the schema does not say what it is, by its path. Terraform cannot compare
    /// such blocks, so no provider has one: the schema was read from something that says less.
    pub fn open_in_set(&self) -> Option<String> {
        self.blocks.iter().find_map(|(name, nested)| {
            let open = match nested.nesting {
                Nesting::Set => nested.block.open(),
                _ => nested.block.open_in_set(),
            };
            open.map(|path| format!("{name}.{path}"))
        })
    }

    fn open(&self) -> Option<String> {
        let mut open = self.attributes.iter().filter(|(_, attribute)| attribute.ty.is_open());
        let own = open.next().map(|(name, _)| name.clone());
        own.or_else(|| self.blocks.iter().find_map(|(name, nested)| Some(format!("{name}.{}", nested.block.open()?))))
    }
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attribute {
    /// What its value is.
    #[serde(rename = "t")]
    pub ty: Type,
    /// Who sets it.
    #[serde(rename = "u")]
    pub usage: Usage,
    /// The values that the provider's documentation lists for a text, or for those of a list; none where it lists none.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl Attribute {
    /// One of which no values are listed.
    pub fn new(ty: Type, usage: Usage) -> Self {
        Self { ty, usage, values: Vec::new() }
    }

    /// With the values that its description lists, where it holds texts.
    #[must_use]
    fn described(mut self, description: &str) -> Self {
        let of_texts = match &self.ty {
            Type::List(inner) | Type::Set(inner) => **inner == Type::String,
            ty => *ty == Type::String,
        };
        if of_texts && self.usage.is_settable() {
            self.values = values::listed(description);
        }
        self
    }
}

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Usage {
    /// The configuration must.
    #[serde(rename = "r")]
    Required,
    /// The configuration may.
    #[serde(rename = "o")]
    Optional,
    /// The configuration may, else the provider does.
    #[serde(rename = "oc")]
    OptionalComputed,
    /// The provider does; the configuration must not.
    #[serde(rename = "c")]
    Computed,
}

impl Usage {
    /// From the three flags of a schema.
    pub fn of(required: bool, optional: bool, computed: bool) -> Self {
        match (required, optional, computed) {
            (true, _, _) => Self::Required,
            (false, true, false) => Self::Optional,
            (false, true, true) => Self::OptionalComputed,
            (false, false, _) => Self::Computed,
        }
    }

    /// Whether a configuration may set it.
    pub fn is_settable(self) -> bool {
        self != Self::Computed
    }
}

/// The type of a value (Terraform language, "Type Constraints").
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// Anything: its type is not known before it is set.
    Any,
    /// Values of one type, in order.
    List(Box<Type>),
    /// Values of one type, each once.
    Set(Box<Type>),
    /// Values of one type, by key.
    Map(Box<Type>),
    /// Attributes, each of a type of its own.
    Object(BTreeMap<String, Attribute>),
}

impl Type {
    /// Whether a part of it can be anything.
    fn is_open(&self) -> bool {
        match self {
            Self::Any => true,
            Self::List(inner) | Self::Set(inner) | Self::Map(inner) => inner.is_open(),
            Self::Object(fields) => fields.values().any(|field| field.ty.is_open()),
            Self::String | Self::Number | Self::Bool => false,
        }
    }
}

/// A nested block.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NestedBlock {
    /// How several stand together.
    #[serde(rename = "n")]
    pub nesting: Nesting,
    /// How many there must be.
    #[serde(rename = "i", default, skip_serializing_if = "is_zero")]
    pub min: u32,
    /// How many there may be; 0 for any number.
    #[serde(rename = "x", default, skip_serializing_if = "is_zero")]
    pub max: u32,
    /// What it holds.
    #[serde(flatten)]
    pub block: Block,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// How nested blocks of a type stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nesting {
    /// One, or none.
    Single,
    /// One, which is there even if it is not written.
    Group,
    /// In order.
    List,
    /// Without order.
    Set,
    /// By a label.
    Map,
}

/// What a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A `resource` block.
    Resource,
    /// A `data` block.
    Data,
    /// A `provider` block.
    Provider,
}

impl Kind {
    /// The keyword of such blocks.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Data => "data",
            Self::Provider => "provider",
        }
    }

    /// By the keyword.
    pub fn of(keyword: &str) -> Option<Self> {
        [Self::Resource, Self::Data, Self::Provider].into_iter().find(|kind| kind.keyword() == keyword)
    }
}

/// What can go wrong with schemas.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {why}")]
    Content {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl From<SchemaError> for crate::exit::Failure {
    fn from(error: SchemaError) -> Self {
        Self::new(crate::exit::ExitStatus::Input, error.to_string()).hint(
            "schemas come from `terraform providers schema -json`, an unpacked prebuilt provider package, or a .pack file; \
             a .pack file in the cache that cannot be read can be taken away or imported again",
        )
    }
}
