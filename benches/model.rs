//! Prefill and answer of the small model, of the file that `CAULK_TEST_SMOLLM2` names.
//!
//! `CAULK_TEST_SMOLLM2=… cargo bench --bench model`

use candle_core::Device;
use caulk::model::{Model, Prompt, Request, Sampling};
use criterion::{Criterion, criterion_group, criterion_main};

const BLOCK: &str = "resource \"aws_s3_bucket\" \"data\" {\n  bucket = \"data\"\n  acl    = \"public-read\"\n}\n";

fn model(c: &mut Criterion) {
    let Some(file) = std::env::var_os("CAULK_TEST_SMOLLM2") else {
        eprintln!("set CAULK_TEST_SMOLLM2 to the model's GGUF file");
        return;
    };
    let model = match Model::load(file.as_ref(), &Device::Cpu) {
        Ok(model) => model,
        Err(error) => return eprintln!("{error}"),
    };
    let prompt = BLOCK.repeat(6);
    let mut group = c.benchmark_group("model");
    group.sample_size(10);
    group.bench_function(format!("prefill of {} tokens", model.count_tokens(&prompt)), |b| {
        b.iter(|| model.session().prefill(&prompt));
    });
    let request = Request {
        prompt: Prompt::Text(&prompt),
        grammar: r"start: /[a-z ]{32}/",
        sampling: Sampling::Greedy,
        max_tokens: 8,
    };
    let mut session = model.session();
    group.bench_function("8 tokens under a grammar, prompt cached", |b| b.iter(|| session.generate(&request)));
    group.finish();
}

criterion_group!(benches, model);
criterion_main!(benches);
