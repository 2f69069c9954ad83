//! What can go wrong with a model, and what to do then.

use std::path::PathBuf;

use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupted;

/// An error of the model stage.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be opened or read.
    #[error("cannot read the model {}: {source}", file.display())]
    Read {
        /// The model's file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's head is not that of a GGUF which candle can read.
    #[error("{} is not a readable GGUF file: {why}", file.display())]
    NotGguf {
        /// The model's file.
        file: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// The file ends before its tensors do.
    #[error("{} is cut off: it has {has} bytes, its tensors need {needs}", file.display())]
    CutOff {
        /// The model's file.
        file: PathBuf,
        /// Bytes that the tensors reach to.
        needs: u64,
        /// Bytes of the file.
        has: u64,
    },
    /// The network is of a kind that caulk does not know.
    #[error("{}: the architecture is `{name}`; caulk runs qwen2, qwen3 and llama", file.display())]
    Architecture {
        /// The model's file.
        file: PathBuf,
        /// `general.architecture`.
        name: String,
    },
    /// A metadata entry is not there.
    #[error("{}: the metadata entry `{key}` is missing", file.display())]
    MissingMetadata {
        /// The model's file.
        file: PathBuf,
        /// The entry.
        key: String,
    },
    /// A metadata entry has a value that caulk cannot use.
    #[error("{}: the metadata entry `{key}` {why}", file.display())]
    BadMetadata {
        /// The model's file.
        file: PathBuf,
        /// The entry.
        key: String,
        /// What is wrong with it, as a predicate.
        why: String,
    },
    /// A tensor is not there.
    #[error("{}: the tensor `{name}` is missing", file.display())]
    MissingTensor {
        /// The model's file.
        file: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor does not fit the hyper-parameters.
    #[error("{}: the tensor `{name}` is {has:?}, the metadata asks for {needs:?}", file.display())]
    TensorShape {
        /// The model's file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        has: Vec<usize>,
        /// The shape that the metadata asks for.
        needs: Vec<usize>,
    },
    /// The tokenizer cannot be built.
    #[error("{}: the tokenizer cannot be built: {why}", file.display())]
    Tokenizer {
        /// The model's file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// The chat template is missing, does not compile, or refuses the turns.
    #[error("the chat template of {} does not work: {why}", file.display())]
    Template {
        /// The model's file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// The device is not there.
    #[error("cannot use the device `{name}`: {why}")]
    Device {
        /// As the user named it.
        name: String,
        /// Why not.
        why: String,
    },
    /// The grammar does not compile, or the answer went out of its hands.
    #[error("the grammar failed: {0}")]
    Grammar(String),
    /// Prompt and answer do not fit into the context.
    #[error("{tokens} tokens of prompt and answer do not fit into the model's context of {context}")]
    TooLong {
        /// Tokens of the prompt and the answer.
        tokens: usize,
        /// The model's context length.
        context: usize,
    },
    /// A tensor operation failed.
    #[error("the model's computation failed: {}", in_words(.0))]
    Compute(#[from] candle_core::Error),
    /// The user stopped the work.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// An error of candle's without the backtrace, which it carries in its text where `RUST_BACKTRACE` is set.
pub(super) fn in_words(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => in_words(inner),
        error => error.to_string(),
    }
}

impl ModelError {
    /// Whether the error is about this one request (its grammar or its length): others may still succeed.
    pub fn is_about_request(&self) -> bool {
        matches!(self, Self::Grammar(_) | Self::TooLong { .. })
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let (status, hint) = match &error {
            ModelError::Interrupted(interrupted) => return Failure::from(*interrupted),
            ModelError::Read { source, .. } if source.kind() == std::io::ErrorKind::OutOfMemory => {
                (ExitStatus::Model, Some("take a smaller model, or one with fewer bits a weight"))
            }
            ModelError::Read { .. } => (ExitStatus::Model, Some("`caulk model pull` fetches the default model")),
            ModelError::NotGguf { .. } | ModelError::CutOff { .. } => {
                (ExitStatus::Model, Some("`caulk model verify` compares hashes; `caulk model pull` fetches it anew"))
            }
            ModelError::Architecture { .. } | ModelError::Tokenizer { .. } | ModelError::Template { .. } => {
                (ExitStatus::Model, Some("`caulk model list` names models that are known to work"))
            }
            ModelError::MissingMetadata { .. }
            | ModelError::BadMetadata { .. }
            | ModelError::MissingTensor { .. }
            | ModelError::TensorShape { .. } => {
                (ExitStatus::Model, Some("the file was not converted properly: take another conversion of the model"))
            }
            ModelError::Device { .. } => (ExitStatus::Usage, Some("`--device cpu` works everywhere")),
            ModelError::TooLong { .. } => {
                (ExitStatus::Model, Some("take a model with a longer context, or a smaller block"))
            }
            ModelError::Compute(_) => (ExitStatus::Model, Some("if memory ran out, take a smaller model")),
            ModelError::Grammar(_) => (ExitStatus::Internal, None),
        };
        let failure = Failure::new(status, error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtraces_are_not_told() {
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let inner = Box::new(candle_core::Error::msg("out of memory"));
        let error = ModelError::from(candle_core::Error::WithBacktrace { inner, backtrace });
        assert_eq!(error.to_string(), "the model's computation failed: out of memory");
    }
}
