//! Products with k-quant weights on x86 CPUs, with AVX-512 VNNI or with AVX2.
//!
//! In: a GGUF tensor's bytes. Out: [`Packed`] weights, sixteen or eight rows side by side so that one vector holds four columns
//! of each, in as many bits as the file has. The same layout serves a single token (each weight is read once) and a long
//! prompt (each is unpacked once for several tokens). Inputs are brought to 8 bits in blocks of 256, as ggml does.
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
/// Bytes of the inputs that one thread goes over again and again: they should stay in its cache.
const TILE: usize = 192 << 10;
/// Pieces that a thread's share of the rows is cut into, so that a thread which is held up gets fewer.
const PIECES: usize = 4;

/// A matrix `[rows, columns]`, packed.
#[derive(Debug)]
pub struct Packed {
    weights: Box<dyn Weights>,
    rows: usize,
    columns: usize,
}

/// The packed weights of a matrix.
trait Weights: std::fmt::Debug + Send + Sync {
    /// The products with all inputs, row by row of these.
    fn products(&self, input: &Input) -> Vec<f32>;

    /// A row's values.
    fn row(&self, row: usize) -> Vec<f32>;
}

/// Groups of rows, of each its blocks in order.
#[derive(Debug)]
struct Groups<G, const LANES: usize> {
    groups: Vec<G>,
    /// Blocks in a row.
    per_row: usize,
}

/// One block of columns of several rows.
trait Group<const LANES: usize>: std::fmt::Debug + Send + Sync {
    /// The products of the rows with `M` inputs, of which the blocks are given from the first on.
    ///
    /// # Safety
    /// The CPU must be [able](able) to use so many lanes.
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[input::Block]; M]) -> [[f32; LANES]; M]
    where
        Self: Sized;

    /// One row's values.
    fn unpack(&self, lane: usize) -> [f32; BLOCK];
}

/// Whether this CPU has the instructions for vectors of so many 32-bit lanes.
#[cfg(target_arch = "x86_64")]
fn able(lanes: usize) -> bool {
    match lanes {
        16 => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
        }
        8 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"),
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn able(_: usize) -> bool {
    false
}

impl Packed {
    /// Packs a matrix. `None` when it is of a kind or shape, or the CPU is one, that there is no kernel for.
    ///
    /// # Errors
    /// When the tensor's bytes cannot be read.
    pub fn new(weight: &QTensor) -> candle_core::Result<Option<Self>> {
        match Self::with_lanes(weight, 16)? {
            Some(packed) => Ok(Some(packed)),
            None => Self::with_lanes(weight, 8),
        }
    }

    /// The same with so many rows side by side.
    fn with_lanes(weight: &QTensor, lanes: usize) -> candle_core::Result<Option<Self>> {
        let (rows, columns) = weight.shape().dims2()?;
        let fits = rows % lanes == 0 && columns % BLOCK == 0;
        if !able(lanes) || !fits || !weight.device().is_cpu() {
            return Ok(None);
        }
        let weights: Box<dyn Weights> = match (weight.dtype(), lanes) {
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q4K, 16) => Box::new(Groups::new(&weight.data()?, columns, q4k::pack::<16>)),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q4K, 8) => Box::new(Groups::new(&weight.data()?, columns, q4k::pack::<8>)),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q6K, 16) => Box::new(Groups::new(&weight.data()?, columns, q6k::pack::<16>)),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q6K, 8) => Box::new(Groups::new(&weight.data()?, columns, q6k::pack::<8>)),
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
        Tensor::from_vec(self.weights.products(input), (input.rows().len(), self.rows), &Device::Cpu)
    }

    /// Some of the rows' values, `[rows, columns]`.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn rows(&self, rows: &[u32]) -> candle_core::Result<Tensor> {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.rows) {
            candle_core::bail!("row {row} of a matrix of {} rows", self.rows);
        }
        let values = rows.iter().flat_map(|&row| self.weights.row(row as usize)).collect::<Vec<f32>>();
        Tensor::from_vec(values, (rows.len(), self.columns), &Device::Cpu)
    }
}

impl<G: Group<LANES>, const LANES: usize> Groups<G, LANES> {
    /// Packs a file's blocks, which are `SIZE` bytes each, row by row.
    fn new<const SIZE: usize>(bytes: &[u8], columns: usize, pack: impl Fn([&[u8; SIZE]; LANES]) -> G) -> Self {
        let (blocks, _) = bytes.as_chunks::<SIZE>();
        let per_row = columns / BLOCK;
        let group = |index: usize| {
            let (rows, block) = (index / per_row, index % per_row);
            pack(std::array::from_fn(|lane| &blocks[(rows * LANES + lane) * per_row + block]))
        };
        Self { groups: (0..blocks.len() / LANES).map(group).collect(), per_row }
    }
}

