//! Keys and values of one layer on the CPU, laid out for attention.

use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::model::config::Config;
use crate::model::lanes::LANES;

/// Keys and values of one layer.
///
/// They lie in tiles of sixteen positions that several caches may share: a clone costs next to nothing, and a tile that is
/// written is copied first where another cache has it too.
#[derive(Clone, Debug)]
pub struct LayerCache {
    /// By key/value head.
    pub heads: Vec<Head>,
}

impl LayerCache {
    /// Nothing yet.
    pub fn new(config: &Config) -> Self {
        Self { heads: (0..config.kv_heads).map(|_| Head::new(config.head_width)).collect() }
    }

    /// Writes the tiles of the first positions, head by head.
    ///
    /// # Errors
    /// When that fails.
    pub fn write_to(&self, positions: usize, out: &mut dyn Write) -> io::Result<()> {
        for head in &self.heads {
            for tile in &head.tiles[..positions.div_ceil(LANES)] {
                write_all(tile.keys.as_flattened(), out)?;
                write_all(&tile.values, out)?;
            }
        }
        Ok(())
    }

    /// Reads what was [written](Self::write_to) of so many positions.
    ///
    /// # Errors
    /// When that fails, or ends too early.
    pub fn read_from(config: &Config, positions: usize, from: &mut dyn Read) -> io::Result<Self> {
        let width = config.head_width;
        let tile = |from: &mut dyn Read| -> io::Result<Arc<Tile>> {
            let mut tile = Tile::new(width);
            read_all(tile.keys.as_flattened_mut(), from)?;
            read_all(&mut tile.values, from)?;
            Ok(Arc::new(tile))
        };
        let head = |from: &mut dyn Read| -> io::Result<Head> {
            let tiles = (0..positions.div_ceil(LANES)).map(|_| tile(from)).collect::<io::Result<_>>()?;
            Ok(Head { tiles, width })
        };
        Ok(Self { heads: (0..config.kv_heads).map(|_| head(from)).collect::<io::Result<_>>()? })
    }
}

/// Writes numbers, the lowest byte first.
fn write_all(numbers: &[f32], out: &mut dyn Write) -> io::Result<()> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    out.write_all(&bytes)
}

fn read_all(numbers: &mut [f32], from: &mut dyn Read) -> io::Result<()> {
    let mut bytes = vec![0; size_of_val(numbers)];
    from.read_exact(&mut bytes)?;
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *number = f32::from_le_bytes(*bytes);
    }
    Ok(())
}

/// Keys and values of one head.
#[derive(Clone, Debug)]
pub struct Head {
    tiles: Vec<Arc<Tile>>,
    width: usize,
}

/// Sixteen positions of one head.
#[derive(Clone, Debug)]
struct Tile {
    /// Element by element, the positions' keys.
    keys: Vec<[f32; LANES]>,
    /// Position by position.
    values: Vec<f32>,
}

impl Tile {
    fn new(width: usize) -> Self {
        Self { keys: vec![[0.0; LANES]; width], values: vec![0.0; LANES * width] }
    }
}

impl Head {
    /// Nothing yet, of keys and values with so many elements each.
    pub fn new(width: usize) -> Self {
        Self { tiles: Vec::new(), width }
    }

    /// Writes the key and the value of a position, which is in the last tile or the one behind it.
    pub fn write(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let (tile, lane, width) = (position / LANES, position % LANES, self.width);
        if self.tiles.len() <= tile {
            self.tiles.push(Arc::new(Tile::new(width)));
        }
        let tile = Arc::make_mut(&mut self.tiles[tile]);
        for (lanes, element) in tile.keys.iter_mut().zip(key) {
            lanes[lane] = *element;
        }
        tile.values[lane * width..(lane + 1) * width].copy_from_slice(value);
    }

    /// Keys of sixteen positions.
    #[inline(always)]
    pub fn keys(&self, tile: usize) -> &[[f32; LANES]] {
        &self.tiles[tile].keys
    }

    /// Values of sixteen positions.
    #[inline(always)]
    pub fn values(&self, tile: usize) -> &[f32] {
        &self.tiles[tile].values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_cache_writes_another_does_not_see() {
        let mut one = Head::new(2);
        for position in 0..20 {
            one.write(position, &[position as f32, 0.5], &[0.0, position as f32]);
        }
        let mut other = one.clone();
        other.write(17, &[-1.0, -2.0], &[-3.0, -4.0]);
        assert_eq!((one.keys(1)[0][1], one.values(1)[3]), (17.0, 17.0));
        assert_eq!((other.keys(1)[0][1], other.values(1)[3]), (-1.0, -4.0));
        assert!(Arc::ptr_eq(&one.tiles[0], &other.tiles[0]), "what is the same is there once");
        assert_eq!(other.keys(1)[0][3], 19.0, "the others of the tile went along");
    }
}
