//! How fast a model is on this machine, and how near that is to what the machine can do.
//!
//! In: a loaded model. Out: [`Speeds`]. Times of passes are medians of some rounds, on text that looks like what the model is
//! asked about; the model is loaded once, a mask's time is the median along one text, and the memory's the best of some rounds.
//! Reading the weights bounds the speed of an answer: each token needs all of them once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use super::kv::Run;
use super::network::Cache;
use super::{Model, ModelError, Prefixes, device_name, packed};
use crate::interrupt;

/// Lengths of the prompts that are timed, tokens.
const PROMPTS: [usize; 3] = [256, 512, 1500];
/// Tokens of the passes that are timed.
const PASSES: [usize; 5] = [1, 4, 8, 16, 32];
/// Answers that are written at once.
const ANSWERS: [usize; 3] = [4, 8, 32];
/// Tokens that stand before a pass.
const BEFORE: usize = 512;
/// Tokens that all prompts begin with, and those that one has of its own.
const OPENING: [usize; 2] = [1400, 100];
/// Tokens that are run in one pass of a prompt, as when answers are written.
const CHUNK: usize = 256;
/// Tokens of a timed answer.
const ANSWER: usize = 16;
/// Bytes that are read to measure the memory: many times what caches hold.
const READ: usize = 1 << 30;

/// A sentence of [`GRAMMAR`].
const TEXT: &str = "resource \"aws_s3_bucket\" \"data\" {\n  bucket = \"data\"\n  acl = \"public-read\"\n  versioning {\n    \
                    enabled = true\n    mfa_delete = false\n  }\n}\n";

/// Items of a block of HCL, in no order.
const GRAMMAR: &str = r#"start: "resource \"aws_s3_bucket\" \"data\" {\n" item+ "}\n"
item: "  " NAME " = " value "\n" | "  " NAME " {\n" ("    " NAME " = " value "\n")* "  }\n"
value: STRING | NUMBER | "true" | "false" | "[" value ("," value)* "]"
NAME: /[a-z][a-z0-9_]{0,30}/
NUMBER: /[0-9]{1,9}/
STRING: /"[^"\\$%\x00-\x1f]*"/
"#;

/// Speeds of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speeds {
    /// Where it ran.
    pub device: String,
    /// What computes the products with the weights: the instructions of the CPU's own kernels, or `candle`.
    pub kernels: &'static str,
    /// Threads of the CPU that do.
    pub threads: usize,
    /// Tokens of a prompt a second, by its length in tokens, until there are the logits behind the last.
    pub prefill: BTreeMap<usize, f64>,
    /// Tokens of an answer a second, one pass each, with the logits of the whole vocabulary, behind 512 tokens.
    pub decode: f64,
    /// The same of several answers that are written at once, tokens of all of them, by their number.
    pub batch: BTreeMap<usize, f64>,
    /// Milliseconds of a pass over so many tokens, with the logits behind each, behind 512.
    pub forward_ms: BTreeMap<usize, f64>,
    /// Microseconds until it is known which tokens may come next.
    pub mask_us: f64,
    /// Seconds until the model was loaded.
    pub load_s: f64,
    /// Seconds until there are the logits for the first token of an answer: loading, and a prompt of which 1400 tokens that all
    /// begin with are on disk (or still in the system's memory of it), and 100 are its own. The grammar is not in it, and what is
    /// done before a prompt is there, side by side with loading. `None` where the beginning cannot be kept on disk.
    pub first_token_s: Option<f64>,
    /// The most memory that the process had so far, bytes; where the system tells.
    pub peak_bytes: Option<u64>,
    /// Bytes a second that all threads read from memory together, in units of 10^9.
    pub bandwidth_gb_s: f64,
    /// The share of that bandwidth that an answer uses, on a CPU.
    pub bandwidth_share: Option<f64>,
}