impl<G: Group<LANES>, const LANES: usize> Weights for Groups<G, LANES> {
    /// Each thread takes some of the rows, group by group, for all inputs.
    fn products(&self, input: &Input) -> Vec<f32> {
        let Self { groups, per_row } = self;
        let inputs: Vec<&[input::Block]> = input.rows().collect();
        let (n, count) = (inputs.len(), groups.len() / per_row);
        let share = count.div_ceil(rayon::current_num_threads() * PIECES).max(1);
        // By group of rows first, then by input: what one thread writes lies together.
        let mut turned = vec![[0f32; LANES]; count * n];
        turned.par_chunks_mut(share * n).zip(groups.par_chunks(share * per_row)).for_each(|(out, groups)| {
            let tile = (TILE / (per_row * BLOCK)).max(1).next_multiple_of(8);
            for (first, inputs) in inputs.chunks(tile).enumerate() {
                for (groups, out) in groups.chunks(*per_row).zip(out.chunks_mut(n)) {
                    rows(groups, inputs, &mut out[first * tile..]);
                }
            }
        });
        if n == 1 {
            return turned.into_flattened();
        }
        let mut out = vec![0f32; count * LANES * n];
        out.par_chunks_mut(count * LANES).enumerate().for_each(|(row, out)| {
            for (group, out) in out.chunks_mut(LANES).enumerate() {
                out.copy_from_slice(&turned[group * n + row]);
            }
        });
        out
    }

    fn row(&self, row: usize) -> Vec<f32> {
        let first = row / LANES * self.per_row;
        self.groups[first..first + self.per_row].iter().flat_map(|group| group.unpack(row % LANES)).collect()
    }
}

/// The rows of a group with some inputs, as many at a time as there are registers for.
fn rows<G: Group<LANES>, const LANES: usize>(groups: &[G], inputs: &[&[input::Block]], out: &mut [[f32; LANES]]) {
    let mut out = out.iter_mut();
    let mut write = |products: &[[f32; LANES]]| products.iter().zip(&mut out).for_each(|(from, to)| *to = *from);
    let mut inputs = inputs;
    if LANES == 16 {
        let (eights, rest) = inputs.as_chunks::<8>();
        for eight in eights {
            // SAFETY: `Packed::with_lanes` packs nothing on a CPU that is not able.
            write(&unsafe { G::product(groups, *eight) });
        }
        inputs = rest;
    }
    let (fours, rest) = inputs.as_chunks::<4>();
    for four in fours {
        // SAFETY: as above.
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

    /// The formats and numbers of lanes that this CPU has kernels for; none on one where nothing is packed.
    fn kinds() -> impl Iterator<Item = (GgmlDType, usize)> {
        let all = [8, 16].into_iter().flat_map(|lanes| [(GgmlDType::Q4K, lanes), (GgmlDType::Q6K, lanes)]);
        all.filter(|(_, lanes)| able(*lanes))
    }

    fn packed(weight: &QTensor, lanes: usize) -> Packed {
        Packed::with_lanes(weight, lanes).unwrap().expect("an able CPU")
    }

    #[test]
    fn rows_have_the_values_of_the_file() {
        for (kind, lanes) in kinds() {
            let weight = weight(kind, 48, 512);
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let packed = packed(&weight, lanes);
            for (row, values) in values.iter().enumerate() {
                for (a, b) in packed.weights.row(row).iter().zip(values) {
                    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{kind:?} {row}: {a} {b}");
                }
            }
        }
    }

    /// Against the product with the weights' own values in double precision: what is lost is the inputs' rounding to 8
    /// bits, 1/254 of the largest of a block, so some thousandths of the size of the output.
    #[test]
    fn products_agree_with_those_of_the_unpacked_weights() {
        let shapes = [(256, 1), (1536, 1), (512, 15), (8960, 33)];
        for ((kind, lanes), (columns, n)) in kinds().flat_map(|kind| shapes.map(|shape| (kind, shape))) {
            let (rows, inputs) = (48, noise(n * columns, 3));
            let weight = weight(kind, rows, columns);
            let packed = packed(&weight, lanes);
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let out = packed.weights.products(&Input::new(&inputs, columns));
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
        for (kind, lanes) in kinds() {
            let columns = 512;
            for sign in [1f32, -1.0] {
                let ramp = |i: usize| if i % columns < 4 { -sign } else { sign * 50.0 };
                let values: Vec<f32> = (0..lanes * columns).map(ramp).collect();
                let weight = Tensor::from_vec(values, (lanes, columns), &Device::Cpu).unwrap();
                let weight = QTensor::quantize(&weight, kind).unwrap();
                let packed = packed(&weight, lanes);
                let sum: f32 = packed.weights.row(0).iter().sum();
                let out = packed.weights.products(&Input::new(&vec![3.0; columns], columns));
                assert!((out[0] / (3.0 * sum) - 1.0).abs() < 1e-3, "{kind:?} {sign}: {} {}", out[0], 3.0 * sum);
            }
        }
    }

    /// More columns than one tile of inputs has room for.
    #[test]
    fn very_wide_rows_are_multiplied() {
        for (kind, lanes) in kinds() {
            let columns = TILE + BLOCK;
            let packed = packed(&weight(kind, lanes, columns), lanes);
            let exact: f32 = packed.weights.row(7).iter().sum();
            let out = packed.weights.products(&Input::new(&vec![1.0; columns], columns));
            assert!((out[7] - exact).abs() < 1e-2 * exact.abs().max(1e3), "{kind:?}: {} {exact}", out[7]);
        }
    }

    #[test]
    fn inputs_of_nothing_give_nothing() {
        let Some(packed) = Packed::new(&weight(GgmlDType::Q4K, 8, 256)).unwrap() else { return };
        assert_eq!(packed.weights.products(&Input::new(&[0.0; 256], 256)), [0.0; 8]);
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
