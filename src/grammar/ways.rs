//! The languages of answers that are held to one of the ways to satisfy the rule: the override then holds what the rule says of
//! the target and nothing that could be left out, the blocks that the rule asks for follow it, and one of the two names the
//! other.
//!
//! In: the language of all answers, and the answers so far. Out: the narrower languages, and which way an answer went.

use std::sync::Arc;

use crate::rules::{Must, Wanted, Way};
use crate::source::BlockAddr;

use super::stage::{Context, Held, Links, fit_all, maybe, opening, stage};
use super::{Asked, Going, Grammar, GrammarError, hcl};

impl Grammar {
    /// The languages of answers that go one way each, the likeliest first; where the rule leaves one value for one attribute,
    /// that is one sentence.
    pub fn ways(&self) -> Vec<Grammar> {
        let ways = || self.context.ways.iter().enumerate();
        let loose =
            ways().filter(|(_, way)| !way.companions.is_empty()).map(|(index, _)| self.way(index, Asked::Loosely));
        ways().map(|(index, _)| self.way(index, Asked::Narrowly)).chain(loose).collect()
    }

    /// How many ways running the rule has found.
    pub fn found(&self) -> usize {
        self.context.found.len()
    }

    /// The language of answers that go a way which running the rule has found, but for those ways that these answers went;
    /// `None` when none is left. Those that leave values open come last. Where one way is left that leaves one value, that is
    /// one sentence.
    ///
    /// # Errors
    /// When a way's language does not compile.
    pub fn one_of_found(&self, but: &[&str]) -> Result<Option<Grammar>, GrammarError> {
        let mut left = Vec::new();
        for way in &self.context.found {
            let alone = self.to_one_of(&[way]);
            let mut gone = false;
            for answer in but {
                gone |= alone.accepts(answer)?;
            }
            if !gone {
                left.push(way);
            }
        }
        if left.iter().any(|way| !way.is_beside) {
            left.retain(|way| !way.is_beside);
        }
        // What is known is better than what has to be found.
        let is_known = |way: &&Way| !way.target.iter().any(|wanted| wanted.must.is_open());
        if left.iter().any(is_known) {
            left.retain(is_known);
        }
        Ok((!left.is_empty()).then(|| self.to_one_of(&left)))
    }

    /// The language of answers that go the way that an answer went and do more with the block that they change; `None` where
    /// it is not known which way that was, or where the block cannot be so.
    ///
    /// # Errors
    /// When a way's language does not compile.
    pub fn with_more(&self, answer: &str, more: &[Wanted]) -> Result<Option<Grammar>, GrammarError> {
        let Some((index, way)) = self.gone(answer)? else { return Ok(None) };
        let fit = self.context.schema_or_supposed(&self.context.target).and_then(|schema| fit_all(more, &schema));
        let Some(more) = fit else { return Ok(None) };
        let mut way = way.clone();
        let before = way.target.clone();
        more.into_iter().for_each(|wanted| wanted.join(&mut way.target));
        if way.target == before {
            return Ok(None);
        }
        let mut context = Context::clone(&self.context);
        match index {
            Some(index) => context.ways[index] = way,
            None => context.found = vec![way],
        }
        let general = Grammar { context: Arc::new(context), ..self.clone() };
        Ok(Some(match index {
            Some(index) => general.way(index, Asked::Narrowly),
            None => general.to_one_of(&general.context.found.iter().collect::<Vec<_>>()),
        }))
    }

    /// The language of answers that do what an answer did with the block that it changed, and what else they like; `None`
    /// where it is not known which way that was, or where that is more than a change of the block.
    ///
    /// # Errors
    /// When a way's language does not compile.
    pub fn once_more(&self, answer: &str) -> Result<Option<Grammar>, GrammarError> {
        let Some((_, way)) = self.gone(answer)?.filter(|(_, way)| way.companions.is_empty()) else { return Ok(None) };
        let held = Held::AtLeast(&way.target);
        let target = &self.context.target;
        let header = hcl::quote(&format!("{}\n", opening(target)));
        let lark = stage(&self.context, &self.context.names, target, &held, |body, after| {
            format!("start: {header} {body} \"}}\"{}\n", maybe(after.any, "added"))
        });
        Ok(Some(Grammar { lark, context: self.context.clone(), held: Going::Freely }))
    }

