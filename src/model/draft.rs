//! Drafts: tokens that an answer may go on with, guessed so that one forward pass can check several of them.
//!
//! In: the tokens so far, prompt and answer. Out: what stood behind the last place where the same few tokens stood before
//! (inference with reference, <https://arxiv.org/abs/2304.04487>): answers repeat the block, the worked examples and answers
//! that were refused. A draft costs a wider pass; each of its tokens is chosen as if it were not there, and the pass's output
//! behind the first wrong guess is dropped. With the CPU's own kernels, which sum alike however many tokens a pass has, the
//! answer is the same with and without; elsewhere sums may be rounded otherwise.

/// Tokens that must have stood before, longest first.
const MATCHED: [usize; 2] = [4, 2];
/// Tokens of a draft, at most.
const LONGEST: usize = 12;

/// Guesses, and learns how far it may go.
#[derive(Clone, Debug)]
pub struct Drafter {
    reach: usize,
    /// Passes to let go by without a draft.
    rest: usize,
}

impl Drafter {
    /// A drafter at the start of an answer.
    pub fn new() -> Self {
        Self { reach: 4, rest: 0 }
    }

    /// A draft of what follows `tokens`; empty where nothing like their end stood before.
    pub fn draft<'t>(&mut self, tokens: &'t [u32]) -> &'t [u32] {
        if self.rest > 0 {
            self.rest -= 1;
            return &[];
        }
        let guess = MATCHED.iter().find_map(|&n| behind_last(tokens, n)).unwrap_or_default();
        &guess[..guess.len().min(self.reach)]
    }

    /// Takes note of how many tokens of a draft were right.
    pub fn learn(&mut self, drafted: usize, right: usize) {
        match right {
            _ if drafted == 0 => {}
            0 => {
                self.reach = (self.reach / 2).max(1);
                self.rest = if self.reach == 1 { 2 } else { 0 };
            }
            all if all == drafted => self.reach = (self.reach * 2).min(LONGEST),
            _ => {}
        }
    }
}

/// What stands behind the last place where the last `n` tokens stood before.
fn behind_last(tokens: &[u32], n: usize) -> Option<&[u32]> {
    let (before, last) = tokens.split_at_checked(tokens.len().checked_sub(n)?)?;
    // The match may reach into the end itself, as in a run of the same tokens.
    let at = (0..before.len()).rev().find(|&at| tokens[at..].starts_with(last))?;
    Some(&tokens[at + n..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_last_time_is_guessed() {
        let mut drafter = Drafter::new();
        assert_eq!(drafter.draft(&[1, 2, 7, 8, 1, 2, 3, 4, 5, 9, 1, 2]), [3, 4, 5, 9]);
        assert_eq!(drafter.draft(&[1, 2, 3, 4, 9, 3, 4, 8, 1, 2, 3, 4]), [9, 3, 4, 8], "the longer match counts");
        assert_eq!(drafter.draft(&[1, 1, 1, 1]), [1], "a run goes on");
        assert!(drafter.draft(&[1, 2, 3, 4]).is_empty());
        assert!(drafter.draft(&[1]).is_empty() && drafter.draft(&[]).is_empty());
    }

    #[test]
    fn the_reach_follows_what_comes_true() {
        let long: Vec<u32> = (0..40).chain([0, 1]).collect();
        let mut drafter = Drafter::new();
        drafter.learn(4, 4);
        assert_eq!(drafter.draft(&long).len(), 8);
        drafter.learn(8, 8);
        drafter.learn(12, 12);
        assert_eq!(drafter.draft(&long).len(), LONGEST);
        drafter.learn(12, 5);
        assert_eq!(drafter.draft(&long).len(), LONGEST);
        for _ in 0..4 {
            drafter.learn(3, 0);
        }
        assert_eq!([drafter.draft(&long).len(), drafter.draft(&long).len(), drafter.draft(&long).len()], [0, 0, 1]);
    }
}
