//! Products of packed matrices with inputs, on all threads.
//!
//! In: matrices and inputs of one width. Out: `[n, rows]`, input by input. Each thread takes groups of rows, and goes over them
//! with as many inputs as stay in its cache.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::Packed;
use super::input::{self, Input};

/// Bytes of the inputs that one thread goes over again and again: they should stay in its cache.
pub(super) const TILE: usize = 192 << 10;
/// Pieces that a thread's share of the rows is cut into, so that a thread which is held up gets fewer.
const PIECES: usize = 4;
/// The most rows that stand side by side.
const MOST_LANES: usize = 16;

/// `x · Wᵀ` of several matrices of as many columns for the same inputs, each `[n, rows]`.
///
/// # Panics
/// When the inputs are of another width, or an output of another size.
pub fn products<const N: usize>(matrices: [&Packed; N], input: &Input, outs: [&mut [f32]; N]) {
    let targets: Vec<Target> = matrices.iter().zip(outs).map(|(matrix, out)| Target::new(matrix, input, out)).collect();
    let ends: Vec<usize> = matrices
        .iter()
        .scan(0, |end, matrix| {
            *end += matrix.groups();
            Some(*end)
        })
        .collect();
    over_groups(ends.last().copied().unwrap_or_default(), input, |groups, first, inputs| {
        let mut room = Room::new(inputs.len());
        for at in groups {
            let which = ends.partition_point(|end| *end <= at);
            let group = at - if which == 0 { 0 } else { ends[which - 1] };
            let products = room.of(matrices[which].lanes);
            matrices[which].weights.group(group, inputs, products);
            targets[which].write(group, first, products);
        }
    });
}

/// `f(x · Wᵀ, x · Vᵀ)`, value by value, of two matrices of one shape.
///
/// # Panics
/// When the inputs are of another width, the matrices of different shapes, or the output of another size.
pub fn joined([one, other]: [&Packed; 2], input: &Input, out: &mut [f32], join: impl Fn(&mut [f32], &[f32]) + Sync) {
    let shape = |matrix: &Packed| (matrix.rows, matrix.columns, matrix.lanes);
    assert_eq!(shape(one), shape(other), "matrices of one shape");
    let target = Target::new(one, input, out);
    over_groups(one.groups(), input, |groups, first, inputs| {
        let (mut room, mut others) = (Room::new(inputs.len()), Room::new(inputs.len()));
        for group in groups {
            let (products, others) = (room.of(one.lanes), others.of(other.lanes));
            one.weights.group(group, inputs, products);
            other.weights.group(group, inputs, others);
            join(products, others);
            target.write(group, first, products);
        }
    });
}

/// Calls `each` for pieces of the groups on all threads, with as many inputs as stay in the cache, and the first one's number.
fn over_groups(count: usize, input: &Input, each: impl Fn(Range<usize>, usize, &[&[input::Block]]) + Sync) {
    let inputs: Vec<&[input::Block]> = input.rows().collect();
    let tile = (TILE / input.columns().max(1)).max(1).next_multiple_of(8);
    let share = count.div_ceil(rayon::current_num_threads() * PIECES).max(1);
    (0..count.div_ceil(share)).into_par_iter().for_each(|piece| {
        let groups = piece * share..((piece + 1) * share).min(count);
        for (index, inputs) in inputs.chunks(tile).enumerate() {
            each(groups.clone(), index * tile, inputs);
        }
    });
}

/// Room for the products of a group with some inputs.
struct Room(Vec<f32>, usize);

impl Room {
    fn new(inputs: usize) -> Self {
        Self(vec![0f32; inputs * MOST_LANES], inputs)
    }

    fn of(&mut self, lanes: usize) -> &mut [f32] {
        &mut self.0[..self.1 * lanes]
    }
}

/// Where a matrix's products go, `[n, rows]`: threads write what is theirs.
struct Target<'a> {
    at: *mut f32,
    inputs: usize,
    rows: usize,
    lanes: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: threads write the columns of different groups, which share no value.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    fn new(matrix: &Packed, input: &Input, out: &'a mut [f32]) -> Self {
        assert_eq!(input.columns(), matrix.columns, "inputs as wide as the matrix");
        assert_eq!(out.len(), input.len() * matrix.rows, "room for each product");
        let (rows, lanes) = (matrix.rows, matrix.lanes);
        Self { at: out.as_mut_ptr(), inputs: input.len(), rows, lanes, borrowed: PhantomData }
    }

    /// Writes a group's products with some of the inputs, from the `first` on.
    fn write(&self, group: usize, first: usize, products: &[f32]) {
        let row = group * self.lanes;
        assert!(row < self.rows && first + products.len() / self.lanes <= self.inputs);
        let there = self.lanes.min(self.rows - row);
        for (index, values) in products.chunks_exact(self.lanes).enumerate() {
            // SAFETY: these rows of this input are inside of what `new` has seen to be there, and that stays borrowed.
            unsafe {
                let at = self.at.add((first + index) * self.rows + row);
                std::ptr::copy_nonoverlapping(values.as_ptr(), at, there);
            }
        }
    }
}
