//! Products with k-quant weights on x86 CPUs that have AVX2 but not AVX-512 VNNI, for which candle's own are better.
//!
//! In: a GGUF tensor's bytes. Out: [`Packed`] weights, eight rows side by side so that one vector holds four columns of
//! each, in as many bits as the file has. The same layout serves a single token (each weight is read once) and a long
//! prompt (each is unpacked once for four tokens). Inputs are brought to 8 bits in blocks of 256, as ggml does.
//!
//! Block formats: `block_q4_K` and `block_q6_K` of ggml's `ggml-common.h`.

mod input;
mod q4k;
mod q6k;
#[cfg(target_arch = "x86_64")]
mod vector;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

pub use input::Input;

/// Columns of a block.
const BLOCK: usize = 256;
/// Rows that are kept side by side: the 32-bit lanes of a vector.
const LANES: usize = 8;
/// Bytes of the inputs that one thread goes over again and again: they should stay in its cache.
const TILE: usize = 192 << 10;
/// Pieces that a thread's share of the rows is cut into, so that a thread which is held up gets fewer.
const PIECES: usize = 4;

/// A matrix `[rows, columns]`, packed.
#[derive(Debug)]
pub struct Packed {
    weights: Weights,
    rows: usize,
    columns: usize,
}

#[derive(Debug)]
enum Weights {
    Q4K(Vec<q4k::Group>),
    Q6K(Vec<q6k::Group>),
}

/// One block of columns of eight rows.
trait Group: Sync {
    /// The products of eight rows with `M` inputs, of which the blocks are given from the first on.
    ///
    /// # Safety
    /// The CPU must have AVX2 and FMA.
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[input::Block]; M]) -> [[f32; LANES]; M]
    where
        Self: Sized;

    /// One row's values.
    fn unpack(&self, lane: usize) -> [f32; BLOCK];
}

/// Whether this CPU is one for which packing pays.
pub fn pays() -> bool {
    has_kernels() && !vnni()
}

#[cfg(target_arch = "x86_64")]
fn has_kernels() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn vnni() -> bool {
    is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_kernels() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn vnni() -> bool {
    false
}

impl Packed {
    /// Packs a matrix. `None` when it is of a kind or shape, or the CPU is one, that there is no kernel for.
    ///
    /// # Errors
    /// When the tensor's bytes cannot be read.
    pub fn new(weight: &QTensor) -> candle_core::Result<Option<Self>> {
        let (rows, columns) = weight.shape().dims2()?;
        let fits = rows % LANES == 0 && columns % BLOCK == 0;
        if !has_kernels() || !fits || !weight.device().is_cpu() {
            return Ok(None);
        }
        let weights = match weight.dtype() {
            GgmlDType::Q4K => Weights::Q4K(packed(&weight.data()?, columns, q4k::pack)),
            GgmlDType::Q6K => Weights::Q6K(packed(&weight.data()?, columns, q6k::pack)),
            _ => return Ok(None),
        };
        Ok(Some(Self { weights, rows, columns }))
    }

    /// The inputs `[n, columns]` in the form that [`product`](Self::product) takes. Matrices of as many columns can share it.
    ///
    /// # Errors
    /// When the inputs are of another width.
    pub fn input(&self, x: &Tensor) -> candle_core::Result<Input> {
        let (_, columns) = x.dims2()?;
        if columns != self.columns {
            candle_core::bail!("inputs of {columns} columns for a matrix of {}", self.columns);
        }
        Ok(Input::new(&x.flatten_all()?.to_vec1::<f32>()?, columns))
    }

    /// `x · Wᵀ`, `[n, rows]`.
    ///
    /// # Errors
    /// When the inputs are of another width.
    pub fn product(&self, input: &Input) -> candle_core::Result<Tensor> {
        if input.columns() != self.columns {
            candle_core::bail!("inputs of {} columns for a matrix of {}", input.columns(), self.columns);
        }
        let values = self.products(input);
        Tensor::from_vec(values, (input.rows().len(), self.rows), &Device::Cpu)
    }

    fn products(&self, input: &Input) -> Vec<f32> {
        match &self.weights {
            Weights::Q4K(groups) => product(groups, input, self.columns / BLOCK),
            Weights::Q6K(groups) => product(groups, input, self.columns / BLOCK),
        }
    }

    /// Some of the rows' values, `[rows, columns]`.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn rows(&self, rows: &[u32]) -> candle_core::Result<Tensor> {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.rows) {
            candle_core::bail!("row {row} of a matrix of {} rows", self.rows);
        }
        let values = rows.iter().flat_map(|&row| self.row(row as usize)).collect::<Vec<f32>>();
        Tensor::from_vec(values, (rows.len(), self.columns), &Device::Cpu)
    }

    fn row(&self, row: usize) -> Vec<f32> {
        let blocks = self.columns / BLOCK;
        let groups = row / LANES * blocks..(row / LANES + 1) * blocks;
        match &self.weights {
            Weights::Q4K(all) => all[groups].iter().flat_map(|group| group.unpack(row % LANES)).collect(),
            Weights::Q6K(all) => all[groups].iter().flat_map(|group| group.unpack(row % LANES)).collect(),
        }
    }
}