    /// The paths of what the way that an answer went leaves to whoever writes it; none where it is not known which way that was.
    ///
    /// # Errors
    /// When a way's language does not compile.
    pub fn left_open(&self, answer: &str) -> Result<Vec<String>, GrammarError> {
        let wanted = self.gone(answer)?.map(|(_, way)| way.target.as_slice()).unwrap_or_default();
        Ok(wanted.iter().filter(|wanted| wanted.must.is_open()).map(|wanted| wanted.path.join(".")).collect())
    }

    /// The way that an answer went, with its position among the rule's own.
    fn gone(&self, answer: &str) -> Result<Option<(Option<usize>, &Way)>, GrammarError> {
        let mut gone = None;
        for way in &self.context.found {
            if self.to_one_of(&[way]).accepts(answer)? {
                gone = Some((None, way));
            }
        }
        for (index, way) in self.context.ways.iter().enumerate() {
            for asked in [Asked::Narrowly, Asked::Loosely] {
                if gone.is_none() && self.way(index, asked).accepts(answer)? {
                    gone = Some((Some(index), way));
                }
            }
        }
        Ok(gone)
    }

    fn to_one_of(&self, ways: &[&Way]) -> Grammar {
        let (context, target) = (&self.context, &self.context.target);
        let header = hcl::quote(&format!("{}\n", opening(target)));
        let targets: Vec<&[Wanted]> = ways.iter().map(|way| way.target.as_slice()).collect();
        // What a value names follows; nothing else needs to stand beside it.
        let held = Held::ToOneOf(&targets);
        let lark = stage(context, &context.names, target, &held, |body, _| format!("start: {header} {body} \"}}\"\n"));
        Grammar { lark, context: context.clone(), held: Going::AsFound }
    }

    /// The path inside of the target that leads to a new block, where none of its own attributes does.
    fn leads_inside(&self, to: &BlockAddr) -> Option<Vec<String>> {
        self.context.leading_from_inside(&self.context.target, to).into_iter().next()
    }

    fn way(&self, index: usize, asked: Asked) -> Grammar {
        let (context, target, names) = (&self.context, &self.context.target, &self.context.names);
        let way = &context.ways[index];
        let header = hcl::quote(&format!("{}\n", opening(target)));
        let of_target = way.companions.first().filter(|companion| companion.to.is_none());
        let companion = of_target.and_then(|companion| context.new_blocks().name_for(names, &companion.ty));
        // Where its attributes lead to the target, the companion makes the connection, else the target.
        let leads = |addr: &BlockAddr| {
            !context.leading(addr, target).is_empty() || !context.leading_from_inside(addr, target).is_empty()
        };
        let led_to = companion.filter(|addr| !leads(addr));
        let lark = match led_to {
            None if way.target.is_empty() => format!("start: {header} \"}}\"\n"),
            Some(addr) if let (true, Some(path)) = (way.target.is_empty(), self.leads_inside(&addr)) => {
                let wanted = [Wanted::new(path, Must::Exist)];
                let held = Held::Narrowly(&wanted, Links { to: vec![addr], ..Links::default() });
                stage(context, names, target, &held, |body, _| format!("start: {header} {body} \"}}\"\n"))
            }
            Some(addr) if way.target.is_empty() => {
                let from = context.leading(target, &addr);
                let or_bare = if from.is_empty() { format!("\n  | {header} \"}}\"") } else { String::new() };
                stage(
                    context,
                    names,
                    target,
                    &Held::ToLinks(Links { to: vec![addr], from, inside: None }),
                    |body, _| format!("start: {header} {body} \"}}\"{or_bare}\n"),
                )
            }
            led_to => {
                let links = Links { to: led_to.into_iter().collect(), ..Links::default() };
                let held = Held::Narrowly(&way.target, links);
                stage(context, names, target, &held, |body, _| format!("start: {header} {body} \"}}\"\n"))
            }
        };
        Grammar { lark, context: context.clone(), held: Going::Way(index, asked) }
    }
}
