//! The choice of a token among those that the grammar allows.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as Candle};

use super::ModelError;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampling {
    /// The likeliest.
    #[default]
    Greedy,
    /// At random, by a seed: the same seed gives the same answer.
    Seeded {
        /// The seed.
        seed: u64,
        /// Above 1 evens the odds, below 1 sharpens them; 0 is greedy.
        temperature: f64,
        /// Only the likeliest tokens that make up this share are in the draw; 1 for all.
        top_p: f64,
    },
}

impl Sampling {
    /// The seed, if chance plays a part.
    pub fn seed(self) -> Option<u64> {
        match self {
            Self::Greedy => None,
            Self::Seeded { seed, .. } => Some(seed),
        }
    }
}

/// Chooses the tokens of one answer.
pub struct Sampler {
    processor: LogitsProcessor,
}

/// A token that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its place among the candidates.
    pub index: usize,
    /// Natural logarithm of its probability among the candidates, at temperature 1.
    pub log_probability: f64,
}

impl Sampler {
    /// A sampler at the start of an answer.
    pub fn new(sampling: Sampling) -> Self {
        let processor = match sampling {
            Sampling::Greedy => LogitsProcessor::from_sampling(0, Candle::ArgMax),
            Sampling::Seeded { seed, temperature, top_p } => LogitsProcessor::new(seed, Some(temperature), Some(top_p)),
        };
        Self { processor }
    }

    /// Chooses among candidates with these logits. Whatever the grammar forbids is not among them, which is the same as a
    /// logit of −∞ and spares sorting the whole vocabulary.
    ///
    /// # Errors
    /// When there are no candidates, or the logits are not numbers.
    pub fn choose(&mut self, logits: &[f32]) -> Result<Choice, ModelError> {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !highest.is_finite() || logits.iter().any(|l| l.is_nan()) {
            return Err(candle_core::Error::msg("the logits are not numbers").into());
        }
        let index = self.processor.sample(&Tensor::new(logits, &Device::Cpu)?)? as usize;
        let total: f64 = logits.iter().map(|&l| f64::from(l - highest).exp()).sum();
        let chosen = logits.get(index).copied().unwrap_or(f32::NEG_INFINITY);
        Ok(Choice { index, log_probability: f64::from(chosen - highest) - total.ln() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(sampling: Sampling, n: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling);
        (0..n).map(|_| sampler.choose(&[0.0, 1.0, 0.5, -3.0]).unwrap().index).collect()
    }

    #[test]
    fn greedy_takes_the_highest() {
        assert_eq!(draws(Sampling::Greedy, 3), [1, 1, 1]);
        assert_eq!(draws(Sampling::Seeded { seed: 7, temperature: 0.0, top_p: 1.0 }, 3), [1, 1, 1]);
    }

    #[test]
    fn a_seed_decides_the_draws() {
        let sampling = |seed| Sampling::Seeded { seed, temperature: 1.0, top_p: 1.0 };
        assert_eq!(draws(sampling(1), 50), draws(sampling(1), 50));
        assert_ne!(draws(sampling(1), 50), draws(sampling(2), 50));
    }

    #[test]
    fn the_tail_is_cut_by_top_p() {
        let drawn = draws(Sampling::Seeded { seed: 3, temperature: 1.0, top_p: 0.6 }, 200);
        assert!(drawn.iter().all(|&i| i == 1 || i == 2), "the two likeliest make up 0.6: {drawn:?}");
    }

    #[test]
    fn probabilities_are_those_among_the_candidates() {
        let choice = Sampler::new(Sampling::Greedy).choose(&[0.0, 0.0]).unwrap();
        assert!((choice.log_probability - 0.5f64.ln()).abs() < 1e-9);
        assert_eq!(Sampler::new(Sampling::Greedy).choose(&[4.2]).unwrap().log_probability, 0.0);
    }

    #[test]
    fn no_numbers_no_choice() {
        for logits in [&[][..], &[f32::NAN, 1.0], &[f32::NEG_INFINITY]] {
            assert!(Sampler::new(Sampling::Greedy).choose(logits).is_err(), "{logits:?}");
        }
    }
}
