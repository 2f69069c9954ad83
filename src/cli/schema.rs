//! `caulk schema list|show|import`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use comfy_table::{ContentArrangement, Table, presets};

use crate::cache::Cache;
use crate::exit::{ExitStatus, Failure};
use crate::output::{OutputError, stdout};
use crate::schema::{self, Head, Kind, Pack, Schemas, Source};

/// List, show and add providers' schemas
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `caulk schema` does.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the schema packs that are there, with version, source and licence
    List,
    /// Show what a type consists of
    Show {
        /// A resource type, a data source with `data.` before it, or a provider with `provider.` before it
        #[arg(value_name = "TYPE")]
        ty: String,
    },
    /// Add schema packs, or replace those of the same provider and major version
    Import {
        /// The output of `terraform providers schema -json`, a pack, or the folder of an unpacked prebuilt provider
        /// package of npm (`@cdktf/provider-…`, `@cdktn/provider-…`)
        #[arg(value_name = "FILE|DIR", required = true)]
        from: Vec<PathBuf>,
        /// Write the packs into this folder instead of the cache
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Runs `caulk schema`.
///
/// # Errors
/// When a pack cannot be read or written, or there is no such type.
pub fn run(args: &Args, cache: &Cache) -> Result<ExitStatus, Failure> {
    match &args.command {
        Command::List => list(cache),
        Command::Show { ty } => show(cache, ty),
        Command::Import { from, out } => import(from, out.as_deref().unwrap_or(&cache.schemas_dir())),
    }
}

fn list(cache: &Cache) -> Result<ExitStatus, Failure> {
    let schemas = Schemas::open(&cache.schemas_dir())?;
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["provider", "version", "resources", "data sources", "read from", "licence", "where"]);
    for (source, pack) in schemas.packs() {
        let Some(head) = pack.head() else { continue };
        let count = |kind: Kind| pack.types().filter(|(k, _)| *k == kind).count().to_string();
        table.add_row([
            head.provider.clone(),
            head.version.clone(),
            count(Kind::Resource),
            count(Kind::Data),
            head.source.clone(),
            head.licence.clone(),
            place(source),
        ]);
    }
    Ok(stdout::line(&table.to_string())?.or(ExitStatus::Clean))
}

fn place(source: &Source) -> String {
    match source {
        Source::Embedded => "built in".into(),
        Source::Imported(path) => path.display().to_string(),
        Source::Module => "the module".into(),
    }
}

fn show(cache: &Cache, name: &str) -> Result<ExitStatus, Failure> {
    let (kind, ty) = match name.split_once('.').and_then(|(keyword, ty)| Some((Kind::of(keyword)?, ty))) {
        Some(named) => named,
        None => (Kind::Resource, name),
    };
    let schemas = Schemas::open(&cache.schemas_dir())?;
    let Some((block, pack)) = schemas.any(kind, ty) else {
        let near = schemas.nearest(kind, ty).map_or(String::new(), |near| format!("; the nearest is {near}"));
        let what = format!("no schema pack has a {} {ty}{near}", kind.keyword());
        return Err(Failure::new(ExitStatus::Usage, what).hint("`caulk schema list` names the packs"));
    };
    let of = pack.head().map_or(String::new(), |head| format!(" ({} {})", head.provider, head.version));
    Ok(stdout::line(&format!("{} {ty}{of}\n\n{}", kind.keyword(), schema::page(&block).trim_end()))?
        .or(ExitStatus::Clean))
}

fn import(from: &[PathBuf], out: &Path) -> Result<ExitStatus, Failure> {
    let mut packs = Vec::new();
    for path in from {
        packs.extend(read(path)?);
    }
    let mut names = BTreeMap::new();
    for head in packs.iter().filter_map(Pack::head) {
        let of = format!("{} {}", head.provider, head.version);
        if let Some(other) = names.insert(file_name(head), of.clone()).filter(|other| *other != of) {
            let what = format!("both {other} and {of} would be {}", file_name(head));
            return Err(Failure::new(ExitStatus::Usage, what).hint("import them one by one: the last one stays"));
        }
    }
    std::fs::create_dir_all(out).map_err(OutputError::io("write", out))?;
    let mut said = Vec::new();
    for pack in &packs {
        let Some(head) = pack.head() else { continue };
        let file = out.join(file_name(head));
        crate::cache::write_whole(&file, pack.bytes()).map_err(OutputError::io("write", &file))?;
        let size = pack.bytes().len();
        said.push(format!(
            "{} {}: {} ({} types, {size} bytes)",
            head.provider,
            head.version,
            file.display(),
            pack.types().count()
        ));
    }
    Ok(stdout::line(&said.join("\n"))?.or(ExitStatus::Clean))
}

/// What a pack's file is called: a provider has one for each major version.
fn file_name(head: &Head) -> String {
    let major: String = head.version.chars().take_while(char::is_ascii_digit).collect();
    // What `terraform providers schema` prints does not say it.
    if major.is_empty() { format!("{}.pack", head.name) } else { format!("{}-{major}.pack", head.name) }
}

/// The packs that a path leads to.
fn read(path: &Path) -> Result<Vec<Pack>, Failure> {
    if path.is_dir() {
        return Ok(vec![schema::read_prebuilt(path)?]);
    }
    if path.extension().is_some_and(|extension| extension == "pack") {
        return Ok(vec![Pack::open(path)?]);
    }
    let text =
        std::fs::read_to_string(path).map_err(|source| schema::SchemaError::Io { path: path.to_owned(), source })?;
    Ok(schema::read_terraform(&text, path)?)
}
