//! A GGUF file: metadata by key, tensors by name, with errors that name the file.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. candle reads it; what is added here is that a
//! file whose end is missing is refused before anything is loaded, that shapes are checked against the metadata, and where in
//! the file a tensor is, for who reads it in pieces.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QTensor};

use super::ModelError;

/// An open GGUF file: its head is in memory, its tensors are not.
pub struct Gguf {
    file: PathBuf,
    content: Content,
    len: u64,
}

impl Gguf {
    /// Reads the head of a file and checks that all its tensors are there.
    ///
    /// # Errors
    /// When it cannot be read, is no GGUF, or is cut off.
    pub fn open(file: &Path) -> Result<Self, ModelError> {
        let read = |source| ModelError::Read { file: file.to_owned(), source };
        let handle = File::open(file).map_err(read)?;
        let has = handle.metadata().map_err(read)?.len();
        let content = Content::read(&mut BufReader::with_capacity(1 << 20, handle))
            .map_err(|e| ModelError::NotGguf { file: file.to_owned(), why: super::error::in_words(&e) })?;
        let needs = content.tensor_infos.values().map(|t| {
            let elements = t.shape.dims().iter().fold(1u64, |product, &dim| product.saturating_mul(dim as u64));
            let bytes = (elements / t.ggml_dtype.block_size() as u64).saturating_mul(t.ggml_dtype.type_size() as u64);
            content.tensor_data_offset.saturating_add(t.offset).saturating_add(bytes)
        });
        match needs.max() {
            Some(needs) if needs > has => Err(ModelError::CutOff { file: file.to_owned(), needs, has }),
            _ => Ok(Self { file: file.to_owned(), content, len: has }),
        }
    }

    /// The file's path.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file's length, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// A reader for tensors. One per thread: tensors are read by seeking.
    ///
    /// # Errors
    /// When the file cannot be opened again.
    pub fn reader(&self) -> Result<File, ModelError> {
        File::open(&self.file).map_err(|source| self.unread(source))
    }

    /// A metadata value.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// A metadata value that must be there.
    ///
    /// # Errors
    /// [`ModelError::MissingMetadata`].
    pub fn required(&self, key: &str) -> Result<&Value, ModelError> {
        self.value(key).ok_or_else(|| ModelError::MissingMetadata { file: self.file.clone(), key: key.to_owned() })
    }

