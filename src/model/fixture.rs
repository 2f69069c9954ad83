//! Small networks with random weights, written as GGUF files by the tests themselves.

use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use tempfile::TempDir;

const WIDTH: usize = 256;
const FEED_FORWARD: usize = 512;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const LAYERS: usize = 2;
const CONTEXT: usize = 640;

/// ChatML, as Qwen writes it.
const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() \
                        + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// A GGUF file in the making.
pub struct Fixture {
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<(String, QTensor)>,
}

/// The file of a network of this architecture, in a folder that lives as long as it is held.
pub fn written(architecture: &str) -> (TempDir, PathBuf) {
    Fixture::new(architecture).write()
}

impl Fixture {
    /// A network of two layers. The vocabulary: 256 bytes, ten merges, three special tokens, one unused.
    pub fn new(architecture: &str) -> Self {
        // Qwen 3 has heads that are wider than the stream divided among them.
        let head_width = if architecture == "qwen3" { 128 } else { WIDTH / HEADS };
        let (names, merges) = vocabulary();
        let types = (0..names.len()).map(|i| match names.len() - i {
            1 => 5,
            2..=4 => 3,
            _ => 1,
        });
        let types = Value::Array(types.map(Value::I32).collect());
        let texts = |list: &[String]| Value::Array(list.iter().cloned().map(Value::String).collect());
        let count = |n: usize| Value::U32(n as u32);
        let pre = if architecture == "llama" { "smollm" } else { "qwen2" };
        let own = |key: &str, value: Value| (format!("{architecture}.{key}"), value);
        let metadata = vec![
            ("general.architecture".to_owned(), Value::String(architecture.to_owned())),
            // candle-transformers takes it for the precision of Qwen 3's angles; 0 is f32.
            ("general.dtype".to_owned(), Value::U32(0)),
            own("block_count", count(LAYERS)),
            own("context_length", count(CONTEXT)),
            own("embedding_length", count(WIDTH)),
            own("feed_forward_length", count(FEED_FORWARD)),
            own("attention.head_count", count(HEADS)),
            own("attention.head_count_kv", count(KV_HEADS)),
            own("attention.key_length", count(head_width)),
            own("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
            own("rope.dimension_count", count(head_width)),
            own("rope.freq_base", Value::F32(10_000.0)),
            ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".to_owned())),
            ("tokenizer.ggml.pre".to_owned(), Value::String(pre.to_owned())),
            ("tokenizer.ggml.token_type".to_owned(), types),
            ("tokenizer.ggml.merges".to_owned(), texts(&merges)),
            ("tokenizer.ggml.bos_token_id".to_owned(), count(names.len() - 4)),
            ("tokenizer.ggml.eos_token_id".to_owned(), count(names.len() - 2)),
            ("tokenizer.ggml.add_bos_token".to_owned(), Value::Bool(false)),
            ("tokenizer.chat_template".to_owned(), Value::String(TEMPLATE.to_owned())),
            ("tokenizer.ggml.tokens".to_owned(), texts(&names)),
        ];

        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: &[usize], kind: GgmlDType, centre: f32, spread: f32| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| centre + spread * random.next()).collect();
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            tensors.push((name, QTensor::quantize(&tensor, kind).unwrap()));
        };
        let (q, kv) = (HEADS * head_width, KV_HEADS * head_width);
        add("token_embd.weight".into(), &[names.len(), WIDTH], GgmlDType::Q4K, 0.0, 1.0);
        add("output_norm.weight".into(), &[WIDTH], GgmlDType::F32, 1.0, 0.2);
        if architecture == "qwen2" {
            add("output.weight".into(), &[names.len(), WIDTH], GgmlDType::Q6K, 0.0, 0.3);
        }
        for layer in 0..LAYERS {
            let mut part = |name: &str, shape: &[usize], kind, centre, spread| {
                add(format!("blk.{layer}.{name}"), shape, kind, centre, spread);
            };
            part("attn_norm.weight", &[WIDTH], GgmlDType::F32, 1.0, 0.2);
            part("ffn_norm.weight", &[WIDTH], GgmlDType::F32, 1.0, 0.2);
            part("attn_q.weight", &[q, WIDTH], GgmlDType::Q4K, 0.0, 0.2);
            part("attn_k.weight", &[kv, WIDTH], GgmlDType::Q4K, 0.0, 0.2);
            part("attn_v.weight", &[kv, WIDTH], GgmlDType::Q6K, 0.0, 0.2);
            part("attn_output.weight", &[WIDTH, q], GgmlDType::Q8_0, 0.0, 0.2);
            part("ffn_gate.weight", &[FEED_FORWARD, WIDTH], GgmlDType::Q4K, 0.0, 0.2);
            part("ffn_up.weight", &[FEED_FORWARD, WIDTH], GgmlDType::Q4K, 0.0, 0.2);
            part("ffn_down.weight", &[WIDTH, FEED_FORWARD], GgmlDType::Q6K, 0.0, 0.2);
            if architecture == "qwen2" {
                part("attn_q.bias", &[q], GgmlDType::F32, 0.0, 0.5);
                part("attn_k.bias", &[kv], GgmlDType::F32, 0.0, 0.5);
                part("attn_v.bias", &[kv], GgmlDType::F32, 0.0, 0.5);
            }
            if architecture == "qwen3" {
                part("attn_q_norm.weight", &[head_width], GgmlDType::F32, 1.0, 0.2);
                part("attn_k_norm.weight", &[head_width], GgmlDType::F32, 1.0, 0.2);
            }
        }
        Self { metadata, tensors }
    }

    /// Sets a metadata entry, or takes it out.
    pub fn with(mut self, key: &str, value: Option<Value>) -> Self {
        self.metadata.retain(|(k, _)| k != key);
        self.metadata.extend(value.map(|value| (key.to_owned(), value)));
        self
    }

    /// Takes out a tensor.
    pub fn without_tensor(mut self, name: &str) -> Self {
        self.tensors.retain(|(n, _)| n != name);
        self
    }

    /// Writes the file.
    pub fn write(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let metadata: Vec<(&str, &Value)> = self.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let tensors: Vec<(&str, &QTensor)> = self.tensors.iter().map(|(k, t)| (k.as_str(), t)).collect();
        gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &tensors).unwrap();
        (folder, path)
    }
}

/// Cuts a file to a share of its length.
pub fn cut(path: &Path, share: f64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len((file.metadata().unwrap().len() as f64 * share) as u64).unwrap();
}

fn vocabulary() -> (Vec<String>, Vec<String>) {
    // GPT-2's byte alphabet, in the order of its characters: the ids are ours to give.
    let mut names: Vec<String> = ('!'..='~')
        .chain('\u{a1}'..='\u{ac}')
        .chain('\u{ae}'..='\u{ff}')
        .chain('\u{100}'..='\u{143}')
        .map(String::from)
        .collect();
    assert_eq!(names.len(), 256);
    let merges = ["t r", "u e", "tr ue", "Ġ =", "f a", "l s", "fa ls", "fals e", "Ġ Ġ", "Ġ true"];
    names.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    names.extend(["<|im_start|>", "<|fim|>", "<|im_end|>", "[PAD]"].map(String::from));
    (names, merges.map(String::from).to_vec())
}

/// xorshift64*, for weights that are the same in every run.
struct Random(u64);

impl Random {
    /// Between −1 and 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
