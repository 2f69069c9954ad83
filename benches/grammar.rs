//! Schemas and grammars on the tokenizer of the model that `CAULK_BENCH_MODEL` names: what a type's schema takes to read, its
//! grammar to compile, and a mask to compute, for a small, a middle and the widest type.
//!
//! `CAULK_BENCH_MODEL=….gguf cargo bench --bench grammar`

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use caulk::grammar::{Grammar, Names, Scope, Shapes, companion_types, compile};
use caulk::model::Model;
use caulk::schema::{Kind, Schemas};
use caulk::source::{BlockAddr, RelPath, SourceFile, SourceTree};
use criterion::{Criterion, criterion_group, criterion_main};

/// 6, 80 and 200 arguments of their own, and the last one blocks up to eight deep.
const TYPES: [&str; 4] = ["aws_ebs_encryption_by_default", "aws_sns_topic", "aws_db_instance", "aws_wafv2_web_acl"];
/// Masks to time for each type.
const MASKS: usize = 2000;

fn grammar_of(schemas: &Schemas, ty: &str) -> Option<Grammar> {
    let text = format!("resource \"{ty}\" \"x\" {{\n}}\nvariable \"name\" {{\n  type = string\n}}\n");
    let file = SourceFile::parse(RelPath::new("main.tf")?, text.into_bytes()).ok()?;
    let tree = SourceTree::from_files("/", [file]);
    let dir = RelPath::default();
    let known: Vec<String> = schemas.packs().flat_map(|(_, pack)| pack.types()).map(|(_, ty)| ty.to_owned()).collect();
    compile(Scope {
        target: tree.find(&dir, &BlockAddr::resource(ty, "x"))?.1,
        names: Names::of(&tree, &dir),
        schemas: schemas.clone(),
        companion_types: companion_types(ty, [], known.iter().map(String::as_str)),
        ways: Vec::new(),
        found: Vec::new(),
        house: Arc::default(),
        knowledge: Arc::default(),
        shapes: Shapes::default(),
        supposed: None,
    })
    .ok()
}

/// Times masks along random walks.
fn masks(model: &Model, lark: &str) -> Option<Vec<Duration>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut times = Vec::new();
    while times.len() < MASKS {
        let mut constraint = model.grammars().start(lark).ok()?;
        for _ in 0..200 {
            constraint.take_forced().ok()?;
            if constraint.is_done() {
                break;
            }
            let begun = Instant::now();
            let allowed = constraint.allowed().ok()?;
            times.push(begun.elapsed());
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let token = allowed[(state >> 33) as usize % allowed.len()];
            constraint.accept(&[token]).ok()?;
        }
    }
    times.sort();
    Some(times)
}

fn grammar(c: &mut Criterion) {
    let Some(file) = std::env::var_os("CAULK_BENCH_MODEL") else {
        return eprintln!("set CAULK_BENCH_MODEL to a model's GGUF file");
    };
    let model = match Model::load(file.as_ref(), &Device::Cpu) {
        Ok(model) => model,
        Err(error) => return eprintln!("{error}"),
    };
    let schemas = Schemas::embedded();
    for ty in TYPES {
        let mut group = c.benchmark_group(ty);
        group.sample_size(20);
        group.bench_function("read the schema", |b| b.iter(|| schemas.get(Kind::Resource, ty)));
        group.bench_function("write the grammar", |b| b.iter(|| grammar_of(&schemas, ty)));
        let Some(grammar) = grammar_of(&schemas, ty) else { return eprintln!("{ty} has no grammar") };
        let lark = grammar.lark().to_owned();
        group.bench_function("compile the grammar", |b| b.iter(|| model.grammars().start(&lark).map(drop)));
        group.finish();
        if let Some(times) = masks(&model, &lark) {
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
            println!(
                "{ty}: grammar of {} bytes; a mask takes {:.0} us (median), {:.0} us (p99)",
                lark.len(),
                at(0.5),
                at(0.99)
            );
        }
    }
}

criterion_group!(benches, grammar);
criterion_main!(benches);
