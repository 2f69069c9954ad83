//! Items in any order, each as often as it may and must, as a rule with a parameter.
//!
//! In: how each item is written and how often it may and must stand. Out: the rule. Its parameter has 64 bits (llguidance's
//! parametric grammars): each item that may stand once has a bit that is set when it is written, items that may stand a few
//! times have a counter, and the rule can end when what is required is there.

use std::fmt::Write;

/// What may stand in a body.
pub(super) struct Piece {
    /// The name of the attribute or block.
    pub name: String,
    /// How it is written.
    pub text: String,
    /// How often it may stand.
    pub times: Times,
    /// How often it must.
    pub least: u32,
    /// Its other form, by position: only one of the two may stand in a body.
    pub instead_of: Option<usize>,
}

impl Piece {
    pub(super) fn new(name: &str, text: String, times: Times) -> Self {
        Self { name: name.to_owned(), text, times, least: 0, instead_of: None }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Times {
    Once,
    AtMost(u32),
    Any,
}

/// How a body can begin.
pub(super) enum Start {
    /// It may hold nothing at all.
    Anything,
    /// It holds something.
    Something,
    /// It begins with one of these pieces, by position, written so.
    With(Vec<(usize, String)>),
}

/// The rule of that name for pieces in any order, and how it is called.
pub(super) fn permutation(rule: &str, pieces: &[Piece], start: Start) -> (String, String) {
    let mut rules = String::new();
    let places = Place::all(pieces);
    let ends: Vec<String> =
        pieces.iter().zip(&places).filter_map(|(piece, place)| place.reached(piece.least)).collect();
    // A rule that keeps account of nothing must not have a parameter.
    let counts = places.iter().any(|place| !matches!(place, Place::Nowhere));
    let call = |parameter: String| if counts { format!("{rule}::{parameter}") } else { rule.to_owned() };
    let _ = writeln!(rules, "{rule}{}: \"\"{}", if counts { "::_" } else { "" }, condition(&ends));
    let mut first = Vec::new();
    for (index, (piece, place)) in pieces.iter().zip(&places).enumerate() {
        let others = (0..pieces.len())
            .filter(|&other| piece.instead_of == Some(other) || pieces[other].instead_of == Some(index));
        let conditions: Vec<String> =
            place.free(piece.times).into_iter().chain(others.filter_map(|other| places[other].unused())).collect();
        let _ = writeln!(rules, "  | {} {}{}", piece.text, call(place.next()), condition(&conditions));
        first.push(format!("{} {}", piece.text, call(place.after_first())));
    }
    match start {
        Start::Anything => return (rules, call("0x0".into())),
        Start::Something => {}
        Start::With(links) => {
            first = links.iter().map(|(at, text)| format!("{text} {}", call(places[*at].after_first()))).collect();
        }
    }
    let _ = writeln!(rules, "{rule}s: {}", first.join("\n  | "));
    (rules, format!("{rule}s"))
}

/// Where a piece is kept account of in the parameter.
#[derive(Clone, Copy)]
enum Place {
    Bit(u32),
    /// From a bit, up to another one.
    Counter(u32, u32),
    Nowhere,
}

impl Place {
    /// The places of pieces. What is required or counted comes first, so that it has bits of its own.
    fn all(pieces: &[Piece]) -> Vec<Self> {
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&index| Self::width(&pieces[index]) < 2 && pieces[index].least == 0);
        let mut bits = Bits::default();
        let mut places = vec![Self::Nowhere; pieces.len()];
        for index in order {
            places[index] = match Self::width(&pieces[index]) {
                0 => Self::Nowhere,
                1 => Self::Bit(bits.take(1)),
                width => {
                    let from = bits.take(width);
                    Self::Counter(from, from + width)
                }
            };
        }
        places
    }

    /// Bits that a piece needs.
    fn width(piece: &Piece) -> u32 {
        match piece.times {
            Times::Once => 1,
            Times::AtMost(most) if most < 16 => u32::BITS - most.leading_zeros(),
            // How often does not matter, but that it was written does.
            Times::AtMost(_) | Times::Any => u32::from(piece.least > 0 || piece.instead_of.is_some()),
        }
    }

    /// When a piece may stand.
    fn free(self, times: Times) -> Option<String> {
        match (self, times) {
            (Self::Bit(bit), Times::Once) => Some(format!("bit_clear({bit})")),
            (Self::Counter(from, to), Times::AtMost(most)) => Some(format!("lt([{from}:{to}], {most})")),
            _ => None,
        }
    }

    /// When it was not written.
    fn unused(self) -> Option<String> {
        match self {
            Self::Bit(bit) => Some(format!("bit_clear({bit})")),
            Self::Counter(from, to) => Some(format!("is_zeros([{from}:{to}])")),
            Self::Nowhere => None,
        }
    }

    /// When it was written that often; `None` for always.
    fn reached(self, least: u32) -> Option<String> {
        match self {
            _ if least == 0 => None,
            Self::Bit(bit) => Some(format!("bit_set({bit})")),
            Self::Counter(from, to) => Some(format!("ge([{from}:{to}], {least})")),
            Self::Nowhere => None,
        }
    }

    fn next(self) -> String {
        match self {
            Self::Bit(bit) => format!("set_bit({bit})"),
            Self::Counter(from, to) => format!("incr([{from}:{to}])"),
            Self::Nowhere => "_".into(),
        }
    }

    /// The parameter when it was written once and nothing else was.
    fn after_first(self) -> String {
        match self {
            Self::Bit(bit) | Self::Counter(bit, _) => format!("0x{:x}", 1u64 << bit),
            Self::Nowhere => "0x0".into(),
        }
    }
}

/// Gives out the bits of a parameter.
#[derive(Default)]
struct Bits {
    next: u32,
    shared: u32,
}

impl Bits {
    const ALL: u32 = 64;
    /// From here on bits are shared once all are given out: of the pieces that share one, only one can stand.
    const SHARED: u32 = 48;

    fn take(&mut self, width: u32) -> u32 {
        if self.next + width <= Self::ALL {
            self.next += width;
            return self.next - width;
        }
        self.shared += 1;
        Self::SHARED + self.shared % (Self::ALL - Self::SHARED)
    }
}

/// Several conditions as one.
fn condition(all: &[String]) -> String {
    let joined = all.iter().cloned().reduce(|one, other| format!("and({one}, {other})"));
    joined.map(|all| format!(" %if {all}")).unwrap_or_default()
}