/// The groups of a matrix: eight rows after eight rows, of each its blocks in order.
fn packed<G: Send, const SIZE: usize>(
    bytes: &[u8],
    columns: usize,
    pack: impl Fn([&[u8; SIZE]; LANES]) -> G + Sync,
) -> Vec<G> {
    let (blocks, _) = bytes.as_chunks::<SIZE>();
    let per_row = columns / BLOCK;
    let groups = blocks.len() / LANES;
    let group = |index: usize| {
        let (eight, block) = (index / per_row, index % per_row);
        pack(std::array::from_fn(|lane| &blocks[(eight * LANES + lane) * per_row + block]))
    };
    (0..groups).map(group).collect()
}

/// Each thread takes some of the rows, eight by eight, for all inputs.
fn product<G: Group>(groups: &[G], input: &Input, per_row: usize) -> Vec<f32> {
    let inputs: Vec<&[input::Block]> = input.rows().collect();
    let (n, eights) = (inputs.len(), groups.len() / per_row);
    let share = eights.div_ceil(rayon::current_num_threads() * PIECES).max(1);
    // By eight rows first, then by input: what one thread writes lies together.
    let mut turned = vec![[0f32; LANES]; eights * n];
    turned.par_chunks_mut(share * n).zip(groups.par_chunks(share * per_row)).for_each(|(out, groups)| {
        let tile = (TILE / (per_row * BLOCK)).max(1).next_multiple_of(4);
        for (first, inputs) in inputs.chunks(tile).enumerate() {
            for (groups, out) in groups.chunks(per_row).zip(out.chunks_mut(n)) {
                rows(groups, inputs, &mut out[first * tile..]);
            }
        }
    });
    if n == 1 {
        return turned.into_flattened();
    }
    let mut out = vec![0f32; eights * LANES * n];
    out.par_chunks_mut(eights * LANES).enumerate().for_each(|(row, out)| {
        for (eight, out) in out.chunks_mut(LANES).enumerate() {
            out.copy_from_slice(&turned[eight * n + row]);
        }
    });
    out
}

