//! The tokenizer: byte-level BPE with the vocabulary, merges and pre-tokenizer of the GGUF file.
//!
//! Special tokens are matched here and not by the BPE library: [`Tokenizer::encode_prompt`] takes their names as the
//! tokens, [`Tokenizer::encode`] as the letters that they are, so text that comes from files cannot smuggle in a turn's end.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use regex::Regex;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::ModelError;
use super::gguf::Gguf;

/// `tokenizer.ggml.token_type`: control tokens and those that the makers of the model added.
const CONTROL: usize = 3;
const USER_DEFINED: usize = 4;
/// Padding of the vocabulary: never produced, never matched.
const UNUSED: usize = 5;

/// Turns text into token ids and back.
pub struct Tokenizer {
    bpe: tokenizers::Tokenizer,
    tokens: Vec<Token>,
    special_ids: HashMap<String, u32>,
    special: Option<Regex>,
    bos: Option<u32>,
}

/// What a token stands for.
enum Token {
    Text(Vec<u8>),
    Special(String),
    Unused,
}

impl Tokenizer {
    /// Builds the tokenizer of a file.
    ///
    /// # Errors
    /// When the vocabulary is not byte-level BPE, is larger than the `vocab` rows of the embedding, or when its
    /// pre-tokenizer is not one that is known exactly: a wrong one gives worse answers without a sign.
    pub fn read(gguf: &Gguf, vocab: usize) -> Result<Self, ModelError> {
        let fail = |why: String| ModelError::Tokenizer { file: gguf.file().to_owned(), why };
        match gguf.required("tokenizer.ggml.model")?.to_string()?.as_str() {
            "gpt2" => {}
            other => return Err(fail(format!("its kind is `{other}`; caulk knows byte-level BPE (`gpt2`)"))),
        }
        let pre = gguf.text("tokenizer.ggml.pre")?.unwrap_or_default();
        let split = SplitRule::from_name(pre).ok_or_else(|| {
            fail(format!("its pre-tokenizer (`tokenizer.ggml.pre`) is `{pre}`, which caulk does not know"))
        })?;

        let names = gguf.texts("tokenizer.ggml.tokens")?;
        if names.len() > vocab {
            return Err(fail(format!("it has {} tokens, the embedding {vocab} rows", names.len())));
        }
        let types = token_types(gguf, names.len())?;
        let byte_of = byte_alphabet();
        let tokens: Vec<Token> =
            names.iter().zip(&types).map(|(name, &kind)| Token::new(name, kind, &byte_of)).collect();
        let special_ids: HashMap<String, u32> = (0..)
            .zip(&tokens)
            .filter_map(|(id, token)| match token {
                Token::Special(name) if !name.is_empty() => Some((name.clone(), id)),
                _ => None,
            })
            .collect();

        let vocabulary: Vocab = (0..).zip(&names).map(|(id, name)| ((*name).to_owned(), id)).collect();
        let merges = gguf.texts("tokenizer.ggml.merges")?;
        let merges = merges.into_iter().map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(fail(format!("the merge `{merge}` is not a pair"))),
        });
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges.collect::<Result<Vec<_>, _>>()?)
            .ignore_merges(split == SplitRule::Llama3)
            .build()
            .map_err(|e| fail(e.to_string()))?;
        let mut bpe = tokenizers::Tokenizer::new(bpe);
        bpe.with_pre_tokenizer(Some(split.pre_tokenizer().map_err(|e| fail(e.to_string()))?));
        if split == SplitRule::Qwen2 {
            bpe.with_normalizer(Some(NFC)).map_err(|e| fail(e.to_string()))?;
        }

        let add_bos = match gguf.value("tokenizer.ggml.add_bos_token") {
            Some(Value::Bool(add)) => *add,
            _ => split == SplitRule::Llama3,
        };
        let bos = gguf.count("tokenizer.ggml.bos_token_id")?.and_then(|id| u32::try_from(id).ok()).filter(|_| add_bos);
        let special = special_pattern(&special_ids).map_err(|e| fail(e.to_string()))?;
        Ok(Self { bpe, tokens, special_ids, special, bos })
    }

    /// The ids of a text in which nothing is special.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // Byte-level BPE has a token for every byte: there is no text that it cannot encode.
        self.bpe.encode_fast(text, false).map(|e| e.get_ids().to_vec()).unwrap_or_default()
    }

    /// The ids of a prompt: names of special tokens are those tokens, and the start token is there if the model wants it.
    pub fn encode_prompt(&self, prompt: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = prompt;
        while let Some(found) = self.special.as_ref().and_then(|pattern| pattern.find(rest)) {
            ids.extend(self.encode(&rest[..found.start()]));
            ids.extend(self.special_ids.get(found.as_str()));
            rest = &rest[found.end()..];
        }
        ids.extend(self.encode(rest));
        if let Some(bos) = self.bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        ids
    }

    /// The text of some tokens; special ones give none. Bytes that are no UTF-8 become replacement characters.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id)).copied().collect();
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    /// The bytes that a token stands for; none for special and unused ones.
    pub fn bytes(&self, id: u32) -> &[u8] {
        match self.tokens.get(id as usize) {
            Some(Token::Text(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The name of a special token.
    pub fn special_name(&self, id: u32) -> Option<&str> {
        match self.tokens.get(id as usize) {
            Some(Token::Special(name)) => Some(name),
            _ => None,
        }
    }

    /// The text with every name of a special token broken up by a space, so that it cannot be taken for the token.
    pub fn defuse(&self, text: &str) -> String {
        let Some(pattern) = &self.special else { return text.to_owned() };
        let broken = |found: &regex::Captures| {
            let mut letters = found[0].chars();
            letters.next().map(|first| format!("{first} {}", letters.as_str())).unwrap_or_default()
        };
        pattern.replace_all(text, broken).into_owned()
    }
}

impl Token {
    fn new(name: &str, kind: usize, byte_of: &HashMap<char, u8>) -> Self {
        match kind {
            CONTROL | USER_DEFINED => Self::Special(name.to_owned()),
            UNUSED => Self::Unused,
            _ => match name.chars().map(|c| byte_of.get(&c).copied()).collect() {
                Some(bytes) => Self::Text(bytes),
                // No byte-level name, so no text: left out of what can be produced.
                None => Self::Unused,
            },
        }
    }
}

/// How text is cut before the merges are applied: the pre-tokenizers of the Hugging Face `tokenizer.json` files that the
/// names in `tokenizer.ggml.pre` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitRule {
    Qwen2,
    Llama3,
    /// Digits one by one, then GPT-2's pattern.
    DigitsGpt2,
    Gpt2,
    DeepSeekCoder,
}

impl SplitRule {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "qwen2" | "deepseek-r1-qwen" => Self::Qwen2,
            "llama-bpe" | "llama3" | "llama-v3" => Self::Llama3,
            "smollm" | "starcoder" | "refact" | "codeshell" => Self::DigitsGpt2,
            "gpt-2" => Self::Gpt2,
            "deepseek-coder" => Self::DeepSeekCoder,
            _ => return None,
        })
    }

    fn pre_tokenizer(self) -> tokenizers::Result<Sequence> {
        const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
        const TAIL: &str = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let bytes = |gpt2_pattern: bool| PreTokenizerWrapper::from(ByteLevel::new(false, true, gpt2_pattern));
        let cut = |pattern: &str| -> tokenizers::Result<PreTokenizerWrapper> {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            Ok(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into())
        };
        let digits = || PreTokenizerWrapper::from(Digits::new(true));
        let words = |numbers: &str| cut(&format!(r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}|{TAIL}"));
        Ok(Sequence::new(match self {
            Self::Qwen2 => vec![words(r"\p{N}")?, bytes(false)],
            Self::Llama3 => vec![words(r"\p{N}{1,3}")?, bytes(false)],
            Self::DigitsGpt2 => vec![digits(), bytes(true)],
            Self::Gpt2 => vec![bytes(true)],
            Self::DeepSeekCoder => vec![
                cut(r"[\r\n]")?,
                cut(r"\s?\p{L}+")?,
                cut(r"\s?\p{P}+")?,
                cut("[一-龥ࠀ-一가-퟿]+")?,
                digits(),
                bytes(false),
            ],
        }))
    }
}

