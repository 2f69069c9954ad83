//! The forward pass on a CPU that there are kernels for: plain buffers, packed weights, no tensors between.
//!
//! In: tokens. Out: what the last norm makes of each, and logits. The same network as `forward.rs` runs through candle on any
//! device; this one is taken where all of the file's matrices can be packed.

mod attention;
mod cache;
#[cfg(target_arch = "x86_64")]
mod wide;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::QTensor;

use super::ModelError;
use super::config::{Architecture, Config};
use super::gguf::Gguf;
use super::kv::{KvCache, Run};
use super::lanes::{self, Kernel, LANES};
use super::packed::{self, Input, Packed, Pages, Source};
use super::rope::Rope;

pub use cache::LayerCache;

/// What attention needs of the tokens that have been run.
pub type Cache = KvCache<LayerCache>;

/// A network's weights.
pub struct Network {
    config: Config,
    embedding: Packed,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// The embedding's where the file has no other.
    head: Option<Packed>,
    rope: Rope,
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    output: Linear,
    feed_forward_norm: Vec<f32>,
    gate: Packed,
    up: Packed,
    down: Linear,
}

struct Linear {
    weight: Packed,
    bias: Option<Vec<f32>>,
}

/// Where a run's tokens are in a pass, and in their sequence.
struct Place {
    /// The first one's row among those of all runs.
    first: usize,
    /// Its position.
    start: usize,
    /// How many there are.
    n: usize,
    /// The turns of their positions, one after the other.
    turns: Vec<(f32, f32)>,
}

impl Place {
    /// Its rows of some values each.
    fn of(&self, width: usize) -> Range<usize> {
        self.first * width..(self.first + self.n) * width
    }
}

/// What a pass works in.
#[derive(Default)]
struct Work {
    /// The stream, and what is added to it, `[n, width]`.
    stream: Vec<f32>,
    part: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// By key/value head, position, query head of its group.
    queries: Vec<f32>,
    mixed: Vec<f32>,
    wide: Vec<f32>,
    input: Input,
}