    /// A number that counts something. Converters write any integer type.
    ///
    /// # Errors
    /// When the entry is there but no number of this kind.
    pub fn count(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = match value {
            Value::I8(v) => u64::try_from(*v).ok(),
            Value::I16(v) => u64::try_from(*v).ok(),
            Value::I32(v) => u64::try_from(*v).ok(),
            Value::I64(v) => u64::try_from(*v).ok(),
            Value::Bool(_) => None,
            other => other.to_u64().ok(),
        };
        match number.and_then(|n| usize::try_from(n).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.bad(key, "is not a count")),
        }
    }

    /// A real number.
    ///
    /// # Errors
    /// When the entry is there but no real number.
    pub fn real(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::F32(v)) => Ok(Some(f64::from(*v))),
            Some(Value::F64(v)) => Ok(Some(*v)),
            Some(_) => Err(self.bad(key, "is not a real number")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// When the entry is there but no text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(v)) => Ok(Some(v)),
            Some(_) => Err(self.bad(key, "is not a text")),
        }
    }

    /// A list of texts that must be there.
    ///
    /// # Errors
    /// When the entry is missing or no list of texts.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, ModelError> {
        let Value::Array(values) = self.required(key)? else { return Err(self.bad(key, "is not a list")) };
        let texts: Option<Vec<&str>> = values.iter().map(|v| v.to_string().ok().map(String::as_str)).collect();
        texts.ok_or_else(|| self.bad(key, "is not a list of texts"))
    }

    /// The error that a metadata entry has an unusable value.
    pub fn bad(&self, key: &str, why: impl Into<String>) -> ModelError {
        ModelError::BadMetadata { file: self.file.clone(), key: key.to_owned(), why: why.into() }
    }

    /// Whether the file has a tensor.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// The shape of a tensor, outermost dimension first.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`].
    pub fn shape(&self, name: &str) -> Result<&[usize], ModelError> {
        Ok(self.info(name)?.shape.dims())
    }

    /// Bytes of all tensors that each token needs: of an embedding that is no output layer as well, it needs one row.
    pub fn bytes_per_token(&self) -> u64 {
        let is_looked_up = |name: &str| name == "token_embd.weight" && self.has_tensor("output.weight");
        let needed = self.content.tensor_infos.iter().filter(|(name, _)| !is_looked_up(name));
        needed
            .map(|(_, info)| {
                let blocks = info.shape.elem_count() / info.ggml_dtype.block_size();
                (blocks * info.ggml_dtype.type_size()) as u64
            })
            .sum()
    }

    /// Reads a tensor of a known shape, still quantised, onto a device.
    ///
    /// # Errors
    /// When it is missing, of another shape, or cannot be read.
    pub fn tensor(
        &self,
        reader: &mut File,
        name: &str,
        shape: &[usize],
        device: &Device,
    ) -> Result<QTensor, ModelError> {
        self.with_shape(name, shape)?;
        Ok(self.content.tensor(reader, name, device)?)
    }

    /// Where a tensor of a known shape begins, bytes from the file's beginning on, and the kind of its blocks.
    ///
    /// # Errors
    /// When it is missing, or of another shape.
    pub fn place(&self, name: &str, shape: &[usize]) -> Result<(u64, GgmlDType), ModelError> {
        let info = self.with_shape(name, shape)?;
        Ok((self.content.tensor_data_offset + info.offset, info.ggml_dtype))
    }

    /// The kinds of all matrices, with their columns.
    pub fn matrices(&self) -> impl Iterator<Item = (GgmlDType, usize)> {
        let kind = |info: &TensorInfo| Some((info.ggml_dtype, *info.shape.dims().get(1)?));
        self.content.tensor_infos.values().filter_map(kind)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, ModelError> {
        let missing = || ModelError::MissingTensor { file: self.file.clone(), name: name.to_owned() };
        self.content.tensor_infos.get(name).ok_or_else(missing)
    }

    fn with_shape(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo, ModelError> {
        let info = self.info(name)?;
        if info.shape.dims() != shape {
            let (has, needs) = (info.shape.dims().to_vec(), shape.to_vec());
            return Err(ModelError::TensorShape { file: self.file.clone(), name: name.to_owned(), has, needs });
        }
        Ok(info)
    }

    /// The error that the file cannot be read.
    pub fn unread(&self, source: io::Error) -> ModelError {
        ModelError::Read { file: self.file.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, cut, written};
    use super::super::{Config, Model};
    use super::*;
    use crate::exit::{ExitStatus, Failure};

    /// The error of loading a file. It must name the file and end the process as a matter of the model.
    fn refused(path: &Path) -> ModelError {
        let error = Model::load(path, &Device::Cpu).err().expect("it must be refused");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        error
    }

    #[test]
    fn hyper_parameters_are_read() {
        let (_folder, path) = written("qwen3");
        let config = Config::read(&Gguf::open(&path).unwrap()).unwrap();
        assert_eq!((config.layers, config.width, config.heads, config.kv_heads), (2, 256, 4, 2));
        assert_eq!((config.head_width, config.vocab, config.context), (128, 270, 640));
    }

    #[test]
    fn what_is_no_gguf_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        assert!(matches!(refused(&path), ModelError::Read { .. }));
        std::fs::write(&path, "<html>not found</html>").unwrap();
        assert!(matches!(refused(&path), ModelError::NotGguf { .. }));
        std::fs::write(&path, "").unwrap();
        let failure = Failure::from(refused(&path));
        assert_eq!(failure.status, ExitStatus::Model);
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_file_without_its_end_is_refused() {
        let (_folder, path) = written("llama");
        cut(&path, 0.99);
        assert!(matches!(refused(&path), ModelError::CutOff { .. }));
        cut(&path, 0.001);
        assert!(matches!(refused(&path), ModelError::NotGguf { .. }));
    }

    #[test]
    fn an_unknown_architecture_is_named() {
        let name = Value::String("mamba".to_owned());
        let (_folder, path) = Fixture::new("llama").with("general.architecture", Some(name)).write();
        assert!(matches!(refused(&path), ModelError::Architecture { name, .. } if name == "mamba"));
    }

    #[test]
    fn missing_parts_are_named() {
        let (_folder, path) = Fixture::new("qwen2").without_tensor("blk.1.ffn_up.weight").write();
        assert!(matches!(refused(&path), ModelError::MissingTensor { name, .. } if name == "blk.1.ffn_up.weight"));
        let (_folder, path) = Fixture::new("qwen3").without_tensor("blk.0.attn_k_norm.weight").write();
        assert!(matches!(refused(&path), ModelError::MissingTensor { name, .. } if name == "blk.0.attn_k_norm.weight"));
        for key in ["llama.block_count", "tokenizer.ggml.tokens", "tokenizer.ggml.model"] {
            let (_folder, path) = Fixture::new("llama").with(key, None).write();
            assert!(matches!(refused(&path), ModelError::MissingMetadata { key: k, .. } if k == key));
        }
        let (_folder, path) = Fixture::new("llama").with("tokenizer.chat_template", None).write();
        assert!(matches!(refused(&path), ModelError::Template { .. }));
    }

    #[test]
    fn metadata_that_does_not_fit_is_refused() {
        let bad = [
            ("llama.attention.head_count", Value::U32(0)),
            ("llama.attention.head_count_kv", Value::U32(3)),
            ("llama.block_count", Value::String("two".to_owned())),
            ("llama.rope.dimension_count", Value::U32(7)),
            ("llama.rope.freq_base", Value::F32(f32::NAN)),
            ("llama.rope.scaling.type", Value::String("yarn".to_owned())),
            ("llama.expert_count", Value::U32(8)),
            ("tokenizer.ggml.token_type", Value::Array(vec![Value::I32(1)])),
        ];
        for (key, value) in bad {
            let (_folder, path) = Fixture::new("llama").with(key, Some(value)).write();
            assert!(matches!(refused(&path), ModelError::BadMetadata { key: k, .. } if k == key), "{key}");
        }
        let (_folder, path) = Fixture::new("llama").with("llama.feed_forward_length", Some(Value::U32(768))).write();
        assert!(matches!(refused(&path), ModelError::TensorShape { .. }));
    }
}
