//! Products with k-quant weights on x86 CPUs, with AVX-512 VNNI or with AVX2.
//!
//! In: a GGUF tensor's bytes, read piece by piece. Out: [`Packed`] weights, sixteen or eight rows side by side so that one
//! vector holds four columns of each, in as many bits as the file has. The same layout serves a single token (each weight is
//! read once) and a long prompt (each is unpacked once for several tokens). Inputs are brought to 8 bits in blocks of 256, as
//! ggml does.
//!
//! Block formats: `block_q4_K`, `block_q6_K` and `block_q8_0` of ggml's `ggml-common.h`.

mod input;
mod pages;
mod products;
#[cfg(target_arch = "x86_64")]
mod q4k;
#[cfg(target_arch = "x86_64")]
mod q6k;
#[cfg(target_arch = "x86_64")]
mod q8;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::io;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use super::lanes::{self, Kernel};

pub use input::Input;
pub use pages::Pages;
pub use products::{joined, products};

/// Columns of a block.
const BLOCK: usize = 256;
/// Bytes of a file that a thread reads and packs at a time: they should stay in its cache, and be worth the call.
const READ: usize = 256 << 10;

/// A matrix in a file.
pub struct Source<'a> {
    /// The kind of its blocks.
    pub kind: GgmlDType,
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// Fills a buffer with its bytes, from the given one on.
    pub read: &'a (dyn Fn(u64, &mut [u8]) -> io::Result<()> + Sync),
}

/// A matrix `[rows, columns]`, packed.
#[derive(Debug)]
pub struct Packed {
    weights: Box<dyn Weights>,
    rows: usize,
    columns: usize,
    lanes: usize,
}

/// The packed weights of a matrix.
trait Weights: std::fmt::Debug + Send + Sync {
    /// The products of a group of rows with some inputs, input by input.
    fn group(&self, index: usize, inputs: &[&[input::Block]], out: &mut [f32]);

    /// A row's values.
    fn row(&self, row: usize, out: &mut [f32]);
}

/// Groups of rows, of each its blocks in order.
#[derive(Debug)]
struct Groups<G, const LANES: usize> {
    groups: pages::Array<G>,
    /// Blocks in a row.
    per_row: usize,
}

/// One block of columns of several rows.
trait Group<const LANES: usize>: Unpack + Copy + std::fmt::Debug + Send + Sync {
    /// The products of the rows with `M` inputs, of which the blocks are given from the first on.
    ///
    /// # Safety
    /// The CPU must be [able](able) to use so many lanes.
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[input::Block]; M]) -> [[f32; LANES]; M]
    where
        Self: Sized;
}

/// Some rows that stand side by side.
trait Unpack {
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

/// The instructions that products take on this CPU, in a word.
pub fn instructions() -> &'static str {
    if able(16) {
        "avx512vnni"
    } else if able(8) {
        "avx2"
    } else {
        "none"
    }
}

/// Whether this CPU has a kernel for matrices of a kind and so many columns.
pub fn is_able(kind: GgmlDType, columns: usize) -> bool {
    let is_known = matches!(kind, GgmlDType::Q4K | GgmlDType::Q6K | GgmlDType::Q8_0);
    is_known && columns > 0 && columns.is_multiple_of(BLOCK) && (able(16) || able(8))
}

impl Packed {
    /// Packs a matrix. `None` when it is of a kind or width, or the CPU is one, that there is no kernel for.
    ///
    /// # Errors
    /// When its bytes cannot be read.
    pub fn new(source: &Source<'_>, pages: &Arc<Pages>) -> io::Result<Option<Self>> {
        match Self::with_lanes(source, 16, pages)? {
            Some(packed) => Ok(Some(packed)),
            None => Self::with_lanes(source, 8, pages),
        }
    }

