//! A network's hyper-parameters, from the metadata of its GGUF file.

use super::ModelError;
use super::gguf::Gguf;

/// The kinds of network that caulk runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen 2 and 2.5: biases on the query, key and value projections.
    Qwen2,
    /// Qwen 3: norms on queries and keys, no biases.
    Qwen3,
    /// Llama and what is laid out like it (SmolLM, DeepSeek-Coder, Mistral): neither.
    Llama,
}

impl Architecture {
    /// `general.architecture` in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Llama => "llama",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Qwen2, Self::Qwen3, Self::Llama].into_iter().find(|a| a.name() == name)
    }

    /// Which elements of a head turn together: the halves (`i` with `i + d/2`), or neighbours (`2i` with `2i + 1`).
    /// GGUF files of the llama architecture have their rows permuted to the latter.
    pub fn rope_pairs_halves(self) -> bool {
        match self {
            Self::Qwen2 | Self::Qwen3 => true,
            Self::Llama => false,
        }
    }
}

/// A network's hyper-parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The kind of network.
    pub architecture: Architecture,
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Elements of a head that are rotated; even, at most `head_width`.
    pub rope_width: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f64,
    /// Positions are divided by this (linear scaling); 1 for none.
    pub rope_scale: f64,
    /// Added to the mean square in RMS norms.
    pub norm_epsilon: f64,
    /// Longest sequence, tokens.
    pub context: usize,
    /// Rows of the embedding: token ids are below this.
    pub vocab: usize,
}

impl Config {
    /// Reads and checks the hyper-parameters.
    ///
    /// # Errors
    /// When the architecture is unknown, or an entry is missing or makes no sense.
    pub fn read(gguf: &Gguf) -> Result<Self, ModelError> {
        let name = gguf.required("general.architecture")?.to_string()?;
        let architecture = Architecture::from_name(name)
            .ok_or_else(|| ModelError::Architecture { file: gguf.file().to_owned(), name: name.clone() })?;
        let key = |suffix: &str| format!("{name}.{suffix}");
        let count = |suffix: &str| gguf.count(&key(suffix));
        let required = |suffix: &str| -> Result<usize, ModelError> {
            gguf.required(&key(suffix))?;
            match count(suffix)? {
                Some(0) | None => Err(gguf.bad(&key(suffix), "is zero")),
                Some(n) => Ok(n),
            }
        };

        if count("expert_count")?.unwrap_or(0) > 1 {
            return Err(gguf.bad(&key("expert_count"), "asks for a mixture of experts, which caulk does not run"));
        }
        let width = required("embedding_length")?;
        let heads = required("attention.head_count")?;
        let kv_heads = count("attention.head_count_kv")?.unwrap_or(heads);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(gguf.bad(&key("attention.head_count_kv"), format!("does not divide the {heads} heads")));
        }
        let head_width = count("attention.key_length")?.unwrap_or(width / heads);
        if count("attention.value_length")?.is_some_and(|v| v != head_width) {
            return Err(gguf.bad(&key("attention.value_length"), "differs from the width of the keys"));
        }
        let rope_width = count("rope.dimension_count")?.unwrap_or(head_width);
        if rope_width == 0 || rope_width % 2 == 1 || rope_width > head_width {
            return Err(gguf.bad(&key("rope.dimension_count"), format!("does not fit heads of {head_width}")));
        }
        let positive = |suffix: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(value),
            false => Err(gguf.bad(&key(suffix), "is not a positive number")),
        };
        let norm_key = "attention.layer_norm_rms_epsilon";
        gguf.required(&key(norm_key))?;
        let &[vocab, _] = gguf.shape("token_embd.weight")? else {
            return Err(gguf.bad("token_embd.weight", "is not a matrix"));
        };
        Ok(Self {
            architecture,
            layers: required("block_count")?,
            width,
            feed_forward: required("feed_forward_length")?,
            heads,
            kv_heads,
            head_width,
            rope_width,
            rope_base: positive("rope.freq_base", gguf.real(&key("rope.freq_base"))?.unwrap_or(10_000.0))?,
            rope_scale: rope_scale(gguf, name)?,
            norm_epsilon: positive(norm_key, gguf.real(&key(norm_key))?.unwrap_or_default())?,
            context: required("context_length")?,
            vocab,
        })
    }
}

/// The factor of linear scaling. Other kinds change the frequencies or the attention in ways that are not done here:
/// running such a model without them would be wrong in silence.
fn rope_scale(gguf: &Gguf, name: &str) -> Result<f64, ModelError> {
    let (kind, factor) = (format!("{name}.rope.scaling.type"), format!("{name}.rope.scaling.factor"));
    match gguf.text(&kind)? {
        None | Some("none") => Ok(1.0),
        Some("linear") => match gguf.real(&factor)? {
            Some(scale) if scale >= 1.0 && scale.is_finite() => Ok(scale),
            _ => Err(gguf.bad(&factor, "is not a factor of 1 or more")),
        },
        Some(other) => Err(gguf.bad(&kind, format!("is `{other}`; caulk knows `none` and `linear`"))),
    }
}
