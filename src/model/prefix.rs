//! What all prompts begin with, as the network has read it, kept on disk from one run to the next: to read it takes seconds.
//!
//! In: a session and the tokens of that beginning. Out: the session with these tokens in its cache. A file is for one model,
//! one beginning and one kind of CPU; their hash is its name and stands in it, its last bytes are the hash of all before them.
//!
//! ```text
//! FORMAT | name | keys and values, layer by layer, head by head, tile by tile, f32, lowest byte first | SHA-256
//! ```

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::Session;
use super::network::Cache;
use super::{lanes, packed};
use crate::digest::hex;

/// What a file begins with. Another number stands for another layout, or for kernels whose sums come out otherwise.
const FORMAT: &[u8] = b"caulk prefix 2\n";
/// Bytes of the files that are kept; the latest is, however many it has.
const KEPT: u64 = 1 << 30;
/// From this age on a file that was not finished is one that a killed run left.
const LEFT: Duration = Duration::from_secs(24 * 3600);
/// How the files end.
const ENDING: &str = "prefix";

/// A folder of beginnings.
#[derive(Clone, Debug)]
pub struct Prefixes {
    dir: PathBuf,
    /// SHA-256 of the model's file.
    model: String,
}

impl Prefixes {
    /// A folder, which need not be there yet, for a model by the SHA-256 of its file.
    pub fn new(dir: PathBuf, model: String) -> Self {
        Self { dir, model }
    }