impl Model {
    /// Measures it; `rounds` for each figure. `told` hears what comes next.
    ///
    /// # Errors
    /// When a computation fails, the context is too short, or the user interrupts.
    pub fn speeds(&self, rounds: usize, told: &mut dyn FnMut(&str)) -> Result<Speeds, ModelError> {
        let longest = [BEFORE + PASSES[PASSES.len() - 1], OPENING.iter().sum()];
        let longest = longest.into_iter().chain(PROMPTS).max().unwrap_or_default();
        let mut tokens = self.tokens(TEXT);
        while tokens.len() < longest {
            tokens.extend_from_within(..);
        }
        // What is only made at the first pass is made now.
        self.run(&tokens[..PROMPTS[0].min(64)], &mut self.network.cache())?;
        let mut prefill = BTreeMap::new();
        for length in PROMPTS {
            told(&format!("a prompt of {length} tokens"));
            let seconds = median(rounds, || {
                let mut cache = self.network.cache();
                timed(|| self.run(&tokens[..length], &mut cache))
            })?;
            prefill.insert(length, length as f64 / seconds);
        }
        let mut cache = self.network.cache();
        self.run(&tokens[..BEFORE], &mut cache)?;
        let mut forward_ms = BTreeMap::new();
        for length in PASSES {
            told(&format!("a pass over {length} tokens"));
            let seconds = median(rounds * 2, || {
                cache.truncate(BEFORE);
                timed(|| self.pass(&tokens[BEFORE..BEFORE + length], &mut cache))
            })?;
            forward_ms.insert(length, seconds * 1e3);
        }
        told("an answer");
        let seconds = median(rounds, || {
            cache.truncate(BEFORE);
            timed(|| {
                for token in &tokens[BEFORE..BEFORE + ANSWER] {
                    self.pass(&[*token], &mut cache)?;
                }
                Ok(())
            })
        })?;
        let decode = ANSWER as f64 / seconds;
        let mut batch = BTreeMap::new();
        cache.truncate(BEFORE);
        for answers in ANSWERS {
            told(&format!("{answers} answers at once"));
            let seconds = median(rounds, || {
                let mut caches = (0..answers).map(|_| cache.fork()).collect::<candle_core::Result<Vec<_>>>()?;
                timed(|| tokens[BEFORE..BEFORE + ANSWER].iter().try_for_each(|token| self.step(*token, &mut caches)))
            })?;
            batch.insert(answers, (answers * ANSWER) as f64 / seconds);
        }
        told("which tokens may come next");
        let mask_us = self.mask()? * 1e6;
        told("a first token");
        let first_token = match tempfile::tempdir() {
            Ok(dir) => self.first_token(&tokens, dir.path(), rounds)?,
            Err(_) => None,
        };
        // What follows takes memory of its own.
        let peak_bytes = peak();
        told("the memory");
        let bandwidth = bandwidth()?;
        let is_cpu = self.device().is_cpu();
        Ok(Speeds {
            device: device_name(self.device()),
            kernels: if self.is_packed() { packed::instructions() } else { "candle" },
            threads: if self.is_packed() {
                rayon::current_num_threads()
            } else {
                candle_core::utils::get_num_threads()
            },
            prefill,
            decode,
            batch,
            forward_ms,
            mask_us,
            load_s: self.load_seconds(),
            first_token_s: first_token.map(|seconds| self.load_seconds() + seconds),
            peak_bytes,
            bandwidth_gb_s: bandwidth / 1e9,
            bandwidth_share: is_cpu.then(|| decode * self.bytes_per_token as f64 / bandwidth),
        })
    }

    /// Seconds that a loaded model takes to the first token of an answer, where what all prompts begin with is in the folder;
    /// `None` where it is not put there.
    fn first_token(&self, tokens: &[u32], dir: &Path, rounds: usize) -> Result<Option<f64>, ModelError> {
        let prefixes = Prefixes::new(dir.to_owned(), String::new());
        let [opening, own] = OPENING;
        let (opening, own) = (&tokens[..opening], &tokens[opening..opening + own]);
        if !self.is_packed() {
            return Ok(None);
        }
        prefixes.begin(&mut self.session(), opening)?;
        if !prefixes.holds(opening) {
            return Ok(None);
        }
        let seconds = median(rounds, || {
            let mut session = self.session();
            timed(|| {
                prefixes.begin(&mut session, opening)?;
                self.run(own, &mut session.into_cache())
            })
        })?;
        Ok(Some(seconds))
    }

    /// Runs tokens as a prompt is run, until the logits behind the last are there.
    fn run(&self, tokens: &[u32], cache: &mut Cache) -> Result<(), ModelError> {
        let mut last = None;
        for chunk in tokens.chunks(CHUNK) {
            interrupt::check()?;
            last = Some(self.network.hidden(chunk, cache)?.narrow(0, chunk.len() - 1, 1)?);
        }
        if let Some(last) = last {
            // Taken to the CPU: a GPU works on while nobody asks.
            self.network.head(&last)?.flatten_all()?.to_vec1::<f32>()?;
        }
        Ok(())
    }

    /// Runs tokens in one pass, with the logits of the whole vocabulary behind each, as drafts are checked.
    fn pass(&self, tokens: &[u32], cache: &mut Cache) -> Result<(), ModelError> {
        interrupt::check()?;
        let hidden = self.network.hidden(tokens, cache)?;
        self.network.head(&hidden)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(())
    }

