//! Text for narrow screens: cleaned of control characters, wrapped at words, cut with a mark.

/// The text as rows of at most `width` characters. Words longer than a row are broken; control
/// characters (an escape sequence in a host name, say) become spaces.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            rows.push(std::mem::take(&mut row));
            used = 0;
        }
        if used > 0 {
            row.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used == width {
                // The row is all this word; a host name is best broken behind a dot.
                let rest = row.rfind('.').map(|dot| row.split_off(dot + 1)).unwrap_or_default();
                rows.push(std::mem::replace(&mut row, rest));
                used = row.chars().count();
            }
            row.push(c);
            used += 1;
        }
    }
    if used > 0 {
        rows.push(row);
    }
    rows
}

/// The first `height` rows, the last ending in `...` if more would follow.
pub(crate) fn fit(mut rows: Vec<String>, width: usize, height: usize) -> Vec<String> {
    if rows.len() > height {
        rows.truncate(height);
        if let Some(last) = rows.last_mut() {
            let kept: String = last.chars().take(width.saturating_sub(3)).collect();
            *last = format!("{}...", kept.trim_end());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_words_and_breaks_long_ones() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a abcdefghij", 4), ["a", "abcd", "efgh", "ij"]);
        assert_eq!(wrap("abcdefgh", 4), ["abcd", "efgh"]);
        assert_eq!(wrap("mail.vogelsang.example", 21), ["mail.vogelsang.", "example"]);
        assert_eq!(wrap("abc.defgh", 4), ["abc.", "defg", "h"]);
        assert_eq!(wrap("  ", 4), Vec::<String>::new());
        assert_eq!(wrap("ü".repeat(5).as_str(), 3), ["üüü", "üü"]);
    }

    #[test]
    fn escape_sequences_do_not_pass() {
        assert_eq!(wrap("a\u{1b}[2Jb\r\nc\u{9b}d", 20), ["a [2Jb c d"]);
    }

    #[test]
    fn a_cut_shows() {
        let rows = || vec!["first".to_string(), "second".into(), "third".into()];
        assert_eq!(fit(rows(), 6, 2), ["first", "sec..."]);
        assert_eq!(fit(rows(), 6, 3), rows());
        assert_eq!(fit(rows(), 20, 2), ["first", "second..."]);
    }
}
