//! A message on its way to a client: lines that begin with a dot get one more, a line with a
//! single dot ends it (RFC 1939 §3), and TOP stops after some lines. Bytes go through in pieces of
//! any size.

/// One message being sent.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Lines of the body still to send; all when nothing.
    left: Option<u32>,
    part: Part,
    /// Nothing of the present line was sent.
    at_start: bool,
    /// The present line holds nothing but perhaps a CR.
    empty: bool,
    after_cr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    Body,
    /// TOP has all its lines.
    Done,
}

impl Transfer {
    /// A whole message, or its header and the first `lines` lines of its body.
    pub(super) fn new(lines: Option<u32>) -> Self {
        Self { left: lines, part: Part::Header, at_start: true, empty: true, after_cr: false }
    }

    /// Whether no more of the message is needed.
    pub(super) fn is_done(&self) -> bool {
        self.part == Part::Done
    }

    /// Puts the next bytes of the message, as they go over the wire, at the end of `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if self.is_done() {
                return;
            }
            if byte == b'\n' {
                // An LF alone cannot be sent: some clients would take it for a line end and the
                // dot behind it for the end of the message.
                if !self.after_cr {
                    out.push(b'\r');
                }
                out.push(b'\n');
                self.line_ended();
                continue;
            }
            if self.at_start && byte == b'.' {
                out.push(b'.');
            }
            out.push(byte);
            self.at_start = false;
            self.after_cr = byte == b'\r';
            self.empty &= self.after_cr;
        }
    }

    /// Ends the message.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if !self.at_start {
            out.extend_from_slice(if self.after_cr { b"\n" } else { b"\r\n" });
        }
        out.extend_from_slice(b".\r\n");
    }

    fn line_ended(&mut self) {
        match self.part {
            Part::Header if self.empty => self.part = Part::Body,
            Part::Body => self.left = self.left.map(|left| left.saturating_sub(1)),
            Part::Header | Part::Done => {}
        }
        if self.part == Part::Body && self.left == Some(0) {
            self.part = Part::Done;
        }
        (self.at_start, self.empty, self.after_cr) = (true, true, false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(message: &[u8], lines: Option<u32>, piece: usize) -> Vec<u8> {
        let (mut transfer, mut out) = (Transfer::new(lines), Vec::new());
        message.chunks(piece).for_each(|bytes| transfer.push(bytes, &mut out));
        transfer.finish(&mut out);
        out
    }

    /// What a client makes of it.
    fn received(wire: &[u8]) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        let mut rest = wire;
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n")? + 2;
            let (line, after) = rest.split_at(end);
            if line == b".\r\n" {
                return after.is_empty().then_some(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            rest = after;
        }
    }

    #[test]
    fn top_sends_the_header_the_empty_line_and_so_many_lines() {
        let message = b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n.three\r\nfour";
        for (lines, expected) in [
            (Some(0), &b"A: 1\r\nB: 2\r\n\r\n.\r\n"[..]),
            (Some(1), b"A: 1\r\nB: 2\r\n\r\none\r\n.\r\n"),
            (Some(3), b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n..three\r\n.\r\n"),
            (Some(99), b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n..three\r\nfour\r\n.\r\n"),
            (None, b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n..three\r\nfour\r\n.\r\n"),
        ] {
            for piece in 1..9 {
                assert_eq!(sent(message, lines, piece), expected, "{lines:?} by {piece}");
            }
        }
        assert_eq!(sent(b"", None, 1), b".\r\n");
        assert_eq!(sent(b"A: 1", Some(0), 9), b"A: 1\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn every_message_arrives_as_it_is(
            lines in prop::collection::vec("[.a\u{e9}\r]{0,4}", 0..20),
            piece in 1_usize..7,
        ) {
            let message: String = lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
            let wire = sent(message.as_bytes(), None, piece);
            prop_assert_eq!(received(&wire), Some(message.into_bytes()));
        }

        #[test]
        fn no_bytes_end_the_message_early(message in any::<Vec<u8>>(), piece in 1_usize..7) {
            let wire = sent(&message, None, piece);
            prop_assert!(received(&wire).is_some());
            prop_assert!(!wire.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n'));
        }
    }
}