/// Eight rows with some inputs, four at a time.
fn rows<G: Group>(groups: &[G], inputs: &[&[input::Block]], out: &mut [[f32; LANES]]) {
    let (fours, rest) = inputs.as_chunks::<4>();
    let mut out = out.iter_mut();
    let mut write = |products: &[[f32; LANES]]| products.iter().zip(&mut out).for_each(|(from, to)| *to = *from);
    for four in fours {
        // SAFETY: `Packed::new` packs nothing on a CPU without AVX2 and FMA.
        write(&unsafe { G::product(groups, *four) });
    }
    let (twos, rest) = rest.as_chunks::<2>();
    for two in twos {
        // SAFETY: as above.
        write(&unsafe { G::product(groups, *two) });
    }
    for one in rest {
        // SAFETY: as above.
        write(&unsafe { G::product(groups, [*one]) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between -1 and 1, the same each time.
    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn weight(kind: GgmlDType, rows: usize, columns: usize) -> QTensor {
        let values = noise(rows * columns, 7).into_iter().enumerate().map(|(i, v)| v * (1.0 + (i % 37) as f32));
        let values = Tensor::from_vec(values.collect::<Vec<f32>>(), (rows, columns), &Device::Cpu).unwrap();
        QTensor::quantize(&values, kind).unwrap()
    }

    /// The formats that there are kernels for; none on a CPU without AVX2, where nothing is packed.
    fn kinds() -> Vec<GgmlDType> {
        if has_kernels() { vec![GgmlDType::Q4K, GgmlDType::Q6K] } else { Vec::new() }
    }

    #[test]
    fn rows_have_the_values_of_the_file() {
        for kind in kinds() {
            let weight = weight(kind, 24, 512);
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let packed = Packed::new(&weight).unwrap().expect("a CPU with AVX2");
            for (row, values) in values.iter().enumerate() {
                for (a, b) in packed.row(row).iter().zip(values) {
                    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{kind:?} {row}: {a} {b}");
                }
            }
        }
    }

    /// Against the product with the weights' own values in double precision: what is lost is the inputs' rounding to 8
    /// bits, 1/254 of the largest of a block, so some thousandths of the size of the output.
    #[test]
    fn products_agree_with_those_of_the_unpacked_weights() {
        for (kind, columns, n) in
            kinds().into_iter().flat_map(|kind| [(kind, 256, 1), (kind, 1536, 1), (kind, 512, 7), (kind, 8960, 33)])
        {
            let (rows, inputs) = (40, noise(n * columns, 3));
            let weight = weight(kind, rows, columns);
            let packed = Packed::new(&weight).unwrap().expect("a CPU with AVX2");
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let out = packed.products(&Input::new(&inputs, columns));
            assert_eq!(out.len(), n * rows);
            for (x, out) in inputs.chunks(columns).zip(out.chunks(rows)) {
                let exact = |w: &Vec<f32>| w.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                let exact: Vec<f64> = values.iter().map(exact).collect();
                let error: f64 = exact.iter().zip(out).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum();
                let size: f64 = exact.iter().map(|a| a * a).sum();
                assert!((error / size).sqrt() < 0.01, "{kind:?} {columns} {n}: {}", (error / size).sqrt());
            }
        }
    }

    /// A sum of 16 bits that ran over would show as a wrong sign.
    #[test]
    fn the_largest_values_do_not_run_over() {
        for kind in kinds() {
            let columns = 512;
            for sign in [1f32, -1.0] {
                let ramp = |i: usize| if i % columns < 4 { -sign } else { sign * 50.0 };
                let values: Vec<f32> = (0..8 * columns).map(ramp).collect();
                let weight = Tensor::from_vec(values, (8, columns), &Device::Cpu).unwrap();
                let weight = QTensor::quantize(&weight, kind).unwrap();
                let sum: f32 = Packed::new(&weight).unwrap().unwrap().row(0).iter().sum();
                let out = Packed::new(&weight).unwrap().unwrap().products(&Input::new(&vec![3.0; columns], columns));
                assert!((out[0] / (3.0 * sum) - 1.0).abs() < 1e-3, "{kind:?} {sign}: {} {}", out[0], 3.0 * sum);
            }
        }
    }

    /// More columns than one tile of inputs has room for.
    #[test]
    fn very_wide_rows_are_multiplied() {
        for kind in kinds() {
            let columns = TILE + BLOCK;
            let packed = Packed::new(&weight(kind, 8, columns)).unwrap().unwrap();
            let exact: f32 = packed.row(7).iter().sum();
            let out = packed.products(&Input::new(&vec![1.0; columns], columns));
            assert!((out[7] - exact).abs() < 1e-2 * exact.abs().max(1e3), "{kind:?}: {} {exact}", out[7]);
        }
    }

    #[test]
    fn inputs_of_nothing_give_nothing() {
        let Some(packed) = Packed::new(&weight(GgmlDType::Q4K, 8, 256)).unwrap() else { return };
        assert_eq!(packed.products(&Input::new(&[0.0; 256], 256)), [0.0; 8]);
    }

    #[test]
    fn tensors_of_another_shape_are_refused() {
        let Some(packed) = Packed::new(&weight(GgmlDType::Q6K, 16, 512)).unwrap() else { return };
        let x = Tensor::zeros((3, 512), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(packed.product(&packed.input(&x).unwrap()).unwrap().dims(), [3, 16]);
        assert!(packed.input(&x.narrow(1, 0, 256).unwrap()).is_err());
        assert!(packed.product(&Input::new(&[0.0; 256], 256)).is_err());
        assert_eq!(packed.rows(&[15, 0]).unwrap().dims(), [2, 512]);
        assert!(packed.rows(&[16]).is_err());
    }

    #[test]
    fn what_has_no_kernel_is_not_packed() {
        assert!(Packed::new(&weight(GgmlDType::Q8_0, 8, 256)).unwrap().is_none());
        assert!(Packed::new(&weight(GgmlDType::Q4K, 9, 256)).unwrap().is_none());
    }
}
