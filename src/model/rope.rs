//! Rotary position embedding (<https://arxiv.org/abs/2104.09864>), in both layouts that GGUF files have.

use candle_core::{Device, Tensor};

use super::config::Config;

/// The angles of a network's rotary embedding.
#[derive(Debug)]
pub struct Rope {
    /// Radians per position, one for each rotated pair.
    frequencies: Vec<f32>,
    pairs_halves: bool,
    width: usize,
}

/// Cosines and sines of a run of positions, `[n, width / 2]`.
#[derive(Debug)]
pub struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// The angles for `config`. `factors` are the divisors that long-context llama files bring (`rope_freqs.weight`).
    pub fn new(config: &Config, factors: Option<&[f32]>) -> Self {
        let width = config.rope_width;
        let base = config.rope_base as f32;
        let frequencies = (0..width / 2).map(|i| {
            let factor = factors.and_then(|f| f.get(i)).copied().unwrap_or(1.0);
            1.0 / base.powf(2.0 * i as f32 / width as f32) / factor / config.rope_scale as f32
        });
        Self { frequencies: frequencies.collect(), pairs_halves: config.architecture.rope_pairs_halves(), width }
    }

    /// The angles at positions `start..start + n`.
    pub fn angles(&self, start: usize, n: usize, device: &Device) -> candle_core::Result<Angles> {
        let radians = (start..start + n).flat_map(|position| self.frequencies.iter().map(move |f| position as f32 * f));
        let (sin, cos): (Vec<f32>, Vec<f32>) = radians.map(f32::sin_cos).unzip();
        let shape = (n, self.width / 2);
        Ok(Angles { cos: Tensor::from_vec(cos, shape, device)?, sin: Tensor::from_vec(sin, shape, device)? })
    }

    /// Cosine and sine of each pair at positions `start..start + n`, position by position.
    pub fn turns(&self, start: usize, n: usize) -> Vec<(f32, f32)> {
        let radians = (start..start + n).flat_map(|position| self.frequencies.iter().map(move |f| position as f32 * f));
        radians.map(|angle| (angle.cos(), angle.sin())).collect()
    }

    /// Rotates one head by the [`turns`](Self::turns) of its position. Elements past the rotated ones stay as they are.
    pub fn turn(&self, head: &mut [f32], turns: &[(f32, f32)]) {
        for (pair, (cos, sin)) in turns.iter().enumerate() {
            let (a, b) = if self.pairs_halves { (pair, pair + self.width / 2) } else { (2 * pair, 2 * pair + 1) };
            let (x, y) = (head[a], head[b]);
            head[a] = x * cos - y * sin;
            head[b] = x * sin + y * cos;
        }
    }

    /// Rotates `[1, heads, n, head width]`. Elements of a head past the rotated ones stay as they are.
    pub fn apply(&self, x: &Tensor, angles: &Angles) -> candle_core::Result<Tensor> {
        let rotate = match self.pairs_halves {
            true => candle_nn::rotary_emb::rope,
            false => candle_nn::rotary_emb::rope_i,
        };
        let head_width = x.dim(3)?;
        if self.width == head_width {
            return rotate(&x.contiguous()?, &angles.cos, &angles.sin);
        }
        let turned = rotate(&x.narrow(3, 0, self.width)?.contiguous()?, &angles.cos, &angles.sin)?;
        Tensor::cat(&[&turned, &x.narrow(3, self.width, head_width - self.width)?.contiguous()?], 3)
    }
}
