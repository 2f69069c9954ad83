//! The local model: a GGUF file and turns of a conversation in, text under a grammar out.
//!
//! ```text
//! GGUF → Config + weights (network: cpu, or forward through candle) + Tokenizer + ChatTemplate + Grammars
//! turns → text (chat) → tokens (tokenizer) → last position (forward, over the cache of kv)
//!       → allowed tokens (constraint) → one of them (sampler) → … → Generation (generate)
//! ```
//!
//! A [`Model`] is loaded once and never changes; a [`Session`] holds the key/value cache and what it stands for, so
//! prompts with a common beginning pay for it once. No text is ever generated without a grammar.
//!
//! The CPU's kernels run on rayon's pool, of `RAYON_NUM_THREADS` threads, else of as many as there are cores. candle, which runs
//! all other networks and devices, sizes a pool of its own from `CANDLE_NUM_THREADS`, else `RAYON_NUM_THREADS`, else the number
//! of physical cores. Its workers spin between operations: more threads than free cores is a collapse, not a gain.

mod attention;
mod batch;
mod chat;
mod config;
mod constraint;
mod cpu;
mod device;
mod draft;
mod error;
mod forward;
mod generate;
mod gguf;
mod kv;
mod lanes;
mod linear;
mod network;
mod packed;
mod prefix;
mod rope;
mod sampler;
mod speed;
mod tokenizer;

#[cfg(test)]
pub(crate) mod fixture;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;

pub use batch::together;
pub use chat::{ChatTurn, Role};
pub use config::{Architecture, Config};
pub use constraint::{Constraint, Grammars};
pub use device::{device_name, parse_device};
pub use error::ModelError;
pub use generate::{Generation, Prompt, Request, Session};
pub use prefix::Prefixes;
pub use sampler::Sampling;
pub use speed::Speeds;

use chat::ChatTemplate;
use gguf::Gguf;
use network::Network;
use tokenizer::Tokenizer;

/// A loaded model. Immutable: sessions hold what changes.
pub struct Model {
    file: PathBuf,
    network: Network,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    grammars: Grammars,
    load_seconds: f64,
    /// Bytes of the weights that each token of an answer needs.
    bytes_per_token: u64,
}

impl Model {
    /// Reads a GGUF file onto a device and makes it ready to generate: weights, tokenizer, chat template, grammar tables.
    ///
    /// # Errors
    /// When the file is no GGUF or is cut off, when its architecture, tokenizer or template is not one that caulk knows,
    /// or when the device has no room.
    pub fn load(file: &Path, device: &Device) -> Result<Self, ModelError> {
        let started = Instant::now();
        let gguf = Gguf::open(file)?;
        let config = Config::read(&gguf)?;
        let vocab = config.vocab;
        // Merges, and the grammars' tables (a trie over the vocabulary), take most of a second of one core: beside the weights.
        let words = || {
            let tokenizer = Arc::new(Tokenizer::read(&gguf, vocab)?);
            let template = ChatTemplate::read(&gguf, &tokenizer)?;
            let grammars = Grammars::new(&tokenizer, template.end_of_turn(), vocab)?;
            Ok::<_, ModelError>((tokenizer, template, grammars))
        };
        let (words, network) = rayon::join(words, || Network::load(&gguf, config, device));
        let (tokenizer, template, grammars) = words?;
        Ok(Self {
            bytes_per_token: gguf.bytes_per_token(),
            file: file.to_owned(),
            network: network?,
            tokenizer,
            template,
            grammars,
            load_seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// A session with an empty cache.
    pub fn session(&self) -> Session<'_> {
        Session::new(self)
    }

    /// The file it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        self.network.config()
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        self.network.device()
    }

    /// Whether it runs on the CPU's own kernels: what comes out then does not depend on what runs beside it.
    pub fn is_packed(&self) -> bool {
        matches!(self.network, Network::Packed(_))
    }

    /// Wall time of [`Model::load`], seconds.
    pub fn load_seconds(&self) -> f64 {
        self.load_seconds
    }

    /// How many tokens a text is, as plain text: names of special tokens in it count as the letters that they are.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.encode(text).len()
    }

    /// The prompt that the model sees for these turns, by the model's own chat template, up to where its answer starts.
    /// Names of special tokens inside the contents are broken up, so no content can end its turn or start another.
    ///
    /// # Errors
    /// When the template refuses the turns.
    pub fn render(&self, turns: &[ChatTurn]) -> Result<String, ModelError> {
        self.template.render(turns)
    }

    /// The tables by which grammars over the model's tokens are compiled.
    pub fn grammars(&self) -> &Grammars {
        &self.grammars
    }

    /// The logits at every position of a sequence, one row of [`Config::vocab`] values per token. For tests and evaluation:
    /// nothing is cached.
    ///
    /// # Errors
    /// When the sequence is longer than the context, or the computation fails.
    pub fn logits(&self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let hidden = self.network.hidden(tokens, &mut self.network.cache())?;
        Ok(self.network.head(&hidden)?.to_vec2()?)
    }

    /// The token ids of a prompt, special tokens taken as such.
    pub fn tokens(&self, prompt: &str) -> Vec<u32> {
        self.tokenizer.encode_prompt(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_can_be_loaded_on_one_thread_and_used_on_another() {
        fn crosses_threads<T: Send + Sync>() {}
        crosses_threads::<Model>();
        crosses_threads::<ModelError>();
    }

    #[test]
    fn logits_have_a_row_for_each_token() {
        let (_folder, path) = fixture::written("llama");
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let logits = model.logits(&model.tokens("<|im_start|>ab")).unwrap();
        assert_eq!((logits.len(), logits[0].len()), (3, model.config().vocab));
        assert_eq!(model.count_tokens("<|im_start|>"), 12, "as plain text");
        assert!(model.load_seconds() > 0.0);
        assert_eq!(model.file(), path);
        assert!(matches!(model.grammars().start("start: nowhere"), Err(ModelError::Grammar(_))));
        model.grammars().start(r#"start: "a""#).unwrap();
    }
}