impl Network {
    /// Reads all weights; `None` where one of them is of a kind that there is no kernel for.
    ///
    /// # Errors
    /// When a tensor is missing, or of another shape than the hyper-parameters ask for.
    pub fn load(gguf: &Gguf, config: &Config) -> Result<Option<Self>, ModelError> {
        // Of the file's head alone: nothing is read in vain.
        if !gguf.matrices().all(|(kind, columns)| packed::is_able(kind, columns)) {
            return Ok(None);
        }
        let bytes = usize::try_from(gguf.len()).unwrap_or(usize::MAX);
        let pages = Pages::for_file(bytes).map_err(|source| gguf.unread(source))?;
        let reader = Reader { gguf, config, pages };
        let mut file = gguf.reader()?;
        let shape = [config.vocab, config.width];
        let Some(embedding) = reader.matrix(&file, "token_embd", shape)? else { return Ok(None) };
        let head = match gguf.has_tensor("output.weight") {
            false => None,
            true => match reader.matrix(&file, "output", shape)? {
                Some(head) => Some(head),
                None => return Ok(None),
            },
        };
        // One after the other: all threads share each matrix.
        let layers = (0..config.layers).map(|index| reader.layer(&mut file, index));
        let layers: Option<Vec<Layer>> = layers.collect::<Result<_, ModelError>>()?;
        let Some(layers) = layers else { return Ok(None) };
        let factors = reader.vector(&mut file, "rope_freqs.weight", config.rope_width / 2)?;
        let norm = reader.required(&mut file, "output_norm.weight", config.width)?;
        let rope = Rope::new(config, factors.as_deref());
        Ok(Some(Self { config: config.clone(), embedding, layers, norm, head, rope }))
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// An empty cache for this network.
    pub fn cache(&self) -> Cache {
        KvCache::new(self.config.layers, || LayerCache::new(&self.config))
    }

    /// Runs tokens behind those in their caches, all in one pass, and gives what the last norm makes of each, `[n, width]`, one
    /// run after the other. What comes out for one run does not depend on the others.
    ///
    /// # Errors
    /// When they do not fit into the context, or one is none of the vocabulary; the caches are then as before.
    pub fn hidden(&self, runs: &mut [Run<'_, Cache>]) -> Result<Vec<f32>, ModelError> {
        let context = self.config.context;
        for Run { tokens, cache } in &*runs {
            let total = cache.len() + tokens.len();
            if total > context {
                return Err(ModelError::TooLong { tokens: total, context });
            }
            if let Some(token) = tokens.iter().find(|token| **token as usize >= self.config.vocab) {
                return Err(candle_core::Error::msg(format!("token {token} is none of the vocabulary")).into());
            }
        }
        // On a thread of the pool, so that no operation has to wake one first.
        Ok(rayon::scope(|_| self.run(runs)))
    }

    fn run(&self, runs: &mut [Run<'_, Cache>]) -> Vec<f32> {
        let (n, width) = (runs.iter().map(|run| run.tokens.len()).sum::<usize>(), self.config.width);
        let epsilon = self.config.norm_epsilon as f32;
        let mut work = Work::default();
        work.stream.resize(n * width, 0.0);
        work.part.resize(n * width, 0.0);
        let tokens = runs.iter().flat_map(|run| run.tokens);
        for (token, row) in tokens.zip(work.stream.chunks_mut(width)) {
            self.embedding.row(*token as usize, row);
        }
        let places: Vec<Place> = runs
            .iter()
            .scan(0, |first, run| {
                let (start, n) = (run.cache.len(), run.tokens.len());
                *first += n;
                Some(Place { first: *first - n, start, n, turns: self.rope.turns(start, n) })
            })
            .collect();
        for (index, layer) in self.layers.iter().enumerate() {
            normalise(&work.stream, &layer.attention_norm, epsilon, &mut work.part);
            let mut caches: Vec<&mut LayerCache> =
                runs.iter_mut().map(|run| &mut run.cache.layers_mut()[index]).collect();
            self.attention(layer, &places, &mut caches, &mut work);
            normalise(&work.stream, &layer.feed_forward_norm, epsilon, &mut work.part);
            self.feed_forward(layer, &mut work);
        }
        for run in runs {
            run.cache.advance(run.tokens.len());
        }
        normalise(&work.stream, &self.norm, epsilon, &mut work.part);
        work.part
    }

    /// From `part` into the stream.
    fn attention(&self, layer: &Layer, places: &[Place], caches: &mut [&mut LayerCache], work: &mut Work) {
        let &Config { heads, kv_heads, head_width, width, .. } = &self.config;
        let n = work.stream.len() / width;
        work.query.resize(n * heads * head_width, 0.0);
        work.key.resize(n * kv_heads * head_width, 0.0);
        work.value.resize(n * kv_heads * head_width, 0.0);
        work.input.fill(&work.part, width);
        let matrices = [&layer.query.weight, &layer.key.weight, &layer.value.weight];
        packed::products(matrices, &work.input, [&mut work.query, &mut work.key, &mut work.value]);
        add_bias(&mut work.query, layer.query.bias.as_deref());
        add_bias(&mut work.key, layer.key.bias.as_deref());
        add_bias(&mut work.value, layer.value.bias.as_deref());

        work.queries.resize(n * heads * head_width, 0.0);
        for (place, cache) in places.iter().zip(caches.iter_mut()) {
            self.prepare(layer, place, cache, work);
        }
        let group = heads / kv_heads;
        work.mixed.resize(n * heads * head_width, 0.0);
        attention::attend_all(places, caches, group, head_width, &work.queries, &mut work.mixed);
        // Back to position by position.
        let of_group = group * head_width;
        for place in places {
            let rows = &mut work.query[place.of(heads * head_width)];
            let mixed = &work.mixed[place.of(heads * head_width)];
            for (position, row) in rows.chunks_mut(heads * head_width).enumerate() {
                for (index, row) in row.chunks_mut(of_group).enumerate() {
                    let at = (index * place.n + position) * of_group;
                    row.copy_from_slice(&mixed[at..at + of_group]);
                }
            }
        }
        work.input.fill(&work.query, heads * head_width);
        layer.output.add_to(&work.input, &mut work.part, &mut work.stream);
    }

    /// Rotates a run's keys into its cache, and its queries into the order that attention takes them in.
    fn prepare(&self, layer: &Layer, place: &Place, cache: &mut LayerCache, work: &mut Work) {
        let &Config { heads, kv_heads, head_width, .. } = &self.config;
        let epsilon = self.config.norm_epsilon as f32;
        let per_position = place.turns.len() / place.n.max(1);
        let prepare = |head: &mut [f32], norm: Option<&Vec<f32>>, position: usize| {
            if let Some(norm) = norm {
                let before = head.to_vec();
                normalise(&before, norm, epsilon, head);
            }
            self.rope.turn(head, &place.turns[position * per_position..(position + 1) * per_position]);
        };
        let group = heads / kv_heads;
        let scale = 1.0 / (head_width as f32).sqrt();
        let queries = &mut work.queries[place.of(heads * head_width)];
        for position in 0..place.n {
            let of = |part: usize| part * head_width..(part + 1) * head_width;
            let row = place.first + position;
            for (index, head) in cache.heads.iter_mut().enumerate() {
                let key = &mut work.key[of(row * kv_heads + index)];
                prepare(key, layer.key_norm.as_ref(), position);
                head.write(place.start + position, key, &work.value[of(row * kv_heads + index)]);
            }
            for index in 0..heads {
                let query = &mut work.query[of(row * heads + index)];
                prepare(query, layer.query_norm.as_ref(), position);
                let at = (index / group * place.n + position) * group + index % group;
                for (to, from) in queries[of(at)].iter_mut().zip(query) {
                    *to = *from * scale;
                }
            }
        }
    }

    /// From `part` into the stream.
    fn feed_forward(&self, layer: &Layer, work: &mut Work) {
        let &Config { width, feed_forward, .. } = &self.config;
        work.wide.resize(work.stream.len() / width * feed_forward, 0.0);
        work.input.fill(&work.part, width);
        packed::joined([&layer.gate, &layer.up], &work.input, &mut work.wide, |gate, up| {
            lanes::run(SwiGlu { gate, up })
        });
        work.input.fill(&work.wide, feed_forward);
        layer.down.add_to(&work.input, &mut work.part, &mut work.stream);
    }

    /// Logits over the whole vocabulary: `[n, width]` to `[n, vocab]`.
    pub fn head(&self, hidden: &[f32]) -> Vec<f32> {
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let mut input = Input::default();
        input.fill(hidden, self.config.width);
        let mut logits = vec![0f32; input.len() * head.rows()];
        packed::products([head], &input, [&mut logits]);
        logits
    }

    /// Logits of some tokens for one position.
    ///
    /// # Panics
    /// When one is none of the vocabulary.
    pub fn head_of(&self, hidden: &[f32], tokens: &[u32]) -> Vec<f32> {
        self.head.as_ref().unwrap_or(&self.embedding).product_of_rows(hidden, tokens)
    }
}

impl Linear {
    /// Adds the layer's outputs to the stream; `part` is room for them.
    fn add_to(&self, input: &Input, part: &mut [f32], stream: &mut [f32]) {
        packed::products([&self.weight], input, [&mut *part]);
        add_bias(part, self.bias.as_deref());
        stream.iter_mut().zip(part).for_each(|(stream, part)| *stream += *part);
    }
}

/// Adds a bias to each row.
fn add_bias(rows: &mut [f32], bias: Option<&[f32]>) {
    let Some(bias) = bias else { return };
    for row in rows.chunks_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
}

/// RMS norm (<https://arxiv.org/abs/1910.07467>) of each row.
fn normalise(rows: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    for (row, out) in rows.chunks(weight.len()).zip(out.chunks_mut(weight.len())) {
        lanes::run(Norm { row, weight, epsilon, out });
    }
}

struct Norm<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mean = lanes::dot(self.row, self.row) / self.row.len() as f32;
        let factor = 1.0 / (mean + self.epsilon).sqrt();
        for ((out, value), weight) in self.out.iter_mut().zip(self.row).zip(self.weight) {
            *out = value * factor * weight;
        }
    }
}

/// `gate · sigmoid(gate) · up` (SwiGLU, <https://arxiv.org/abs/2002.05202>), into `gate`.
struct SwiGlu<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SwiGlu<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (gate, up) in self.gate.iter_mut().zip(self.up) {
            *gate = *gate / (1.0 + lanes::exp(-*gate)) * up;
        }
    }
}

