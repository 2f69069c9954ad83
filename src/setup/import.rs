//! Takes a GGUF of the user's own into the cache.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};

use super::manifest::{Manifest, Source, manifests};
use super::{SetupError, lock};
use crate::cache::Cache;
use crate::progress::Progress;

/// Links or copies a GGUF into the cache and writes its manifest. Its name is `name`, else the file's.
///
/// # Errors
/// When it is no readable GGUF, is cut off, or the name is taken by another model.
pub fn import(cache: &Cache, file: &Path, name: Option<&str>, progress: &Progress) -> Result<Manifest, SetupError> {
    let source = file.canonicalize().map_err(SetupError::io("open", file))?;
    let architecture = architecture(&source)?;
    let size = fs::metadata(&source).map_err(SetupError::io("read", &source))?.len();
    let sha256 = cache.sha256(&source, progress)?;

    let _lock = lock(cache, progress)?;
    let known = manifests(cache)?;
    // A model that caulk knows, brought by hand.
    if let Some(same) = known.iter().find(|k| k.sha256 == sha256 && name.is_none_or(|name| name == k.name)) {
        place(cache, &source, same)?;
        return Ok(same.clone());
    }
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.map_or(stem, str::to_owned);
    let manifest = Manifest {
        file: format!("{name}.gguf"),
        name,
        size,
        sha256,
        architecture,
        chat_template: "gguf".to_owned(),
        end_tokens: Vec::new(),
        licence: String::new(),
        sources: vec![Source::Local { path: Some(source.clone()), env: None }],
    };
    manifest.check().map_err(|message| SetupError::Manifest { origin: file.display().to_string(), message })?;
    if known.iter().any(|other| other.name == manifest.name) {
        let message = "another model has that name; choose one with --name".to_owned();
        return Err(SetupError::Manifest { origin: manifest.name, message });
    }
    place(cache, &source, &manifest)?;
    manifest.save(cache)?;
    Ok(manifest)
}

/// A link costs no space; a file that is changed in place later is found out by its stamp.
fn place(cache: &Cache, source: &Path, manifest: &Manifest) -> Result<(), SetupError> {
    let target = manifest.path(cache);
    let dir = target.parent().unwrap_or(&target);
    fs::create_dir_all(dir).map_err(SetupError::io("create", dir))?;
    let part = dir.join(format!("{}.part", manifest.file));
    drop(fs::remove_file(&part));
    if fs::hard_link(source, &part).is_err() {
        fs::copy(source, &part).map_err(SetupError::io("write", &part))?;
    }
    fs::rename(&part, &target).map_err(SetupError::io("write", &target))?;
    // Renaming one link of a file over another one of the same file leaves both.
    drop(fs::remove_file(&part));
    cache.stamp(&target, &manifest.sha256);
    Ok(())
}

/// `general.architecture` of a GGUF whose tensors all lie within the file.
fn architecture(path: &Path) -> Result<String, SetupError> {
    let bad = |message: String| SetupError::Gguf { path: path.to_owned(), message };
    let file = File::open(path).map_err(SetupError::io("open", path))?;
    let size = file.metadata().map_err(SetupError::io("read", path))?.len();
    let content = Content::read(&mut BufReader::new(file)).map_err(|e| {
        // With RUST_BACKTRACE, a backtrace follows the message.
        bad(e.to_string().lines().next().unwrap_or_default().to_owned())
    })?;
    for (name, tensor) in &content.tensor_infos {
        let elements = tensor.shape.elem_count() as u64;
        let bytes = elements / tensor.ggml_dtype.block_size() as u64 * tensor.ggml_dtype.type_size() as u64;
        if content.tensor_data_offset.saturating_add(tensor.offset).saturating_add(bytes) > size {
            return Err(bad(format!("it is cut off: the tensor {name} ends behind the file's {size} bytes")));
        }
    }
    match content.metadata.get("general.architecture") {
        Some(Value::String(architecture)) => Ok(architecture.clone()),
        _ => Err(bad("it names no architecture".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::progress::Mode;
    use crate::setup::find_model;

    /// A GGUF of one tensor, whose file differs with `value`.
    fn gguf(path: &Path, value: f32) {
        let tensor = Tensor::full(value, (2, 32), &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
        let architecture = Value::String("llama".to_owned());
        let mut file = File::create(path).unwrap();
        gguf_file::write(&mut file, &[("general.architecture", &architecture)], &[("w", &tensor)]).unwrap();
    }

    #[test]
    fn a_model_of_ones_own_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&dir.path().join("cache"))).unwrap();
        let (file, quiet) = (dir.path().join("Mine.gguf"), Progress::new(Mode::Quiet));
        gguf(&file, 1.0);
        let manifest = import(&cache, &file, None, &quiet).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.architecture.as_str()), ("mine", "llama"));
        assert_eq!(find_model(&cache, "mine").unwrap().manifest, Some(manifest.clone()));
        assert_eq!(import(&cache, &file, None, &quiet).unwrap(), manifest);

        gguf(&file, 2.0);
        assert!(matches!(import(&cache, &file, None, &quiet), Err(SetupError::Manifest { .. })));
        assert_eq!(import(&cache, &file, Some("second"), &quiet).unwrap().name, "second");
    }

    #[test]
    fn what_is_cut_off_or_no_gguf_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&dir.path().join("cache"))).unwrap();
        let (file, quiet) = (dir.path().join("m.gguf"), Progress::new(Mode::Quiet));
        gguf(&file, 1.0);
        let whole = fs::read(&file).unwrap();
        // More than the padding behind the last tensor.
        fs::write(&file, &whole[..whole.len() - 32]).unwrap();
        let error = import(&cache, &file, None, &quiet).unwrap_err();
        assert!(error.to_string().contains("cut off: the tensor w"), "{error}");
        fs::write(&file, "no model").unwrap();
        assert!(matches!(import(&cache, &file, None, &quiet), Err(SetupError::Gguf { .. })));
        assert_eq!(manifests(&cache).unwrap().len(), 2);
    }
}
