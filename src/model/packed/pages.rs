//! Room for a model's weights, in large pages where the system has them.
//!
//! An answer reads all weights once for each token. With pages of 4 KiB, each would ask for a place in the tables of pages
//! every 64 cache lines; with those of 2 MiB (Linux, `Documentation/admin-guide/mm/transhuge.rst`) a core reads from memory
//! about one and a half times as fast. So that no page is left half empty, all matrices lie in one piece.

use std::alloc::{Layout, alloc, dealloc};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// A large page, bytes.
const PAGE: usize = 2 << 20;

/// One piece of memory, from which arrays are taken one after the other.
pub struct Pages {
    at: NonNull<u8>,
    layout: Layout,
    taken: AtomicUsize,
}

// SAFETY: what is taken belongs to who took it alone; the rest is a counter.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Room for so many bytes. None of it is used until it is written to.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] when there is no such room.
    pub(in crate::model) fn new(bytes: usize) -> io::Result<Arc<Self>> {
        let no_room = || {
            let why = format!("there is no room in memory for {} MiB of weights", bytes >> 20);
            io::Error::new(io::ErrorKind::OutOfMemory, why)
        };
        let size = bytes.max(1).checked_next_multiple_of(PAGE).ok_or_else(no_room)?;
        let layout = Layout::from_size_align(size, PAGE).map_err(|_| no_room())?;
        // SAFETY: the size is not 0.
        let at = NonNull::new(unsafe { alloc(layout) }).ok_or_else(no_room)?;
        ask_for_large(at, layout.size());
        Ok(Arc::new(Self { at, layout, taken: AtomicUsize::new(0) }))
    }

    /// Room for the matrices of a file of so many bytes: packed, they take up to an eighth more, as groups of rows begin at cache
    /// lines.
    ///
    /// # Errors
    /// As of [`Pages::new`].
    pub fn for_file(bytes: usize) -> io::Result<Arc<Self>> {
        Self::new(bytes.saturating_add(bytes / 8))
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// An array of so many items, in room of its own where there is none left here. It is made on all threads, piece by piece:
    /// `read` gets the number of a piece's first item and brings the bytes that `make` makes its items of, by their place in it.
    ///
    /// # Errors
    /// One of those of `read`, or that there is no room.
    pub(in crate::model) fn array<T: Copy + Send>(
        self: &Arc<Self>,
        len: usize,
        piece: usize,
        read: impl Fn(usize, &mut Vec<u8>) -> io::Result<()> + Sync,
        make: impl Fn(&[u8], usize) -> T + Sync,
    ) -> io::Result<Array<T>> {
        // Whole cache lines: no two arrays share one.
        let bytes = len.checked_mul(size_of::<T>()).expect("a size in memory").next_multiple_of(64);
        assert!(align_of::<T>() <= 64, "items that a cache line can hold apart");
        let behind = |taken: usize| taken.checked_add(bytes).filter(|end| *end <= self.layout.size());
        let Ok(first) = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, behind) else {
            return Self::new(bytes)?.array(len, piece, read, make);
        };
        // SAFETY: the bytes behind `first` are inside of the room, as was just seen, and no other call gets them.
        let start = unsafe { self.at.add(first).cast::<T>() };
        // SAFETY: they have room for that many items, are aligned for them, and nobody else writes to them.
        let room = unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast::<std::mem::MaybeUninit<T>>(), len) };
        room.par_chunks_mut(piece).enumerate().try_for_each_init(Vec::new, |bytes, (number, items)| {
            read(number * piece, bytes)?;
            items.iter_mut().enumerate().for_each(|(at, item)| {
                item.write(make(bytes, at));
            });
            io::Result::Ok(())
        })?;
        Ok(Array { start, len, _room: self.clone() })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and no array is left: each holds the room.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// Asks for large pages; what the system makes of it is its own.
#[cfg(target_os = "linux")]
fn ask_for_large(at: NonNull<u8>, bytes: usize) {
    // SAFETY: the range was just allocated, and the advice changes nothing that it holds.
    let _ = unsafe { rustix::mm::madvise(at.as_ptr().cast(), bytes, rustix::mm::Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large(_: NonNull<u8>, _: usize) {}

/// An array in [`Pages`].
pub(in crate::model) struct Array<T> {
    start: NonNull<T>,
    len: usize,
    /// It lives as long as what lies in it.
    _room: Arc<Pages>,
}

// SAFETY: it is the only owner of its items.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: shared, it gives out nothing but shared references.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: all items were written before the array was given out.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array of numbers by their place, made in pieces of seven.
    fn counted<T: Copy + Send>(pages: &Arc<Pages>, len: usize, make: impl Fn(usize) -> T + Sync) -> Array<T> {
        let read = |first: usize, bytes: &mut Vec<u8>| {
            bytes.clear();
            bytes.extend(first.to_le_bytes());
            Ok(())
        };
        let first = |bytes: &[u8]| usize::from_le_bytes(*bytes.first_chunk().unwrap());
        pages.array(len, 7, read, |bytes, at| make(first(bytes) + at)).unwrap()
    }

    #[test]
    fn arrays_hold_what_was_made_and_share_no_line() {
        let pages = Pages::new(3 * PAGE - 7).unwrap();
        let bytes = counted(&pages, 100, |index| index as u8);
        let words = counted(&pages, 5000, |index| index as u64 * 3);
        assert!(bytes.iter().enumerate().all(|(index, byte)| *byte == index as u8));
        assert!(words.len() == 5000 && words.iter().enumerate().all(|(index, word)| *word == index as u64 * 3));
        assert_eq!((bytes.as_ptr() as usize % PAGE, words.as_ptr() as usize % PAGE), (0, 128));
        // The room outlives who made it, and what does not fit gets room of its own.
        let more = counted(&pages, PAGE, |index| index as u32);
        assert_eq!(pages.taken(), 128 + 5000 * 8);
        drop(pages);
        assert!(more[PAGE - 1] == (PAGE - 1) as u32 && words[4999] == 14997);
        assert!(counted(&Pages::new(0).unwrap(), 0, |_| 0u8).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let read = |first: usize, _: &mut Vec<u8>| if first < 20 { Ok(()) } else { Err(io::Error::other("gone")) };
        let array = Pages::new(0).unwrap().array(30, 10, read, |_, at| at);
        assert_eq!(array.err().map(|error| error.to_string()), Some("gone".to_owned()));
    }

    #[test]
    fn more_than_there_is_room_for_is_an_error() {
        // More than a process has addresses for; more than a size can be.
        for bytes in [1 << 47, usize::MAX] {
            let error = Pages::for_file(bytes).err().expect("no machine has as much");
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        }
    }
}