/// Reads tensors of a file.
struct Reader<'a> {
    gguf: &'a Gguf,
    config: &'a Config,
    pages: Arc<Pages>,
}

impl Reader<'_> {
    fn layer(&self, file: &mut File, index: usize) -> Result<Option<Layer>, ModelError> {
        let &Config { width, feed_forward, heads, kv_heads, head_width, .. } = self.config;
        // Positions are mixed in vectors.
        if head_width % LANES != 0 {
            return Ok(None);
        }
        let name = |part: &str| format!("blk.{index}.{part}");
        let mut linear = |part: &str, shape: [usize; 2]| -> Result<Option<Linear>, ModelError> {
            let Some(weight) = self.matrix(file, &name(part), shape)? else { return Ok(None) };
            let bias = self.vector(file, &format!("{}.bias", name(part)), shape[0])?;
            Ok(Some(Linear { weight, bias }))
        };
        let parts = [
            linear("attn_q", [heads * head_width, width])?,
            linear("attn_k", [kv_heads * head_width, width])?,
            linear("attn_v", [kv_heads * head_width, width])?,
            linear("attn_output", [width, heads * head_width])?,
            linear("ffn_gate", [feed_forward, width])?,
            linear("ffn_up", [feed_forward, width])?,
            linear("ffn_down", [width, feed_forward])?,
        ];
        let [Some(query), Some(key), Some(value), Some(output), Some(gate), Some(up), Some(down)] = parts else {
            return Ok(None);
        };
        if gate.bias.is_some() || up.bias.is_some() {
            return Ok(None);
        }
        let is_normed = self.config.architecture == Architecture::Qwen3;
        let mut norm = |part: &str| match is_normed {
            true => self.required(file, &name(&format!("{part}.weight")), head_width).map(Some),
            false => Ok(None),
        };
        Ok(Some(Layer {
            query_norm: norm("attn_q_norm")?,
            key_norm: norm("attn_k_norm")?,
            attention_norm: self.required(file, &name("attn_norm.weight"), width)?,
            feed_forward_norm: self.required(file, &name("ffn_norm.weight"), width)?,
            query,
            key,
            value,
            output,
            gate: gate.weight,
            up: up.weight,
            down,
        }))
    }

    /// `{name}.weight`, packed; `None` where there is no kernel for it.
    fn matrix(&self, file: &File, name: &str, shape: [usize; 2]) -> Result<Option<Packed>, ModelError> {
        let (first, kind) = self.gguf.place(&format!("{name}.weight"), &shape)?;
        // Read, not mapped: a file that is cut off meanwhile gives an error then, and its pages need no tables.
        let read = |at: u64, bytes: &mut [u8]| file.read_exact_at(bytes, first + at);
        Packed::new(&Source { kind, shape, read: &read }, &self.pages).map_err(|e| self.gguf.unread(e))
    }

    /// A vector that must be there.
    fn required(&self, file: &mut File, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.tensor(file, name, &[len])?.dequantize(&Device::Cpu)?.to_vec1()?)
    }

    /// A vector, where the file has it.
    fn vector(&self, file: &mut File, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        self.gguf.has_tensor(name).then(|| self.required(file, name, len)).transpose()
    }

    fn tensor(&self, file: &mut File, name: &str, shape: &[usize]) -> Result<QTensor, ModelError> {
        self.gguf.tensor(file, name, shape, &Device::Cpu)
    }
}
