//! Schemas out of prebuilt provider packages: TypeScript classes that a generator made of a provider's schema, one folder
//! a type, with the TypeScript inside the JavaScript's source map (<https://tc39.es/ecma426/>, `sourcesContent`).
//!
//! What is read, all by the generator's own patterns:
//! - `tfResourceType = "…"` and the base class: which type it is, and of which kind;
//! - `// NAME - computed: …, optional: …, required: …` in a class: an attribute or a nested block, and who sets it;
//! - `new FooList(this, "name", true)` below that: that it holds `Foo`s, as a set (`true`) or a list;
//! - the interface `Foo`, where the comment on a member says `name block` if it is one, and `[]` that there can be many;
//! - `storageClassType: "…"` of what the class writes to HCL: the type of plain attributes; and what the getters return.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::*;
use regex::Regex;
use serde::Deserialize;

use crate::pattern::pattern;

use super::pack::{Head, Pack};
use super::{Attribute, Block, Kind, NestedBlock, Nesting, SchemaError, Type, Usage};

/// A class that holds itself, as the statements of a firewall's rules do, is followed this often: providers' schemas end
/// somewhere, but the package does not say where.
const TURNS: usize = 2;

/// Reads an unpacked package: the folder that holds `package.json` and `lib/`.
///
/// # Errors
/// When it is no such folder, or no type can be read from it.
pub fn read(folder: &Path) -> Result<Pack, SchemaError> {
    let bad = |why: &str| SchemaError::Content { path: folder.to_owned(), why: why.to_owned() };
    let package: Package = {
        let path = folder.join("package.json");
        let text = std::fs::read_to_string(&path).map_err(|source| SchemaError::Io { path: path.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| SchemaError::Content { path, why: error.to_string() })?
    };
    let lib = folder.join("lib");
    let entries = std::fs::read_dir(&lib).map_err(|source| SchemaError::Io { path: lib.clone(), source })?;
    let folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    let read: Vec<Found> = folders.par_iter().map(|folder| found(&sources(folder))).collect();
    let documentation = read.iter().find_map(|found| found.documentation.clone());
    let schemas: BTreeMap<_, _> = read.into_iter().flat_map(|found| found.schemas).collect();
    let (provider, version) = documentation.ok_or_else(|| bad("no type could be read from its source maps"))?;
    let name = provider.rsplit('/').next().unwrap_or_default();
    let source = format!("npm {} {}", package.name, package.version);
    // The package itself says so of its generated files.
    let licence = package.license.unwrap_or_else(|| "unknown".into());
    Ok(Pack::new(&Head::new(name, &provider, &version, &source, &licence), &schemas))
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// The TypeScript of a folder, all files.
fn sources(folder: &Path) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct SourceMap {
        #[serde(default)]
        sources_content: Vec<Option<String>>,
    }
    let mut all = String::new();
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    for file in files.filter(|file| file.path().extension().is_some_and(|extension| extension == "js")) {
        let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
        let Some((_, map)) = text.rsplit_once("sourceMappingURL=data:application/json;base64,") else { continue };
        let map = STANDARD.decode(map.trim_end().trim_end_matches("*/").trim_end()).ok();
        let map = map.and_then(|map| serde_json::from_slice::<SourceMap>(&map).ok());
        for source in map.into_iter().flat_map(|map| map.sources_content).flatten() {
            all.push_str(&source);
            all.push('\n');
        }
    }
    all
}

/// What a folder gave.
#[derive(Default)]
struct Found {
    schemas: Vec<((Kind, String), Block)>,
    /// The provider's source address and version, from a link to its documentation.
    documentation: Option<(String, String)>,
}

/// A class or an interface, by what is known of its members.
#[derive(Debug, Default)]
struct Class {
    members: BTreeMap<String, Member>,
}

#[derive(Debug, Default)]
struct Member {
    usage: Option<Usage>,
    /// The class that it holds, and whether as a set.
    holds: Option<(String, bool)>,
    getter: Option<String>,
}

/// What an interface says of a member.
#[derive(Debug)]
struct Declared {
    is_block: bool,
    required: bool,
    many: bool,
    ty: String,
    /// The provider's own words on it.
    description: String,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    class: pattern(r"^export (?:abstract )?class (\w+) extends \w+\.(\w+)"),
    interface: pattern(r"^export interface (\w+)"),
    ty: pattern(r#"tfResourceType = "(\w+)""#),
    flags: pattern(r"^  // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)"),
    holds: pattern(r#"= new (?:\w+\.)?(\w+)\(this, "\w+"(?:, (\w+))?"#),
    getter: pattern(r"this\.get(\w+)Attribute\("),
    anchor: pattern(r"#(\w+) \w+#\w+\}"),
    member: pattern(r"^  readonly \w+(\??): (.+);$"),
    block: pattern(r"^  \* (\w+) block$"),
    hcl: pattern(r"^export function (\w+)ToHclTerraform\("),
    entry: pattern(r"^ +(\w+): \{$"),
    stored: pattern(r#"^ +storageClassType: "(\w+)""#),
    shape: pattern(r#"^ +type: "(\w+)""#),
    documentation: pattern(r"/providers/(\w[\w-]*/\w[\w-]*)/([0-9][\w.-]*)/docs"),
});

struct Patterns {
    class: Regex,
    interface: Regex,
    ty: Regex,
    flags: Regex,
    holds: Regex,
    getter: Regex,
    anchor: Regex,
    member: Regex,
    block: Regex,
    hcl: Regex,
    entry: Regex,
    stored: Regex,
    shape: Regex,
    documentation: Regex,
}

/// What stands in one folder's TypeScript.
#[derive(Debug, Default)]
struct Reader {
    classes: HashMap<String, Class>,
    interfaces: HashMap<String, BTreeMap<String, Declared>>,
    /// By lower-case class: the shape and the storage class of what it writes.
    written: HashMap<String, BTreeMap<String, (String, String)>>,
    roots: Vec<(Kind, String, String)>,
}

fn found(text: &str) -> Found {
    let reader = Reader::read(text);
    let documentation = PATTERNS.documentation.captures(text).map(|c| (c[1].to_owned(), c[2].to_owned()));
    let schema = |(kind, ty, class): &(Kind, String, String)| {
        let block = reader.block(class, &format!("{class}Config"), &[]);
        ((*kind, ty.clone()), block)
    };
    Found { schemas: reader.roots.iter().map(schema).collect(), documentation }
}

impl Reader {
    fn read(text: &str) -> Self {
        let p = &*PATTERNS;
        let mut reader = Self::default();
        let (mut class, mut interface, mut hcl) = (String::new(), String::new(), String::new());
        let (mut base, mut member, mut name, mut shape) = (String::new(), String::new(), String::new(), String::new());
        let (mut is_block, mut description) = (false, String::new());
        for line in text.lines() {
            if let Some(c) = p.class.captures(line) {
                (class, base) = (c[1].trim_end_matches("OutputReference").to_owned(), c[2].to_owned());
                // Lists and maps of a class are no class of their own.
                if matches!(&c[2], "ComplexList" | "ComplexMap") {
                    class.clear();
                }
                interface.clear();
                member.clear();
                hcl.clone_from(&class);
            } else if let Some(c) = p.interface.captures(line) {
                interface = c[1].to_owned();
                class.clear();
                name.clear();
                reader.interfaces.entry(interface.clone()).or_default();
            } else if let Some(c) = p.hcl.captures(line) {
                hcl = c[1].to_owned();
                class.clear();
                interface.clear();
            } else if let Some(c) = p.ty.captures(line) {
                let kind = match base.as_str() {
                    "TerraformResource" => Kind::Resource,
                    "TerraformDataSource" => Kind::Data,
                    "TerraformProvider" => Kind::Provider,
                    _ => continue,
                };
                reader.roots.push((kind, c[1].to_owned(), class.clone()));
            } else if !interface.is_empty() {
                if let Some(c) = p.block.captures(line) {
                    is_block = !c[1].is_empty();
                } else if let Some(c) = p.member.captures(line) {
                    let declared = Declared {
                        is_block,
                        required: c[1].is_empty(),
                        many: c[2].contains("[]"),
                        ty: c[2].split(['[', ' ', '|']).next().unwrap_or_default().to_owned(),
                        description: std::mem::take(&mut description),
                    };
                    if !name.is_empty() {
                        reader.interfaces.entry(interface.clone()).or_default().insert(name.clone(), declared);
                    }
                    is_block = false;
                    name.clear();
                } else if let Some(c) = p.anchor.captures(line) {
                    name = c[1].to_owned();
                } else if line.trim() == "/**" {
                    description.clear();
                } else if let Some(told) = line.strip_prefix("  * ") {
                    description.extend([told, "\n"]);
                }
            } else {
                reader.class_line(line, &class, &hcl, &mut member, &mut name, &mut shape);
            }
        }
        reader
    }

    fn class_line(
        &mut self,
        line: &str,
        class: &str,
        hcl: &str,
        member: &mut String,
        name: &mut String,
        shape: &mut String,
    ) {
        let p = &*PATTERNS;
        if let Some(c) = p.flags.captures(line).filter(|_| !class.is_empty()) {
            *member = c[1].to_owned();
            let flag = |n: usize| &c[n] == "true";
            let entry = self.classes.entry(class.to_owned()).or_default().members.entry(member.clone()).or_default();
            entry.usage = Some(Usage::of(flag(4), flag(3), flag(2)));
        } else if let Some(c) = p.stored.captures(line).filter(|_| !hcl.is_empty()) {
            let written = self.written.entry(hcl.to_lowercase()).or_default();
            written.insert(std::mem::take(name), (std::mem::take(shape), c[1].to_owned()));
        } else if let Some(c) = p.shape.captures(line) {
            *shape = c[1].to_owned();
        } else if let Some(c) = p.entry.captures(line) {
            *name = c[1].to_owned();
        } else if !member.is_empty() && !class.is_empty() {
            let entry = self.classes.entry(class.to_owned()).or_default().members.entry(member.clone()).or_default();
            if let Some(c) = p.holds.captures(line) {
                entry.holds.get_or_insert((c[1].to_owned(), c.get(2).is_some_and(|flag| flag.as_str() == "true")));
            } else if let Some(c) = p.getter.captures(line) {
                let is_set = line.contains("Fn.tolist(");
                entry.getter.get_or_insert(format!("{}{}", &c[1], if is_set { "Set" } else { "" }));
            }
        }
    }

    /// The schema of a class; `interface` is the one of its configuration, `path` the classes that it is held by.
    fn block(&self, class: &str, interface: &str, path: &[&str]) -> Block {
        let mut block = Block::default();
        let path = [path, &[class]].concat();
        let declared = self.interfaces.get(interface);
        let members = self.classes.get(class).map(|class| &class.members);
        let mut names: Vec<&String> = members.into_iter().flat_map(BTreeMap::keys).collect();
        // A provider's nested classes have interfaces only.
        names.extend(
            declared
                .into_iter()
                .flat_map(BTreeMap::keys)
                .filter(|name| members.is_none_or(|members| !members.contains_key(*name))),
        );
        for name in names {
            let member = members.and_then(|members| members.get(name));
            let declared = declared.and_then(|declared| declared.get(name));
            let written = self.written.get(&class.to_lowercase()).and_then(|written| written.get(name));
            let usage = member
                .and_then(|member| member.usage)
                .unwrap_or_else(|| Usage::of(declared.is_some_and(|declared| declared.required), true, false));
            match self.nested(member, declared, written) {
                Some((inner, ..)) if path.iter().filter(|class| **class == inner).count() >= TURNS => {}
                Some((inner, nesting, many)) => {
                    let inner = self.block(&inner, &inner, &path);
                    if declared.is_some_and(|declared| declared.is_block) {
                        let (min, max) = (u32::from(usage == Usage::Required), u32::from(!many));
                        let max = if nesting == Nesting::Single { 0 } else { max };
                        block.blocks.insert(name.clone(), NestedBlock { nesting, min, max, block: inner });
                    } else {
                        let ty = collected(object(inner), nesting);
                        block.attributes.insert(name.clone(), Attribute::new(ty, usage));
                    }
                }
                None => {
                    let ty = match (written, member.and_then(|member| member.getter.as_deref())) {
                        (Some((shape, stored)), _) => written_type(shape, stored),
                        (None, Some(getter)) => getter_type(getter),
                        (None, None) => match member.and_then(|member| member.holds.as_ref()) {
                            Some((holder, is_set)) => holder_type(holder, *is_set),
                            None => declared.map_or(Type::Any, |declared| declared_type(&declared.ty, declared.many)),
                        },
                    };
                    let description = declared.map_or("", |declared| declared.description.as_str());
                    block.attributes.insert(name.clone(), Attribute::new(ty, usage).described(description));
                }
            }
        }
        block
    }

    /// The class that a member holds, how, and whether there can be several.
    fn nested(
        &self,
        member: Option<&Member>,
        declared: Option<&Declared>,
        written: Option<&(String, String)>,
    ) -> Option<(String, Nesting, bool)> {
        let known = |class: &str| self.classes.contains_key(class) || self.interfaces.contains_key(class);
        if let Some((holder, is_set)) = member.and_then(|member| member.holds.as_ref()) {
            let (class, nesting) = match holder {
                holder if holder.ends_with("OutputReference") => {
                    let single = written.is_none_or(|(shape, _)| shape == "struct");
                    let nesting = match (single, written.is_some_and(|(shape, _)| shape == "set")) {
                        (true, _) => Nesting::Single,
                        (false, true) => Nesting::Set,
                        (false, false) => Nesting::List,
                    };
                    (holder.trim_end_matches("OutputReference"), nesting)
                }
                holder if holder.ends_with("Map") && known(holder.trim_end_matches("Map")) => {
                    (holder.trim_end_matches("Map"), Nesting::Map)
                }
                holder if holder.ends_with("List") && known(holder.trim_end_matches("List")) => {
                    (holder.trim_end_matches("List"), if *is_set { Nesting::Set } else { Nesting::List })
                }
                _ => return None,
            };
            let many = declared.is_none_or(|declared| declared.many) && nesting != Nesting::Single;
            return known(class).then(|| (class.to_owned(), nesting, many));
        }
        let declared = declared.filter(|declared| self.interfaces.contains_key(&declared.ty))?;
        let nesting = match written.map(|(shape, _)| shape.as_str()) {
            Some("set") => Nesting::Set,
            Some("struct") => Nesting::Single,
            Some("map") => Nesting::Map,
            _ => Nesting::List,
        };
        Some((declared.ty.clone(), nesting, declared.many))
    }
}

/// A block's content as a value.
fn object(block: Block) -> Type {
    let nested = block.blocks.into_iter().map(|(name, nested)| {
        let usage = if nested.min > 0 { Usage::Required } else { Usage::Optional };
        (name, Attribute::new(collected(object(nested.block), nested.nesting), usage))
    });
    Type::Object(block.attributes.into_iter().chain(nested).collect())
}

fn collected(ty: Type, nesting: Nesting) -> Type {
    match nesting {
        Nesting::List => Type::List(Box::new(ty)),
        Nesting::Set => Type::Set(Box::new(ty)),
        Nesting::Map => Type::Map(Box::new(ty)),
        Nesting::Single | Nesting::Group => ty,
    }
}

/// `string`, `numberList`, `stringMapList`: the innermost first.
fn written_type(shape: &str, stored: &str) -> Type {
    let mut rest = stored;
    let mut ty = Type::Any;
    for (name, primitive) in PRIMITIVES {
        if let Some(after) = stored.strip_prefix(name) {
            (rest, ty) = (after, primitive);
            break;
        }
    }
    loop {
        let collection = match rest {
            _ if rest.starts_with("List") => Type::List,
            _ if rest.starts_with("Map") => Type::Map,
            _ => break,
        };
        let length = if rest.starts_with("List") { 4 } else { 3 };
        ty = collection(Box::new(ty));
        rest = &rest[length..];
    }
    match (shape, ty) {
        ("set", Type::List(inner)) => Type::Set(inner),
        (_, ty) => ty,
    }
}

const PRIMITIVES: [(&str, Type); 4] =
    [("string", Type::String), ("number", Type::Number), ("boolean", Type::Bool), ("any", Type::Any)];

/// By the name of the getter: `getNumberListAttribute` and so on; a plain list is one of texts.
fn getter_type(getter: &str) -> Type {
    let list = |ty| Type::List(Box::new(ty));
    match getter {
        "String" => Type::String,
        "Number" => Type::Number,
        "Boolean" => Type::Bool,
        "List" => list(Type::String),
        "ListSet" => Type::Set(Box::new(Type::String)),
        "NumberList" => list(Type::Number),
        "NumberListSet" => Type::Set(Box::new(Type::Number)),
        "StringMap" => Type::Map(Box::new(Type::String)),
        "NumberMap" => Type::Map(Box::new(Type::Number)),
        "BooleanMap" => Type::Map(Box::new(Type::Bool)),
        _ => Type::Any,
    }
}

/// By the class that holds plain values: `StringMap`, `NumberMapList`.
fn holder_type(holder: &str, is_set: bool) -> Type {
    let stored = format!("{}{}", holder[..1].to_lowercase(), &holder[1..]);
    written_type(if is_set { "set" } else { "" }, &stored)
}

/// By the TypeScript type of a member that nothing else is known of.
fn declared_type(ty: &str, many: bool) -> Type {
    let ty = PRIMITIVES.into_iter().find(|(name, _)| *name == ty).map_or(Type::Any, |(_, ty)| ty);
    if many { Type::List(Box::new(ty)) } else { ty }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a generator writes for a resource, less what is not read.
    const DISK: &str = r#"
// https://registry.test/providers/acme/cloud/1.2.3/docs/resources/disk
export interface DiskConfig extends cdktn.TerraformMetaArguments {
  /**
  * Docs at Terraform Registry: {@link https://registry.test/providers/acme/cloud/1.2.3/docs/resources/disk#size Disk#size}
  */
  readonly size: number;
  /**
  * Docs at Terraform Registry: {@link https://registry.test/providers/acme/cloud/1.2.3/docs/resources/disk#rule Disk#rule}
  */
  readonly rule?: DiskRule[] | cdktn.IResolvable;
  /**
  * backup block
  *
  * Docs at Terraform Registry: {@link https://registry.test/providers/acme/cloud/1.2.3/docs/resources/disk#backup Disk#backup}
  */
  readonly backup?: DiskBackup;
}
export interface DiskRule {
  /**
  * Docs at Terraform Registry: {@link https://registry.test/providers/acme/cloud/1.2.3/docs/resources/disk#port Disk#port}
  */
  readonly port?: number;
}
export function diskRuleToHclTerraform(struct?: DiskRule | cdktn.IResolvable): any {
  const attrs = {
    port: {
      value: cdktn.numberToHclTerraform(struct!.port),
      isBlock: false,
      type: "simple",
      storageClassType: "number",
    },
  };
}
export class DiskRuleOutputReference extends cdktn.ComplexObject {
  // port - computed: true, optional: true, required: false
  public get port() {
    return this.getNumberAttribute('port');
  }
}
export class DiskRuleList extends cdktn.ComplexList {
  public get(index: number): DiskRuleOutputReference {
    return new DiskRuleOutputReference(this.terraformResource, this.terraformAttribute, index, this.wrapsSet);
  }
}
export interface DiskBackup {
  /**
  * Docs at Terraform Registry: {@link https://registry.test/providers/acme/cloud/1.2.3/docs/resources/disk#days Disk#days}
  */
  readonly days: number[];
}
export class DiskBackupOutputReference extends cdktn.ComplexObject {
  // days - computed: false, optional: false, required: true
  public get days() {
    return this.getNumberListAttribute('days');
  }
  // again - computed: false, optional: true, required: false
  private _again = new DiskBackupOutputReference(this, "again");
}
export class Disk extends cdktn.TerraformResource {
  public static readonly tfResourceType = "cloud_disk";
  // labels - computed: true, optional: false, required: false
  private _labels = new cdktn.StringMap(this, "labels");
  // size - computed: false, optional: false, required: true
  public get size() {
    return this.getNumberAttribute('size');
  }
  // rule - computed: true, optional: true, required: false
  private _rule = new DiskRuleList(this, "rule", true);
  // backup - computed: false, optional: true, required: false
  private _backup = new DiskBackupOutputReference(this, "backup");
  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      size: {
        value: cdktn.numberToHclTerraform(this._size),
        isBlock: false,
        type: "simple",
        storageClassType: "number",
      },
      backup: {
        value: diskBackupToHclTerraform(this._backup.internalValue),
        isBlock: true,
        type: "list",
        storageClassType: "DiskBackupList",
      },
    };
  }
}
"#;

    fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let json = r#"{"name": "@test/provider-cloud", "version": "9.0.0", "license": "MPL-2.0"}"#;
        std::fs::write(dir.path().join("package.json"), json).unwrap();
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        for (name, source) in files {
            let folder = dir.path().join("lib").join(name);
            std::fs::create_dir(&folder).unwrap();
            let map = serde_json::json!({"version": 3, "sourcesContent": [source]}).to_string();
            let map = STANDARD.encode(map);
            let text = format!("code;\n//# sourceMappingURL=data:application/json;base64,{map}\n");
            std::fs::write(folder.join("index.js"), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_package_gives_the_schema_that_it_was_made_of() {
        let pack = read(package(&[("disk", DISK)]).path()).unwrap();
        let head = pack.head().unwrap();
        assert_eq!((head.provider.as_str(), head.version.as_str()), ("acme/cloud", "1.2.3"));
        assert_eq!((head.source.as_str(), head.licence.as_str()), ("npm @test/provider-cloud 9.0.0", "MPL-2.0"));
        let disk = pack.get(Kind::Resource, "cloud_disk").unwrap();
        assert_eq!(disk.attributes["size"], Attribute::new(Type::Number, Usage::Required));
        let labels = Attribute::new(Type::Map(Box::new(Type::String)), Usage::Computed);
        assert_eq!(disk.attributes["labels"], labels);
        assert_eq!(disk.attributes["rule"].usage, Usage::OptionalComputed);
        let Type::Set(rule) = &disk.attributes["rule"].ty else { panic!("{disk:?}") };
        assert!(matches!(&**rule, Type::Object(fields) if fields["port"].ty == Type::Number));
        let backup = &disk.blocks["backup"];
        assert_eq!((backup.nesting, backup.min, backup.max), (Nesting::List, 0, 1));
        assert_eq!(backup.block.attributes["days"].ty, Type::List(Box::new(Type::Number)));
        assert_eq!(disk.attributes.len() + disk.blocks.len(), 4);
    }

    #[test]
    fn a_folder_that_is_no_such_package_is_an_error() {
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).unwrap_err().to_string().contains("package.json"));
        let error = read(package(&[("disk", "export class Disk {}")]).path()).unwrap_err();
        assert!(error.to_string().contains("no type could be read"), "{error}");
    }
}