    /// Runs the same token behind each of several, in one pass, with all logits.
    fn step(&self, token: u32, caches: &mut [Cache]) -> Result<(), ModelError> {
        interrupt::check()?;
        let mut runs: Vec<_> =
            caches.iter_mut().map(|cache| Run { tokens: std::slice::from_ref(&token), cache }).collect();
        let hidden = self.network.hidden_all(&mut runs)?;
        self.network.head(&hidden)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(())
    }

    /// The median time of a mask along a text, seconds.
    fn mask(&self) -> Result<f64, ModelError> {
        let mut constraint = self.grammars().start(GRAMMAR)?;
        let mut times = Vec::new();
        for token in self.tokens(TEXT) {
            let started = Instant::now();
            constraint.allowed()?;
            times.push(started.elapsed().as_secs_f64());
            constraint.accept(&[token])?;
            if constraint.is_done() {
                break;
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    }
}

/// The median of what `once` gives.
fn median(rounds: usize, mut once: impl FnMut() -> Result<f64, ModelError>) -> Result<f64, ModelError> {
    let mut times = (0..rounds.max(1)).map(|_| once()).collect::<Result<Vec<f64>, _>>()?;
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    Ok(if times.len().is_multiple_of(2) { (times[middle - 1] + times[middle]) / 2.0 } else { times[middle] })
}

/// Seconds that something takes.
fn timed(work: impl FnOnce() -> Result<(), ModelError>) -> Result<f64, ModelError> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Bytes a second that all threads read together from such memory as holds the weights: the best of some rounds, as others may
/// use it too.
fn bandwidth() -> Result<f64, ModelError> {
    let words = READ / size_of::<u64>();
    let room = packed::Pages::new(READ).and_then(|pages| pages.array(words, words / 64, |_, _| Ok(()), |_, _| 1u64));
    let room = room.map_err(candle_core::Error::from)?;
    let share = room.len().div_ceil(rayon::current_num_threads());
    let round = |_| {
        let started = Instant::now();
        let sum: u64 =
            room.par_chunks(share).map(|part| part.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word))).sum();
        assert_eq!(sum, room.len() as u64, "each word is read");
        READ as f64 / started.elapsed().as_secs_f64()
    };
    Ok((0..5).map(round).fold(0.0, f64::max))
}

/// The most memory that this process had, bytes (Linux, proc_pid_status(5), `VmHWM`).
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::fixture::{Fixture, written};
    use super::*;
    use candle_core::quantized::gguf_file::Value;

    #[test]
    fn every_figure_is_measured() {
        let (_folder, path) = Fixture::new("qwen2").with("qwen2.context_length", Some(Value::U32(2048))).write();
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let mut steps = Vec::new();
        let speeds = model.speeds(1, &mut |step| steps.push(step.to_owned())).unwrap();
        let lengths = |map: &BTreeMap<usize, f64>| map.keys().copied().collect::<Vec<_>>();
        assert_eq!((lengths(&speeds.prefill), lengths(&speeds.forward_ms)), (PROMPTS.to_vec(), PASSES.to_vec()));
        let figures = [speeds.decode, speeds.mask_us, speeds.load_s, speeds.bandwidth_gb_s];
        // The beginning of prompts is kept on disk for the CPU's own kernels alone.
        assert_eq!(speeds.first_token_s.is_some(), model.is_packed());
        assert_eq!(speeds.kernels == "candle", !model.is_packed());
        assert_eq!(lengths(&speeds.batch), ANSWERS);
        let tables = [&speeds.prefill, &speeds.batch, &speeds.forward_ms];
        let all = tables.into_iter().flat_map(BTreeMap::values).chain(&figures);
        assert!(all.clone().all(|figure| figure.is_finite() && *figure > 0.0), "{speeds:?}");
        assert!(speeds.bandwidth_share.is_some_and(|share| share > 0.0));
        assert_eq!(steps.len(), PROMPTS.len() + PASSES.len() + ANSWERS.len() + 4);
        let json = serde_json::to_value(&speeds).unwrap();
        assert!(json["prefill"]["1500"].is_f64() && json["forward_ms"]["8"].is_f64(), "{json}");
    }

    #[test]
    fn a_context_that_is_too_short_is_told() {
        let (_folder, path) = written("llama");
        let model = Model::load(&path, &Device::Cpu).unwrap();
        assert!(matches!(model.speeds(1, &mut |_| ()), Err(ModelError::TooLong { .. })));
    }
}
