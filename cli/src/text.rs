//! Text from outside, a record's or a file's, on its way to a terminal or into a picture.
//!
//! A name could move a cursor, colour what follows, or show letters in another order than they have; none of that is drawn.

/// `text` on one line, and nothing in it that is not shown as what it is.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()
}

/// As [`plain`], line by line.
pub(crate) fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// [`plain`], and at most `limit` characters of it.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut characters = text.chars();
    let mut line = plain(&characters.by_ref().take(limit).collect::<String>());
    if characters.next().is_some() {
        line.push_str("...");
    }
    line
}

/// A device's name as pictures have it: software ones hold their compilers.
pub(crate) fn short(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name)
}

/// Control characters, line and paragraph separators, marks and overrides of the direction of writing.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal() {
        for (text, shown) in [
            ("llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe (LLVM 15.0.6, 256 bits)"),
            ("Größe 大きさ", "Größe 大きさ"),
            ("a\u{1b}[31mred\u{9b}0m\u{7f}", "a [31mred 0m "),
            ("two\r\nlines\ttab\0", "two  lines tab "),
            ("\u{202e}evil\u{202c} \u{2066}x\u{2069}\u{200f}\u{2028}", " evil   x   "),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
            assert_eq!(plain_lines(&format!("{text}\nend")).lines().last(), Some("end"));
        }
        assert_eq!(one_line("\u{1b}bcd", 2), " b...");
        assert_eq!(one_line("ab", 2), "ab");
    }
}
