//! Byte ranges as SARIF regions.

use std::ops::Range;

use serde_sarif::sarif::Region;

/// The region of a byte range, with lines and columns (from 1, the end exclusive) and with bytes. A range that does not
/// fit the text gets bytes only.
pub(super) fn of(text: &str, range: &Range<usize>) -> Region {
    let int = |n: usize| i64::try_from(n).ok();
    let mut region = Region { byte_offset: int(range.start), byte_length: int(range.len()), ..Region::default() };
    if let (Some(start), Some(end)) = (position(text, range.start), position(text, range.end)) {
        region.start_line = int(start.0);
        region.start_column = int(start.1);
        region.end_line = int(end.0);
        region.end_column = int(end.1);
    }
    region
}

/// Line and column in code points, both from 1. A byte order mark takes no column.
fn position(text: &str, at: usize) -> Option<(usize, usize)> {
    let before = text.get(..at)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].trim_start_matches('\u{feff}').chars().count() + 1;
    Some((line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_code_points_and_not_the_mark() {
        let text = "\u{feff}ä = 1\r\nbü = 2\r\n";
        assert_eq!(position(text, 0), Some((1, 1)));
        assert_eq!(position(text, 3), Some((1, 1)));
        assert_eq!(position(text, text.find("1").unwrap()), Some((1, 5)));
        assert_eq!(position(text, text.find("2").unwrap()), Some((2, 6)));
        assert_eq!(position(text, text.len()), Some((3, 1)));
        assert_eq!(position(text, 4), None, "within a character");
        assert_eq!(position(text, 99), None);
    }

    #[test]
    fn an_insertion_has_no_length() {
        let region = of("a\nb\n", &(2..2));
        assert_eq!((region.byte_offset, region.byte_length), (Some(2), Some(0)));
        assert_eq!((region.start_line, region.start_column, region.end_column), (Some(2), Some(1), Some(1)));
    }
}