    /// Puts the tokens into the session's cache: from the folder where they are in it, else by running them, and then they are
    /// put into the folder. Where it cannot be written the next run runs them again.
    ///
    /// # Errors
    /// When the tokens cannot be run.
    pub fn begin(&self, session: &mut Session<'_>, tokens: &[u32]) -> Result<(), super::ModelError> {
        let (name, path) = (self.name(tokens), self.path(tokens));
        if let Ok(cache) = read(&path, &name, session, tokens.len()) {
            session.begin(cache, tokens);
            // Which ones are used tells which ones are kept.
            drop(File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now())));
            return Ok(());
        }
        session.prefill_tokens(tokens)?;
        if session.is_packed() {
            // It is only a matter of time.
            drop(self.keep(&path, &name, session, tokens.len()));
        }
        Ok(())
    }

    /// Whether there is a file for these tokens.
    pub(super) fn holds(&self, tokens: &[u32]) -> bool {
        self.path(tokens).is_file()
    }

    fn path(&self, tokens: &[u32]) -> PathBuf {
        self.dir.join(format!("{}.{ENDING}", self.name(tokens)))
    }

    fn name(&self, tokens: &[u32]) -> String {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(self.model.as_bytes());
        // Kernels of other instructions may sum in another order.
        hash.update(env!("CARGO_PKG_VERSION").as_bytes());
        hash.update(lanes::instructions().as_bytes());
        hash.update(packed::instructions().as_bytes());
        tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
        hex(&hash.finalize())
    }

    fn keep(&self, path: &Path, name: &str, session: &Session<'_>, positions: usize) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        {
            let mut out = Hashed { inner: BufWriter::new(file.as_file_mut()), hash: Sha256::new() };
            out.write_all(FORMAT)?;
            out.write_all(name.as_bytes())?;
            session.write_to(positions, &mut out)?;
            let Hashed { mut inner, hash } = out;
            inner.write_all(&hash.finalize())?;
            inner.flush()?;
        }
        file.persist(path)?;
        self.tidy()
    }

    /// Takes out those that were not used for longest, and what killed runs left.
    fn tidy(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            let changed = metadata.modified()?;
            if path.extension().is_some_and(|ending| ending == ENDING) {
                files.push((changed, metadata.len(), path));
            } else if changed.elapsed().is_ok_and(|age| age > LEFT) {
                std::fs::remove_file(path)?;
            }
        }
        files.sort();
        let mut kept = 0;
        for (index, (_, size, path)) in files.iter().rev().enumerate() {
            kept += size;
            if index > 0 && kept > KEPT {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path, name: &str, session: &Session<'_>, positions: usize) -> io::Result<Cache> {
    let mut from = Hashed { inner: BufReader::with_capacity(1 << 20, File::open(path)?), hash: Sha256::new() };
    let mut head = vec![0; FORMAT.len() + name.len()];
    from.read_exact(&mut head)?;
    if head != [FORMAT, name.as_bytes()].concat() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let cache = session.read_cache(positions, &mut from)?;
    let Hashed { inner, hash } = from;
    let mut told = Vec::new();
    // One byte more than there should be is enough to see that there are too many.
    inner.take(33).read_to_end(&mut told)?;
    match told == hash.finalize().as_slice() {
        true => Ok(cache),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A reader or writer that hashes what goes through it.
struct Hashed<T> {
    inner: T,
    hash: Sha256,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hash.update(&bytes[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::fixture::written;
    use super::super::{Model, Prompt, Request, Sampling};
    use super::*;

    fn files(dir: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_was_kept_is_as_if_it_had_been_run() {
        let (_folder, path) = written("qwen2");
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let prefixes = Prefixes::new(dir.path().join("new"), "a model".to_owned());
        let tokens = model.tokens("what all prompts begin with");
        let answer = |session: &mut Session<'_>| {
            let sampling = Sampling::Seeded { seed: 3, temperature: 30.0, top_p: 0.98 };
            let prompt = Prompt::Text("what all prompts begin with, and more");
            let request = Request { prompt, grammar: "start: /[a-z ]{9,40}/", sampling, max_tokens: 60 };
            session.generate(&request).unwrap()
        };
        let mut first = model.session();
        prefixes.begin(&mut first, &tokens).unwrap();
        let kept = files(&dir.path().join("new"));
        assert_eq!(kept.len(), 1);
        let mut second = model.session();
        prefixes.begin(&mut second, &tokens).unwrap();
        let (first, second) = (answer(&mut first), answer(&mut second));
        assert_eq!((first.text, first.stats.cached_tokens), (second.text, second.stats.cached_tokens));
        assert_eq!(second.stats.cached_tokens, tokens.len());

        // What is damaged, or another's, is not taken.
        let (bytes, name) = (std::fs::read(&kept[0]).unwrap(), prefixes.name(&tokens));
        let taken = |bytes: &[u8]| {
            std::fs::write(&kept[0], bytes).unwrap();
            read(&kept[0], &name, &model.session(), tokens.len()).is_ok()
        };
        assert!(taken(&bytes));
        for (at, what) in
            [(0, "the format"), (20, "the name"), (bytes.len() / 2, "a number"), (bytes.len() - 1, "the hash")]
        {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(!taken(&damaged), "{what}");
        }
        assert!(!taken(&bytes[..bytes.len() - 40]), "cut off");
        assert!(!taken(&[&bytes[..], &[0]].concat()), "longer");
        prefixes.begin(&mut model.session(), &tokens).unwrap();
        assert_eq!(std::fs::read(&kept[0]).unwrap(), bytes, "it is written anew");
        let another = Prefixes { model: "another".to_owned(), ..prefixes };
        another.begin(&mut model.session(), &tokens).unwrap();
        assert_eq!(files(&dir.path().join("new")).len(), 2);
        // Under another's name it is still its own.
        std::fs::copy(another.path(&tokens), &kept[0]).unwrap();
        assert!(read(&kept[0], &name, &model.session(), tokens.len()).is_err());
    }

    #[test]
    fn the_oldest_go_and_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let prefixes = Prefixes::new(dir.path().to_owned(), String::new());
        let file = |name: &str, bytes: u64, age: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_len(bytes).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        file("a.prefix", KEPT / 2, 300);
        file("b.prefix", KEPT / 2, 200);
        file("c.prefix", KEPT / 4, 100);
        file(".tmpold", 1, 2 * 24 * 3600);
        file(".tmpnew", 1, 60);
        let left = || {
            prefixes.tidy().unwrap();
            let mut names: Vec<String> =
                files(dir.path()).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(left(), [".tmpnew", "b.prefix", "c.prefix"]);
        file("d.prefix", 2 * KEPT, 0);
        assert_eq!(left(), [".tmpnew", "d.prefix"], "the latest stays, whatever its size");
    }
}
