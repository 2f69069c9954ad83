//! `caulk demo`: set-up and the main job on a small bundled module.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::exit::{ExitStatus, Failure};
use crate::progress::Progress;
use crate::setup;

use super::fix;

/// The bundled module: parts of a small shop on three clouds, with gaps of the common kinds.
const FILES: [(&str, &str); 3] = [
    ("aws.tf", include_str!("demo/aws.tf")),
    ("azure.tf", include_str!("demo/azure.tf")),
    ("google.tf", include_str!("demo/google.tf")),
];

/// Arguments of `caulk demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the module and the bundle
    #[arg(long, value_name = "DIR", default_value = "caulk-demo")]
    pub out: PathBuf,
    /// The model: a name of `caulk model list`, or a GGUF file
    #[arg(long, value_name = "NAME|FILE", default_value = setup::DEFAULT_MODEL)]
    pub model: String,
}

/// Writes the bundled module into a folder.
///
/// # Errors
/// When it cannot be written.
pub fn write(module: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(module)?;
    FILES.iter().try_for_each(|(name, text)| std::fs::write(module.join(name), text))
}

/// Runs it. Findings that remain are no failure of the demo.
///
/// # Errors
/// As `setup` and `fix`.
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    setup::ensure(cache, &setup::Part::default_set(), progress)?;
    let module = args.out.join("module");
    let fail = |e: std::io::Error| {
        Failure::new(ExitStatus::Internal, format!("cannot write {}: {e}", module.display()))
            .hint("--out names another folder")
    };
    for (name, text) in FILES {
        let path = module.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there != text) {
            let what = format!("{} is there already, with another content", path.display());
            return Err(Failure::new(ExitStatus::Usage, what).hint("--out names another folder"));
        }
    }
    write(&module).map_err(fail)?;
    let mut fix = fix::Args::of(module);
    fix.engine.model.clone_from(&args.model);
    fix.out = args.out.join("bundle");
    fix.diff = true;
    match fix::run(&fix, cache, progress)? {
        ExitStatus::FindingsRemain => Ok(ExitStatus::Clean),
        status => Ok(status),
    }
}
