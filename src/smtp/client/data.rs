//! Message data on the wire (RFC 5321 §4.5.2): dots doubled, every line ended by CRLF and nothing
//! else, whatever is in the message: what we send can never smuggle a second message.

/// Turns a message into what follows DATA, piece by piece.
#[derive(Debug)]
pub(super) struct DotStuffer {
    line_start: bool,
    cr: bool,
}

impl DotStuffer {
    pub(super) fn new() -> Self {
        Self { line_start: true, cr: false }
    }

    /// Adds the wire form of `bytes` to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            let after_cr = std::mem::take(&mut self.cr);
            match byte {
                b'\n' => self.end_line(out),
                // A bare CR before this byte.
                _ if after_cr => {
                    self.end_line(out);
                    self.content(*byte, out);
                }
                _ => self.content(*byte, out),
            }
        }
    }

    /// Adds the end of the data.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        if self.cr || !self.line_start {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn content(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte == b'\r' {
            self.cr = true;
            return;
        }
        if self.line_start && byte == b'.' {
            out.push(b'.');
        }
        self.line_start = false;
        out.push(byte);
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.line_start = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(message: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        let mut stuffer = DotStuffer::new();
        stuffer.push(message, &mut whole);
        stuffer.finish(&mut whole);
        for cut in 0..message.len() {
            let (a, b) = message.split_at(cut);
            let (mut parts, mut stuffer) = (Vec::new(), DotStuffer::new());
            stuffer.push(a, &mut parts);
            stuffer.push(b, &mut parts);
            stuffer.finish(&mut parts);
            assert_eq!(parts, whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn dots_are_doubled_at_line_starts_alone() {
        assert_eq!(wire(b".a\r\n..\r\nb.\r\n"), b"..a\r\n...\r\nb.\r\n.\r\n");
        assert_eq!(wire(b"no end"), b"no end\r\n.\r\n");
        assert_eq!(wire(b""), b".\r\n");
    }

    #[test]
    fn nothing_in_a_message_ends_it_early() {
        for bad in ["\n.\n", "\r.\r", "\r\n.\r", "\n.\r\n", "\r.\n", "\r\n.\r\n"] {
            let sent = wire(format!("a{bad}MAIL FROM:<x@y>\r\n").as_bytes());
            let ends: Vec<_> =
                sent.windows(5).enumerate().filter(|(_, w)| w == b"\r\n.\r\n").collect();
            assert_eq!(ends.len(), 1, "{bad:?}");
            assert!(sent.ends_with(b"\r\n.\r\n"));
            for (i, byte) in sent.iter().enumerate() {
                match byte {
                    b'\r' => assert_eq!(sent[i + 1], b'\n'),
                    b'\n' => assert_eq!(sent[i - 1], b'\r'),
                    _ => {}
                }
            }
        }
    }
}