    /// The same with so many rows side by side.
    fn with_lanes(source: &Source<'_>, lanes: usize, pages: &Arc<Pages>) -> io::Result<Option<Self>> {
        let [rows, columns] = source.shape;
        if !able(lanes) || !is_able(source.kind, columns) {
            return Ok(None);
        }
        let weights: Box<dyn Weights> = match (source.kind, lanes) {
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q4K, 16) => Box::new(Groups::new(source, pages, q4k::pack::<16>)?),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q4K, 8) => Box::new(Groups::new(source, pages, q4k::pack::<8>)?),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q6K, 16) => Box::new(Groups::new(source, pages, q6k::pack::<16>)?),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q6K, 8) => Box::new(Groups::new(source, pages, q6k::pack::<8>)?),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q8_0, 16) => Box::new(Groups::new(source, pages, q8::pack::<16>)?),
            #[cfg(target_arch = "x86_64")]
            (GgmlDType::Q8_0, 8) => Box::new(Groups::new(source, pages, q8::pack::<8>)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { weights, rows, columns, lanes }))
    }

    /// Rows: values of an output.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A row's values.
    ///
    /// # Panics
    /// When there is no such row, or no room for it.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() >= self.columns, "a row of the matrix, and room for it");
        self.weights.row(row, out);
    }

    /// `x · Wᵀ` of some of the rows for one input, with the weights as they are.
    pub fn product_of_rows(&self, x: &[f32], rows: &[u32]) -> Vec<f32> {
        let product = |row: &u32| {
            let mut values = vec![0f32; self.columns];
            self.row(*row as usize, &mut values);
            lanes::run(Dot(&values, x))
        };
        match rows.len() {
            0..16 => rows.iter().map(product).collect(),
            _ => rows.par_iter().map(product).collect(),
        }
    }

    fn groups(&self) -> usize {
        self.rows.div_ceil(self.lanes)
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        lanes::dot(self.0, self.1)
    }
}

impl<G: Group<LANES>, const LANES: usize> Groups<G, LANES> {
    /// Reads and packs a matrix of which the file has 256 columns of a row in `SIZE` bytes.
    fn new<const SIZE: usize>(
        source: &Source<'_>,
        pages: &Arc<Pages>,
        pack: impl Fn([&[u8; SIZE]; LANES]) -> G + Sync,
    ) -> io::Result<Self> {
        let [rows, columns] = source.shape;
        let per_row = columns / BLOCK;
        let row = per_row * SIZE;
        let together = (READ / (row * LANES)).max(1);
        let read = |first: usize, bytes: &mut Vec<u8>| {
            let first = first / per_row * LANES;
            bytes.resize((together * LANES).min(rows - first) * row, 0);
            (source.read)((first * row) as u64, bytes)
        };
        // Rows of nothing behind the last one.
        let nothing = [0u8; SIZE];
        let group = |bytes: &[u8], index: usize| {
            let (blocks, _) = bytes.as_chunks::<SIZE>();
            let (first, block) = (index / per_row * LANES, index % per_row);
            let of_row = |lane| blocks.get((first + lane) * per_row + block);
            pack(std::array::from_fn(|lane| of_row(lane).unwrap_or(&nothing)))
        };
        let groups = pages.array(rows.div_ceil(LANES) * per_row, together * per_row, read, group)?;
        Ok(Self { groups, per_row })
    }
}

/// Four bytes of a file's block.
fn four(block: &[u8], at: usize) -> [u8; 4] {
    *block[at..].first_chunk().expect("bytes of the block")
}

impl<G: Group<LANES>, const LANES: usize> Weights for Groups<G, LANES> {
    fn group(&self, index: usize, inputs: &[&[input::Block]], out: &mut [f32]) {
        let groups = &self.groups[index * self.per_row..(index + 1) * self.per_row];
        let (out, _) = out.as_chunks_mut::<LANES>();
        let mut out = out.iter_mut();
        let mut write = |products: &[[f32; LANES]]| products.iter().zip(&mut out).for_each(|(from, to)| *to = *from);
        let mut inputs = inputs;
        // As many at a time as there are registers for.
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

    fn row(&self, row: usize, out: &mut [f32]) {
        let first = row / LANES * self.per_row;
        let groups = &self.groups[first..first + self.per_row];
        for (group, out) in groups.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
            *out = group.unpack(row % LANES);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};
    use half::f16;

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
        let all = [8, 16]
            .into_iter()
            .flat_map(|lanes| [GgmlDType::Q4K, GgmlDType::Q6K, GgmlDType::Q8_0].map(|kind| (kind, lanes)));
        all.filter(|(_, lanes)| able(*lanes))
    }

    fn packed(weight: &QTensor, lanes: usize) -> Packed {
        with(weight, |source| Packed::with_lanes(source, lanes, &Pages::new(0)?)).expect("an able CPU")
    }

