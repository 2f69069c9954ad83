//! Grouped-query attention (<https://arxiv.org/abs/2305.13245>) over the cache of one layer.
//!
//! The queries of a group share their keys and values: several are taken at a time, so that each key and value is read once
//! for all of them. Scores of a query are held until all are there; the softmax divides at the end.

use rayon::prelude::*;

use super::Place;
use super::cache::{Head, LayerCache};
#[cfg(target_arch = "x86_64")]
use super::wide;
use crate::model::lanes::{self, Kernel, LANES};

/// Queries that are taken together, at most.
const MOST: usize = 6;

/// Mixes the values for the queries of several runs, each over its own cache.
pub fn attend_all(
    places: &[Place],
    caches: &[&mut LayerCache],
    group: usize,
    width: usize,
    queries: &[f32],
    out: &mut [f32],
) {
    let per_token = caches.first().map_or(0, |cache| cache.heads.len()) * group * width;
    let mut rest = out;
    let mut all = Vec::new();
    for (place, cache) in places.iter().zip(caches) {
        let (out, others) = rest.split_at_mut(place.n * per_token);
        rest = others;
        all.push((place, &**cache, &queries[place.of(per_token)], out));
    }
    all.into_par_iter().for_each(|(place, cache, queries, out)| attend(queries, cache, place.start, group, width, out));
}

/// Mixes the values for all queries of a run from position `start` on. Queries and what comes out are by key/value head,
/// then by position, then by query head of that group, `width` elements each; the queries are scaled.
fn attend(queries: &[f32], cache: &LayerCache, start: usize, group: usize, width: usize, out: &mut [f32]) {
    let per_head = queries.len() / cache.heads.len();
    let rows = per_head / width;
    // As many pieces as threads at least.
    let share = (rows * cache.heads.len()).div_ceil(rayon::current_num_threads());
    let most = share.clamp(1, MOST);
    let heads = out.par_chunks_mut(per_head).zip(queries.par_chunks(per_head)).zip(&cache.heads);
    heads.for_each(|((out, queries), head)| {
        let pieces = out.par_chunks_mut(most * width).zip(queries.par_chunks(most * width)).enumerate();
        pieces.for_each(|(piece, (out, queries))| {
            let reach = |row: usize| start + (piece * most + row) / group + 1;
            match out.len() / width {
                1 => Attend::<1> { queries, head, reach: std::array::from_fn(reach), width, out }.run(),
                2 => Attend::<2> { queries, head, reach: std::array::from_fn(reach), width, out }.run(),
                3 => Attend::<3> { queries, head, reach: std::array::from_fn(reach), width, out }.run(),
                4 => Attend::<4> { queries, head, reach: std::array::from_fn(reach), width, out }.run(),
                5 => Attend::<5> { queries, head, reach: std::array::from_fn(reach), width, out }.run(),
                _ => Attend::<6> { queries, head, reach: std::array::from_fn(reach), width, out }.run(),
            }
        });
    });
}

/// Some queries of one group.
struct Attend<'a, const R: usize> {
    queries: &'a [f32],
    head: &'a Head,
    /// How many positions each may look at.
    reach: [usize; R],
    width: usize,
    out: &'a mut [f32],
}

impl<const R: usize> Attend<'_, R> {
    fn run(self) {
        let Self { queries, head, reach, width, out } = self;
        let longest = reach.iter().copied().max().unwrap_or_default();
        let mut weights = vec![[[0f32; LANES]; R]; longest.div_ceil(LANES)];
        scores(&turned(queries, width), head, &mut weights);
        let sums = lanes::run(Softmax { scores: &mut weights, reach });
        let mut mixed = vec![[[0f32; LANES]; R]; width / LANES];
        mix(&weights, head, &mut mixed);
        for row in 0..R {
            let (factor, of_row) = (1.0 / sums[row], &mut out[row * width..(row + 1) * width]);
            for (out, mixed) in of_row.as_chunks_mut::<LANES>().0.iter_mut().zip(&mixed) {
                for lane in 0..LANES {
                    out[lane] = mixed[row][lane] * factor;
                }
            }
        }
    }
}

/// Queries element by element, those of all.
fn turned<const R: usize>(queries: &[f32], width: usize) -> Vec<[f32; R]> {
    let mut turned = vec![[0f32; R]; width];
    for (row, query) in queries.chunks_exact(width).enumerate().take(R) {
        for (turned, element) in turned.iter_mut().zip(query) {
            turned[row] = *element;
        }
    }
    turned
}

/// The products of the queries with the keys, sixteen by sixteen, as many as `out` has room for.
fn scores<const R: usize>(queries: &[[f32; R]], head: &Head, out: &mut [[[f32; LANES]; R]]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_able() {
        return wide::scores(queries, head, out);
    }
    lanes::run(Scores { queries, head, out });
}