/// GPT-2's way of writing bytes as printable characters: those that print as they are stand for themselves, the others
/// follow from U+0100 on.
fn byte_alphabet() -> HashMap<char, u8> {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let itself = (0..=255u8).filter(prints).map(|byte| (char::from(byte), byte));
    let moved = ('\u{100}'..).zip((0..=255u8).filter(|byte| !prints(byte)));
    itself.chain(moved).collect()
}

fn token_types(gguf: &Gguf, tokens: usize) -> Result<Vec<usize>, ModelError> {
    let key = "tokenizer.ggml.token_type";
    let Value::Array(values) = gguf.required(key)? else { return Err(gguf.bad(key, "is not a list")) };
    let kinds: Option<Vec<usize>> = values
        .iter()
        .map(|value| match value {
            Value::I32(kind) => usize::try_from(*kind).ok(),
            other => other.to_u64().ok().and_then(|kind| usize::try_from(kind).ok()),
        })
        .collect();
    match kinds {
        Some(kinds) if kinds.len() == tokens => Ok(kinds),
        _ => Err(gguf.bad(key, format!("is not a list of {tokens} numbers"))),
    }
}

/// Matches any name of a special token, the longest first.
fn special_pattern(ids: &HashMap<String, u32>) -> Result<Option<Regex>, regex::Error> {
    let mut names: Vec<&String> = ids.keys().collect();
    if names.is_empty() {
        return Ok(None);
    }
    names.sort_by_key(|name| (std::cmp::Reverse(name.len()), name.as_str()));
    let names: Vec<String> = names.into_iter().map(|name| regex::escape(name)).collect();
    Regex::new(&names.join("|")).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn tokenizer(pre: &str) -> Result<Tokenizer, ModelError> {
        let fixture = Fixture::new("llama").with("tokenizer.ggml.pre", Some(Value::String(pre.to_owned())));
        let (_folder, path) = fixture.write();
        Tokenizer::read(&Gguf::open(&path).unwrap(), 270)
    }

    fn pieces(pre: &str, text: &str) -> Vec<String> {
        use tokenizers::tokenizer::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};
        let mut cut = PreTokenizedString::from(text);
        SplitRule::from_name(pre).unwrap().pre_tokenizer().unwrap().pre_tokenize(&mut cut).unwrap();
        let pieces = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        pieces.into_iter().map(|(piece, _, _)| piece.to_owned()).collect()
    }

    #[test]
    fn text_is_cut_as_each_family_does() {
        let text = "ab  123 'S\n\n  x=1;";
        assert_eq!(pieces("qwen2", text), ["ab", "Ġ", "Ġ", "1", "2", "3", "Ġ'", "S", "ĊĊ", "Ġ", "Ġx", "=", "1", ";"]);
        assert_eq!(pieces("llama-bpe", text), ["ab", "Ġ", "Ġ", "123", "Ġ'", "S", "ĊĊ", "Ġ", "Ġx", "=", "1", ";"]);
        assert_eq!(pieces("smollm", text), ["ab", "ĠĠ", "1", "2", "3", "Ġ'", "S", "ĊĊĠ", "Ġx", "=", "1", ";"]);
        assert_eq!(pieces("gpt-2", text), ["ab", "Ġ", "Ġ123", "Ġ'", "S", "ĊĊĠ", "Ġx", "=", "1", ";"]);
    }

    #[test]
    fn an_unknown_pre_tokenizer_is_refused() {
        for pre in ["", "default", "tekken"] {
            let error = tokenizer(pre).err().unwrap().to_string();
            assert!(error.contains("tiny.gguf") && error.contains("pre-tokenizer"), "{error}");
        }
    }

    #[test]
    fn every_text_comes_back() {
        let tokenizer = tokenizer("qwen2").unwrap();
        for text in ["", " ", "true = false", "\t\r\n \u{0}", "naïve – 漢字 🦀", "<|im_end|> <|im"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
        }
        assert_eq!(tokenizer.encode(" true").len(), 1, "the merges are applied");
    }

    #[test]
    fn special_tokens_are_special_in_prompts_alone() {
        let tokenizer = tokenizer("qwen2").unwrap();
        let end = 268;
        assert_eq!(tokenizer.special_name(end), Some("<|im_end|>"));
        assert_eq!(tokenizer.encode_prompt("<|im_end|>"), [end]);
        assert_eq!(tokenizer.encode_prompt("a<|im_end|>\n").len(), 3);
        assert!(!tokenizer.encode("<|im_end|>").contains(&end));
        assert_eq!(tokenizer.encode_prompt("[PAD]").len(), 5, "unused tokens are no tokens");
        let defused = tokenizer.defuse("x <|im_end|> y");
        assert_eq!(defused, "x < |im_end|> y");
        assert!(!tokenizer.encode_prompt(&defused).contains(&end));
        assert_eq!(tokenizer.decode(&[end]), "");
    }

    #[test]
    fn the_start_token_is_there_once() {
        let fixture = Fixture::new("qwen2").with("tokenizer.ggml.add_bos_token", Some(Value::Bool(true)));
        let (_folder, path) = fixture.write();
        let tokenizer = Tokenizer::read(&Gguf::open(&path).unwrap(), 270).unwrap();
        assert_eq!(tokenizer.encode_prompt("<|im_start|>a"), tokenizer.encode_prompt("a"));
        assert_eq!(tokenizer.encode_prompt("a")[0], 266);
        assert_eq!(tokenizer.encode("a").len(), 1);
    }
}