    /// What becomes of a tensor as it stands in a file.
    fn with(weight: &QTensor, pack: impl Fn(&Source<'_>) -> io::Result<Option<Packed>>) -> Option<Packed> {
        let (bytes, shape) = (weight.data().unwrap(), weight.shape().dims2().unwrap());
        let read = |at: u64, into: &mut [u8]| {
            into.copy_from_slice(&bytes[at as usize..][..into.len()]);
            Ok(())
        };
        pack(&Source { kind: weight.dtype(), shape: shape.into(), read: &read }).unwrap()
    }

    fn row(packed: &Packed, row: usize) -> Vec<f32> {
        let mut values = vec![0f32; packed.columns];
        packed.row(row, &mut values);
        values
    }

    fn product(packed: &Packed, values: &[f32]) -> Vec<f32> {
        let mut input = Input::default();
        input.fill(values, packed.columns);
        let mut out = vec![0f32; input.len() * packed.rows];
        products([packed], &input, [&mut out]);
        out
    }

    #[test]
    fn rows_have_the_values_of_the_file() {
        for (kind, lanes) in kinds() {
            let weight = weight(kind, 45, 512);
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let packed = packed(&weight, lanes);
            for (at, values) in values.iter().enumerate() {
                for (a, b) in row(&packed, at).iter().zip(values) {
                    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{kind:?} {at}: {a} {b}");
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
            let (rows, inputs) = (45, noise(n * columns, 3));
            let weight = weight(kind, rows, columns);
            let packed = packed(&weight, lanes);
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let out = product(&packed, &inputs);
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

    /// The bytes of 256 columns with the largest weights that the format has: `high`, or those on the other side.
    fn extreme(kind: GgmlDType, high: bool) -> Vec<u8> {
        let one = f16::ONE.to_le_bytes();
        match kind {
            // All quants 15; all scales and minima 63, or the minima alone.
            GgmlDType::Q4K if high => [&one[..], &[0, 0], &[0xff; 12], &[0xff; 128]].concat(),
            GgmlDType::Q4K => [&one[..], &one, &[0xff; 12], &[0; 128]].concat(),
            // All quants 63, scales 127 or -128.
            GgmlDType::Q6K => [&[0xff; 192][..], &[if high { 127 } else { 128 }; 16], &one].concat(),
            _ => [&one[..], &[if high { 127 } else { 128 }; 32]].concat().repeat(8),
        }
    }

    /// A sum of 16 bits that ran over would show as a wrong sign.
    #[test]
    fn the_largest_values_do_not_run_over() {
        for ((kind, lanes), high) in kinds().flat_map(|kind| [(kind, true), (kind, false)]) {
            let bytes = extreme(kind, high).repeat(2 * lanes);
            let read = |at: u64, into: &mut [u8]| {
                into.copy_from_slice(&bytes[at as usize..][..into.len()]);
                Ok(())
            };
            let source = Source { kind, shape: [lanes, 512], read: &read };
            let packed = Packed::with_lanes(&source, lanes, &Pages::new(0).unwrap()).unwrap().unwrap();
            let sum: f32 = row(&packed, lanes - 1).iter().sum();
            let largest = match (kind, high) {
                (GgmlDType::Q4K, true) => 63.0 * 15.0,
                (GgmlDType::Q4K, false) => -63.0,
                (GgmlDType::Q6K, true) => 127.0 * 31.0,
                (GgmlDType::Q6K, false) => -128.0 * 31.0,
                (_, true) => 127.0,
                (_, false) => -128.0,
            };
            assert_eq!(sum, 512.0 * largest, "{kind:?}");
            // One, two, four and more inputs take kernels of their own.
            for (n, value) in [1, 2, 4, 15].into_iter().flat_map(|n| [(n, 127.0), (n, -127.0)]) {
                let out = product(&packed, &vec![value; n * 512]);
                assert!(out.iter().all(|out| (out / (value * sum) - 1.0).abs() < 1e-5), "{kind:?} {n}: {out:?}");
            }
        }
    }

    /// What comes out does not depend on how many threads share the work.
    #[test]
    fn products_are_the_same_on_any_number_of_threads() {
        for (kind, lanes) in kinds() {
            let packed = packed(&weight(kind, 200, 512), lanes);
            let values = noise(19 * 512, 5);
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| product(&packed, &values))
            };
            assert_eq!(on(1), on(3), "{kind:?}");
        }
    }

    /// A number that is none is not lost: what comes of it is none either.
    #[test]
    fn inputs_that_are_no_numbers_give_none() {
        for ((kind, lanes), odd) in kinds().flat_map(|kind| [(kind, f32::NAN), (kind, f32::INFINITY)]) {
            let mut values = noise(512, 5);
            values[300] = odd;
            let out = product(&packed(&weight(kind, lanes, 512), lanes), &values);
            assert!(out.iter().all(|out| out.is_nan()), "{kind:?} {odd}");
        }
    }

    /// More columns than one tile of inputs has room for.
    #[test]
    fn very_wide_rows_are_multiplied() {
        for (kind, lanes) in kinds() {
            let columns = products::TILE + BLOCK;
            let packed = packed(&weight(kind, lanes, columns), lanes);
            let exact: f32 = row(&packed, 7).iter().sum();
            let out = product(&packed, &vec![1.0; columns]);
            assert!((out[7] - exact).abs() < 1e-2 * exact.abs().max(1e3), "{kind:?}: {} {exact}", out[7]);
        }
    }

    #[test]
    fn inputs_of_nothing_give_nothing() {
        for (kind, lanes) in kinds() {
            assert_eq!(product(&packed(&weight(kind, lanes, 256), lanes), &[0.0; 256]), vec![0.0; lanes]);
        }
    }

    #[test]
    fn several_matrices_share_their_inputs() {
        for ((one, lanes), (other, _)) in kinds().zip(kinds().skip(1)).filter(|((_, a), (_, b))| a == b) {
            let [one, other] = [(one, 48), (other, 16)].map(|(kind, rows)| packed(&weight(kind, rows, 512), lanes));
            let values = noise(11 * 512, 3);
            let mut input = Input::default();
            input.fill(&values, 512);
            let [mut a, mut b] = [vec![0f32; 11 * 48], vec![0f32; 11 * 16]];
            products([&one, &other], &input, [&mut a, &mut b]);
            assert_eq!((a.clone(), b), (product(&one, &values), product(&other, &values)));
            let mut doubled = vec![0f32; 11 * 48];
            joined([&one, &one], &input, &mut doubled, |x, y| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
            assert!(doubled.iter().zip(&a).all(|(doubled, once)| *doubled == 2.0 * once));
            let exact = product(&one, &values[..512]);
            for (row, value) in [31u32, 0].iter().zip(one.product_of_rows(&values[..512], &[31, 0])) {
                let size = exact.iter().fold(0f32, |size, value| size.max(value.abs()));
                assert!((value - exact[*row as usize]).abs() < 0.02 * size, "{row}");
            }
        }
    }

    #[test]
    fn a_packed_matrix_fits_into_the_room_for_it() {
        for (kind, lanes) in kinds() {
            let weight = weight(kind, 48, 512);
            let bytes = weight.data().unwrap().len();
            let pages = Pages::for_file(bytes).unwrap();
            with(&weight, |source| Packed::with_lanes(source, lanes, &pages)).unwrap();
            assert!((bytes..=bytes + bytes / 8).contains(&pages.taken()), "{kind:?}: {bytes} {}", pages.taken());
        }
    }

    /// More rows than are read at a time, the last ones fewer than stand side by side.
    #[test]
    fn a_matrix_is_read_piece_by_piece() {
        for (kind, lanes) in kinds() {
            // Of each kind: 144 bytes are the fewest that hold 256 columns.
            let rows = 2 * READ / 144 + 3;
            let weight = weight(kind, rows, 256);
            let values: Vec<Vec<f32>> = weight.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
            let packed = packed(&weight, lanes);
            for (at, values) in values.iter().enumerate() {
                assert!(row(&packed, at).iter().zip(values).all(|(a, b)| (a - b).abs() < 1e-4), "{kind:?} {at}");
            }
        }
    }

    #[test]
    fn bytes_that_cannot_be_read_are_an_error() {
        let read = |_: u64, _: &mut [u8]| Err(io::Error::other("gone"));
        for (kind, lanes) in kinds() {
            let source = Source { kind, shape: [32, 512], read: &read };
            assert_eq!(Packed::with_lanes(&source, lanes, &Pages::new(0).unwrap()).unwrap_err().to_string(), "gone");
        }
    }

    #[test]
    fn what_has_no_kernel_is_not_packed() {
        let pages = Pages::new(0).unwrap();
        for weight in [weight(GgmlDType::Q5_0, 8, 256), weight(GgmlDType::Q8_0, 8, 288)] {
            assert!(with(&weight, |source| Packed::new(source, &pages)).is_none());
        }
    }
}
