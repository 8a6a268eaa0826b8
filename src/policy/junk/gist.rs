//! Where the text of a message begins and ends, as it was written, tags and all. Its grams tell
//! more of who wrote it than its words do: how it greets, which program made its HTML, what its
//! footer promises.

use super::tokens::Tokens;

/// Bytes from where the text begins, and to where it ends.
const FIRST: usize = 1000;
const LAST: usize = 500;

/// The decoded text of all parts, in short.
#[derive(Debug, Default)]
pub(super) struct Gist {
    first: Vec<u8>,
    /// What came last after `first`; up to twice [`LAST`].
    last: Vec<u8>,
}

impl Gist {
    pub(super) fn feed(&mut self, text: &str) {
        for run in text.as_bytes().split(|byte| *byte == b'\r') {
            let (first, rest) = run.split_at(run.len().min(FIRST - self.first.len()));
            self.first.extend_from_slice(first);
            self.last
                .extend_from_slice(rest.get(rest.len().saturating_sub(LAST)..).unwrap_or(rest));
            if self.last.len() >= 2 * LAST {
                self.last.drain(..self.last.len() - LAST);
            }
        }
    }

    pub(super) fn finish(&self, tokens: &mut Tokens) {
        tokens.grams::<4>("text", &self.first);
        let last = self.last.len().saturating_sub(LAST);
        tokens.grams::<4>("text", self.last.get(last..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(pieces: &[&str]) -> Vec<u64> {
        let (mut gist, mut tokens) = (Gist::default(), Tokens::default());
        for piece in pieces {
            gist.feed(piece);
        }
        gist.finish(&mut tokens);
        assert!(gist.first.len() <= FIRST && gist.last.len() < 2 * LAST);
        let mut all: Vec<u64> = tokens.iter().collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn beginning_and_end_count_and_not_how_they_came() {
        let lines: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        let long = lines.join("\r\n") + "\r\n";
        let whole = tokens(&[&long]);
        let pieces: Vec<&str> = long.split_inclusive('7').collect();
        assert_eq!(tokens(&pieces), whole);
        assert_eq!(tokens(&[&long.replace('\r', "")]), whole);
        let (first, last) = ("0\n1\n2\n", "1998\n1999\n");
        for (text, counts) in [(first, true), (last, true), ("1000\n1001\n", false)] {
            let there = tokens(&[text]).iter().all(|token| whole.contains(token));
            assert_eq!(there, counts, "{text}");
        }
    }
}
