//! `caulk model list|pull|verify|import`

use std::path::PathBuf;

use comfy_table::{ContentArrangement, Table, presets};

use crate::cache::Cache;
use crate::exit::{ExitStatus, Failure};
use crate::output::stdout;
use crate::progress::Progress;
use crate::setup::{self, Manifest, Part};

/// List, fetch, check and add models
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `caulk model` does.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the models that are known, and which of them are there
    List,
    /// Fetch a model into the cache
    Pull {
        /// The model's name, as `caulk model list` shows it
        #[arg(required_unless_present = "manifest")]
        name: Option<String>,
        /// Add this manifest first, and fetch its model
        #[arg(long, value_name = "FILE", conflicts_with = "name")]
        manifest: Option<PathBuf>,
        /// Take the files from this folder and use no network
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Compute the hash of a model's file anew and compare it with the pinned one
    Verify {
        /// The model's name; all that are there if none is given
        name: Option<String>,
    },
    /// Add a GGUF file of your own
    Import {
        /// The file
        file: PathBuf,
        /// The name it gets; the file's name if none is given
        #[arg(long)]
        name: Option<String>,
    },
}

/// Runs `caulk model`.
///
/// # Errors
/// See [`setup::SetupError`].
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    match &args.command {
        Command::List => list(cache),
        Command::Pull { name, manifest, from } => {
            let name = match (manifest, name) {
                (Some(path), _) => {
                    let manifest = Manifest::read(path)?;
                    manifest.save(cache)?;
                    manifest.name
                }
                (None, name) => name.clone().unwrap_or_else(|| setup::DEFAULT_MODEL.to_owned()),
            };
            let origin = from.clone().map_or(setup::Origin::Index, setup::Origin::Folder);
            setup::ensure_from(cache, &[Part::Model(name)], origin, progress)?;
            Ok(ExitStatus::Clean)
        }
        Command::Verify { name } => verify(cache, name.as_deref(), progress),
        Command::Import { file, name } => {
            let manifest = setup::import(cache, file, name.as_deref(), progress)?;
            let said = format!("{} ({}, sha256 {})", manifest.name, manifest.architecture, manifest.sha256);
            Ok(stdout::line(&said)?.or(ExitStatus::Clean))
        }
    }
}

fn list(cache: &Cache) -> Result<ExitStatus, Failure> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["model", "architecture", "size", "licence", "there"]);
    for manifest in setup::manifests(cache)? {
        let path = manifest.path(cache);
        let there = match cache.stamped_sha256(&path) {
            _ if !path.is_file() => "no",
            Some(sha256) if sha256 == manifest.sha256 => "yes",
            Some(_) => "another file",
            None => "not checked",
        };
        let default = if manifest.name == setup::DEFAULT_MODEL { " (default)" } else { "" };
        table.add_row([
            format!("{}{default}", manifest.name),
            manifest.architecture,
            format!("{} MiB", manifest.size >> 20),
            manifest.licence,
            there.to_owned(),
        ]);
    }
    Ok(stdout::line(&table.to_string())?.or(ExitStatus::Clean))
}

fn verify(cache: &Cache, name: Option<&str>, progress: &Progress) -> Result<ExitStatus, Failure> {
    let mut models = match name {
        Some(name) => vec![setup::manifest(cache, name)?],
        None => setup::manifests(cache)?,
    };
    if name.is_none() {
        models.retain(|manifest| manifest.path(cache).is_file());
    }
    if models.is_empty() {
        return Err(Failure::new(ExitStatus::Model, "there is no model in the cache").hint("caulk setup --only model"));
    }
    let mut failure = None;
    for manifest in &models {
        match setup::verify_model(cache, manifest, progress) {
            Ok(()) => {
                stdout::line(&format!("{}: sha256 as pinned", manifest.name))?;
            }
            Err(error) => {
                stdout::line(&format!("{}: {error}", manifest.name))?;
                failure = Some(Failure::from(error).hint(format!("caulk model pull {}", manifest.name)));
            }
        }
    }
    failure.map_or(Ok(ExitStatus::Clean), Err)
}
