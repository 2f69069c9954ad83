//! Which rules of the scanner that says what it wants are about the same thing as a finding of one that does not.
//!
//! In: all wishes, and a finding with its message and resolution. Out: the likest wishes about the same resource type. Whether
//! doing as they say closes the finding, only its own scanner can tell; it is asked, as of every answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;

use super::{Wish, names_of};

/// Letters by which words are the same: `encrypted` and `encryption`.
const STEM: usize = 5;
/// Wishes, at most.
const MOST: usize = 3;
/// Words that say nothing of what a rule is about.
const EMPTY: [&str; 24] = [
    "all", "and", "are", "avoid", "be", "check", "does", "each", "enable", "ensure", "for", "from", "has", "have",
    "into", "not", "set", "should", "that", "the", "their", "use", "used", "with",
];

/// The wishes that are likest to what a finding of another scanner is about, the likest first: by the words that they share,
/// where rare ones among the type's wishes count for more (Spärck Jones, "A statistical interpretation of term specificity",
/// 1972).
pub fn kin<'a>(wishes: &'a BTreeMap<String, Wish>, finding: &Finding, ty: &str) -> Vec<&'a Wish> {
    let about: Vec<(&Wish, BTreeSet<String>)> = wishes
        .values()
        .filter(|wish| wish.resource_types.iter().any(|of| of == ty))
        .map(|wish| (wish, words_of(wish, ty)))
        .collect();
    let mut common = BTreeMap::<&str, usize>::new();
    about.iter().flat_map(|(_, words)| words).for_each(|word| *common.entry(word.as_str()).or_default() += 1);
    let told = words(&format!("{} {}", finding.message, finding.hints.resolution.as_deref().unwrap_or_default()));
    let weight =
        |word: &String| (1.0 + about.len() as f64 / common.get(word.as_str()).copied().unwrap_or(1) as f64).ln();
    let mut scored: Vec<(f64, &Wish)> = about
        .iter()
        .map(|(wish, words)| (words.intersection(&told).map(weight).sum::<f64>(), *wish))
        .filter(|(score, _)| *score > 0.0)
        .collect();
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    // What shares half as much is about something else.
    let least = scored.first().map_or(0.0, |(best, _)| best / 2.0);
    scored.into_iter().take_while(|(score, _)| *score > least).map(|(_, wish)| wish).take(MOST).collect()
}

fn words_of(wish: &Wish, ty: &str) -> BTreeSet<String> {
    let key = wish.key_for(ty).map(names_of).unwrap_or_default().join(" ");
    words(&format!("{} {key}", wish.title))
}

/// The beginnings of the words of a text.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let telling = words.filter(|word| word.len() > 1 && !EMPTY.contains(word));
    telling.map(|word| word.chars().take(STEM).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Location, Tool};
    use crate::source::RelPath;

    fn likest(message: &str, resolution: &str) -> Vec<String> {
        let wish = |rule: &str, ty: &str, title: &str, key: &str| {
            let (rule, title) = (rule.to_owned(), title.to_owned());
            let wish =
                Wish { resource_types: vec![ty.into()], inspected_key: Some(key.into()), title, ..Wish::default() };
            (rule.clone(), Wish { rule, ..wish })
        };
        let wishes = [
            wish("A", "bucket", "Ensure the bucket is encrypted with a customer key", "encryption/[0]/key"),
            wish("B", "bucket", "Ensure the bucket has access logging enabled", "logging"),
            wish(
                "C",
                "bucket",
                "Ensure all data stored in the bucket has versioning enabled",
                "versioning/[0]/enabled",
            ),
            wish("D", "queue", "Ensure the queue is encrypted", "kms_key"),
        ];
        let location = Location { file: RelPath::new("main.tf").unwrap(), start_line: 1, end_line: 2 };
        let mut finding = Finding::new(Tool::Trivy, "X", message.to_owned(), location, None);
        finding.hints.resolution = Some(resolution.to_owned());
        kin(&wishes.into(), &finding, "bucket").iter().map(|wish| wish.rule.clone()).collect()
    }

    #[test]
    fn what_shares_rare_words_is_likest() {
        assert_eq!(likest("Bucket should use encryption keys", "Enable encryption using a key of the customer"), ["A"]);
        assert_eq!(likest("Data should be versioned", "Enable versioning")[0], "C");
        assert_eq!(likest("Bucket has logging disabled", "Add a logging block")[0], "B");
        assert!(likest("Something else", "Do it").is_empty());
    }
}