/// The values, summed by the weights, sixteen elements by sixteen.
fn mix<const R: usize>(weights: &[[[f32; LANES]; R]], head: &Head, out: &mut [[[f32; LANES]; R]]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_able() {
        return wide::mix(weights, head, out);
    }
    lanes::run(Mix { weights, head, out });
}

struct Scores<'a, const R: usize> {
    queries: &'a [[f32; R]],
    head: &'a Head,
    out: &'a mut [[[f32; LANES]; R]],
}

impl<const R: usize> Kernel for Scores<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (tile, scores) in self.out.iter_mut().enumerate() {
            let mut sums = [[0f32; LANES]; R];
            for (query, keys) in self.queries.iter().zip(self.head.keys(tile)) {
                for row in 0..R {
                    for lane in 0..LANES {
                        sums[row][lane] = query[row].mul_add(keys[lane], sums[row][lane]);
                    }
                }
            }
            *scores = sums;
        }
    }
}

/// Turns scores into weights, of which the sums are given.
struct Softmax<'a, const R: usize> {
    scores: &'a mut [[[f32; LANES]; R]],
    reach: [usize; R],
}

impl<const R: usize> Kernel for Softmax<'_, R> {
    type Output = [f32; R];

    #[inline(always)]
    fn run(self) -> [f32; R] {
        let mut sums = [0f32; R];
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = softmax(self.scores, row, self.reach[row]);
        }
        sums
    }
}

/// Turns a query's scores into weights, of which the sum is given: those out of its reach into nothing.
#[inline(always)]
fn softmax<const R: usize>(scores: &mut [[[f32; LANES]; R]], row: usize, reach: usize) -> f32 {
    let (last, there) = ((reach - 1) / LANES, (reach - 1) % LANES + 1);
    scores[last][row][there..].fill(f32::NEG_INFINITY);
    let mut most = [f32::NEG_INFINITY; LANES];
    for tile in &scores[..=last] {
        for lane in 0..LANES {
            most[lane] = if tile[row][lane] > most[lane] { tile[row][lane] } else { most[lane] };
        }
    }
    let most = lanes::largest(&most);
    let mut sums = [0f32; LANES];
    for tile in &mut scores[..=last] {
        for lane in 0..LANES {
            tile[row][lane] = lanes::exp(tile[row][lane] - most);
            sums[lane] += tile[row][lane];
        }
    }
    // What lies out of reach weighs nothing, not next to nothing.
    scores[last][row][there..].fill(0.0);
    for tile in &mut scores[last + 1..] {
        tile[row] = [0.0; LANES];
    }
    lanes::sum(&sums)
}

struct Mix<'a, const R: usize> {
    weights: &'a [[[f32; LANES]; R]],
    head: &'a Head,
    out: &'a mut [[[f32; LANES]; R]],
}

impl<const R: usize> Kernel for Mix<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.out.len() * LANES;
        for (part, mixed) in self.out.iter_mut().enumerate() {
            let mut sums = [[0f32; LANES]; R];
            for (tile, weights) in self.weights.iter().enumerate() {
                for (position, values) in self.head.values(tile).chunks_exact(width).enumerate().take(LANES) {
                    let values = &values.as_chunks::<LANES>().0[part];
                    for row in 0..R {
                        for lane in 0..LANES {
                            sums[row][lane] = weights[row][position].mul_add(values[lane], sums[row][lane]);
                        }
                    }
                }
            }
            *mixed = sums;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn wide_products_are_those_of_the_plain_loops_to_the_bit() {
        const WIDTH: usize = 3 * LANES;
        if !wide::is_able() {
            return;
        }
        let number = |n: usize| ((n * 7919 + 13) % 1009) as f32 / 505.0 - 1.0;
        let mut head = Head::new(WIDTH);
        for position in 0..5 * LANES {
            let row = |of: usize| (0..WIDTH).map(|n| number(of + position * WIDTH + n)).collect::<Vec<_>>();
            head.write(position, &row(3), &row(5));
        }
        let queries: Vec<f32> = (0..6 * WIDTH).map(number).collect();
        let queries = turned::<6>(&queries, WIDTH);
        for tiles in [1, 2, 5] {
            let nothing = || vec![[[0f32; LANES]; 6]; tiles];
            let (mut plain, mut fast) = (nothing(), nothing());
            lanes::run(Scores { queries: &queries, head: &head, out: &mut plain });
            wide::scores(&queries, &head, &mut fast);
            assert_eq!(plain, fast);
            assert!(plain[tiles - 1][5][15] != 0.0);
            let (mut mixed, mut mixed_fast) = (vec![[[0f32; LANES]; 6]; 3], vec![[[0f32; LANES]; 6]; 3]);
            lanes::run(Mix { weights: &plain, head: &head, out: &mut mixed });
            wide::mix(&plain, &head, &mut mixed_fast);
            assert_eq!(mixed, mixed_fast);
        }
    }
}
