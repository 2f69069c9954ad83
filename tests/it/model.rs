//! The model module on real files: its logits against another implementation's, its tokens against the makers', and
//! answers under a grammar.

use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};
use caulk::model::{ChatTurn, Model, Prompt, Request, Role, Sampling};

use crate::common::{caulk, qwen, smollm2};

const PROMPT: &str = "<|im_start|>user\nresource \"aws_s3_bucket\" \"data\" {\n  acl = \"public-read\"\n}<|im_end|>\n";

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Compares at every `step`-th position. Activations are rounded to 8 bits before each product, so a last bit that differs
/// grows through the layers: either implementation has a cosine of 0.999 to itself when the same tokens are run in other
/// portions. So both are fed the same beginning of the prompt and compared over all of it, a single position a little
/// less strictly, and one pass over the whole prompt is compared on average.
fn agrees<M>(
    model: &Model,
    mut other: M,
    step: usize,
    forward: impl Fn(&mut M, &Tensor, usize) -> candle_core::Result<Tensor>,
) {
    let tokens = model.tokens(PROMPT);
    let all = model.logits(&tokens).unwrap();
    assert_eq!(all.len(), tokens.len());
    let (mut whole_own, mut whole_expected, mut in_one_pass) = (Vec::new(), Vec::new(), Vec::new());
    for n in (1..=tokens.len()).step_by(step) {
        let input = Tensor::new(&tokens[..n], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        // At position 0 the other implementation starts its cache anew.
        let expected: Vec<f32> = forward(&mut other, &input, 0).unwrap().squeeze(0).unwrap().to_vec1().unwrap();
        let own = model.logits(&tokens[..n]).unwrap().pop().unwrap();
        let agreement = cosine(&own, &expected);
        assert!(agreement > 0.998, "position {}: {agreement}", n - 1);
        in_one_pass.push(cosine(&all[n - 1], &expected));
        whole_own.extend(own);
        whole_expected.extend(expected);
    }
    let whole = cosine(&whole_own, &whole_expected);
    assert!(whole > 0.999, "over the prompt: {whole}");
    let mean = in_one_pass.iter().sum::<f64>() / in_one_pass.len() as f64;
    assert!(mean > 0.999, "{in_one_pass:?}");
}

fn content(path: &Path) -> (File, Content) {
    let mut file = File::open(path).unwrap();
    let content = Content::read(&mut file).unwrap();
    (file, content)
}

/// The file again with its `Q4_1` tensors unpacked: that is how caulk runs them on x86, and how both run them then.
fn unpacked(path: &Path, to: &Path) {
    let (mut file, content) = content(path);
    let tensors: Vec<(&str, QTensor)> = content
        .tensor_infos
        .keys()
        .map(|name| {
            let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
            let tensor = match tensor.dtype() {
                GgmlDType::Q4_1 => {
                    QTensor::quantize(&tensor.dequantize(&Device::Cpu).unwrap(), GgmlDType::F32).unwrap()
                }
                _ => tensor,
            };
            (name.as_str(), tensor)
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let metadata: Vec<(&str, &Value)> = content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    gguf_file::write(&mut File::create(to).unwrap(), &metadata, &tensors).unwrap();
}

#[test]
fn smollm2_has_the_logits_of_another_implementation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smollm2-f32.gguf");
    unpacked(&smollm2(), &path);
    let model = Model::load(&smollm2(), &Device::Cpu).unwrap();
    let (mut file, content) = content(&path);
    let other = quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    agrees(&model, other, 3, quantized_llama::ModelWeights::forward);
}

#[test]
fn qwen_has_the_logits_of_another_implementation() {
    let model = Model::load(&qwen(), &Device::Cpu).unwrap();
    let (mut file, content) = content(&qwen());
    let other = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    agrees(&model, other, 1, quantized_qwen2::ModelWeights::forward);
}

#[test]
fn smollm2_answers_under_a_grammar() {
    let model = Model::load(&smollm2(), &Device::Cpu).unwrap();
    let turns = [ChatTurn::new(Role::User, "Is the sky blue on a clear day? Answer yes or no.")];
    let grammar = r#"start: "answer = " ("\"yes\"" | "\"no\"") "\n""#;
    let request = Request { prompt: Prompt::Turns(&turns), grammar, sampling: Sampling::Greedy, max_tokens: 20 };
    let mut session = model.session();
    let answer = session.generate(&request).unwrap();
    assert!(
        answer.complete && ["answer = \"yes\"\n", "answer = \"no\"\n"].contains(&answer.text.as_str()),
        "{answer:?}"
    );

    // As before after the cache was cut back, gone on elsewhere, and cut back again.
    let other = [turns[0].clone(), ChatTurn::new(Role::Assistant, "yes"), ChatTurn::new(Role::User, "Sure?")];
    session.generate(&Request { prompt: Prompt::Turns(&other), ..request }).unwrap();
    let again = session.generate(&request).unwrap();
    assert_eq!(again.text, answer.text);
    assert!(again.stats.cached_tokens > 20, "{:?}", again.stats);
}

#[test]
fn bench_prints_one_object() {
    let file = smollm2();
    let args = ["bench", "--model-only", "--rounds", "1", "--threads", "1", "--format", "json", "--model"];
    let output = caulk().args(args).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for figure in
        ["/prefill/256", "/prefill/1500", "/decode", "/forward_ms/8", "/mask_us", "/load_s", "/bandwidth_gb_s"]
    {
        assert!(measured.pointer(figure).and_then(|it| it.as_f64()).is_some_and(|it| it > 0.0), "{figure}: {measured}");
    }
    // It has no kernels of caulk's own, for which alone the beginning of prompts is kept on disk.
    assert_eq!((&measured["kernels"], &measured["first_token_s"]), (&"candle".into(), &serde_json::Value::Null));
    assert_eq!(measured["end_to_end"], serde_json::Value::Null);
}

/// Texts at which tokenizers part: runs of spaces, digits, contractions, composed letters, line ends, special tokens.
const TEXTS: [&str; 15] = [
    "  \n  \n  }",
    " 123",
    "v1.2.3",
    "don't I'LL we'Re",
    "naïve café",
    "e\u{301} vs é",
    "漢字かな交じり文",
    "\u{a0}nbsp\u{2003}em",
    "policy = <<-EOT\n\t{\n\t \"Version\": \"2012-10-17\"\n\t}\n\tEOT\n",
    "${jsonencode({a=1})}",
    "x<|im_end|><|im_end|> y",
    "<|im_end",
    "\r\n\r\nx",
    "end  ",
    "1a2b3c",
];

fn has_tokens(model: &Model, expected: &[&[u32]]) {
    assert_eq!(expected.len(), TEXTS.len());
    for (text, expected) in TEXTS.iter().zip(expected) {
        assert_eq!(model.tokens(text), *expected, "{text:?}");
    }
}

/// The ids are those of llama.cpp for the same file.
#[test]
fn smollm2_has_the_tokens_of_llama_cpp() {
    let model = Model::load(&smollm2(), &Device::Cpu).unwrap();
    has_tokens(
        &model,
        &[
            &[256, 11181, 3805, 4029],
            &[216, 33, 34, 35],
            &[102, 33, 30, 34, 30, 35],
            &[12420, 982, 339, 23, 16421, 392, 23, 3733],
            &[3546, 46494, 37366],
            &[85, 151, 219, 6375, 26411],
            &[177, 137, 112, 36518, 7365, 229, 7365, 120, 16736, 114, 7365, 242, 10391, 228, 29184],
            &[15442, 94, 32093, 321, 221, 391],
            &[
                16021, 446, 22646, 29, 53, 4515, 198, 197, 107, 3354, 476, 22348, 1799, 476, 34, 32, 33, 34, 29, 33,
                32, 29, 33, 39, 18, 198, 197, 109, 198, 197, 53, 4515, 198,
            ],
            &[20, 107, 5518, 16446, 10713, 81, 45, 33, 8148, 109],
            &[104, 2, 2, 329],
            &[44, 108, 306, 79, 486],
            &[7209, 198, 104],
            &[486, 256],
            &[33, 81, 34, 82, 35, 83],
        ],
    );
}

/// The ids are those of the `tokenizer.json` that the model was published with.
#[test]
fn qwen_has_the_tokens_of_its_makers() {
    let model = Model::load(&qwen(), &Device::Cpu).unwrap();
    has_tokens(
        &model,
        &[
            &[30779, 220, 335],
            &[220, 16, 17, 18],
            &[85, 16, 13, 17, 13, 18],
            &[15007, 944, 358, 6, 4086, 582, 49427],
            &[3376, 37572, 586, 51950],
            &[963, 6165, 3958],
            &[110007, 18600, 128777, 38109, 99104, 30331, 16744],
            &[4102, 5674, 378, 225, 336],
            &[
                34790, 284, 75674, 36, 1793, 198, 197, 515, 197, 330, 5637, 788, 330, 17, 15, 16, 17, 12, 16, 15, 12,
                16, 22, 698, 197, 532, 22784, 1793, 198,
            ],
            &[2365, 2236, 6180, 2306, 64, 28, 16, 5410, 92],
            &[87, 151645, 151645, 379],
            &[27, 91, 318, 6213],
            &[871, 87],
            &[408, 256],
            &[16, 64, 17, 65, 18, 66],
        ],
    );
}
