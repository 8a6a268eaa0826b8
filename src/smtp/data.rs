//! The message after DATA (RFC 5321 §4.5.2): finds its end, takes the added dots away, and knows
//! whether the sender's idea of a line end is ours. Only CRLF "." CRLF ends a message; a bare CR
//! or LF never does, and makes the message one that must be refused: another server could see an
//! end, and a second message, where we saw text ("SMTP smuggling").

/// Reads one message in pieces of any size; holds no byte of it.
#[derive(Debug)]
pub(crate) struct DataReader {
    place: Place,
    bare: bool,
    size: u64,
}

/// What one call of [`DataReader::read`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of the input that belong to the message; what follows are commands.
    pub(crate) used: usize,
    /// The end of the message was among them.
    pub(crate) ended: bool,
}

impl DataReader {
    pub(crate) fn new() -> Self {
        Self { place: Place::LineStart, bare: false, size: 0 }
    }

    /// Takes bytes from the wire and appends the message's own bytes to `out`.
    pub(crate) fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Progress {
        let before = out.len();
        let mut used = 0;
        let mut ended = false;
        while let Some(rest) = input.get(used..)
            && let Some(&byte) = rest.first()
            && !ended
        {
            if self.place == Place::Line {
                // The common case: text up to the next line end.
                let text = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                let (text, _) = rest.split_at(text.unwrap_or(rest.len()));
                if !text.is_empty() {
                    out.extend_from_slice(text);
                    used += text.len();
                    continue;
                }
            }
            used += 1;
            ended = self.step(byte, out);
        }
        self.size += (out.len() - before) as u64;
        Progress { used, ended }
    }

    /// Whether a CR stood without LF, or an LF without CR. The bytes given out are then not the
    /// message's any more.
    pub(crate) fn has_bare_line_end(&self) -> bool {
        self.bare
    }

    /// Bytes of the message so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes one byte; whether it ended the message.
    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        self.place = match (self.place, byte) {
            (Place::Cr, b'\n') => {
                out.extend_from_slice(b"\r\n");
                Place::LineStart
            }
            (Place::DotCr, b'\n') => return true,
            (Place::Cr | Place::DotCr, b'\r') | (_, b'\n') => {
                self.bare = true;
                if byte == b'\r' { Place::Cr } else { Place::Line }
            }
            (Place::Dot, b'\r') => Place::DotCr,
            (_, b'\r') => Place::Cr,
            (Place::LineStart, b'.') => Place::Dot,
            (place, byte) => {
                self.bare |= matches!(place, Place::Cr | Place::DotCr);
                out.push(byte);
                Place::Line
            }
        };
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Right after CRLF, or at the first byte.
    LineStart,
    /// In the text of a line.
    Line,
    /// After a CR.
    Cr,
    /// After a dot at the start of a line; it is not part of the message.
    Dot,
    /// After that and a CR.
    DotCr,
}

/// Reads one message in the pieces of BDAT (RFC 3030): no dots, no end to find, but the same idea of
/// a line end. The last line is completed when its end is missing, so that all inside is lines.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    place: ChunkPlace,
    bare: bool,
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkPlace {
    LineStart,
    Line,
    Cr,
}

impl ChunkReader {
    pub(crate) fn new() -> Self {
        Self { place: ChunkPlace::LineStart, bare: false, size: 0 }
    }

    /// Takes bytes from the wire and appends the message's own bytes to `out`. A CR waits for what
    /// follows it, which may come with the next piece.
    pub(crate) fn read(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut rest = input;
        while let Some((&byte, after)) = rest.split_first() {
            if self.place != ChunkPlace::Cr {
                let text = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                let (text, after) = rest.split_at(text.unwrap_or(rest.len()));
                if !text.is_empty() {
                    out.extend_from_slice(text);
                    self.place = ChunkPlace::Line;
                    rest = after;
                    continue;
                }
            }
            rest = after;
            self.place = match (self.place, byte) {
                (ChunkPlace::Cr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    ChunkPlace::LineStart
                }
                (place, b'\r') => {
                    self.bare |= place == ChunkPlace::Cr;
                    ChunkPlace::Cr
                }
                (_, byte) => {
                    self.bare = true;
                    out.push(byte);
                    ChunkPlace::Line
                }
            };
        }
        self.size += (out.len() - before) as u64;
    }

    /// There will be no more.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        match self.place {
            ChunkPlace::LineStart => return,
            ChunkPlace::Line => {}
            ChunkPlace::Cr => self.bare = true,
        }
        out.extend_from_slice(b"\r\n");
        self.size += 2;
    }

    /// Whether a CR stood without LF, or an LF without CR. The bytes given out are then not the
    /// message's any more.
    pub(crate) fn has_bare_line_end(&self) -> bool {
        self.bare
    }

    /// Bytes of the message so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `wire` in pieces; gives the message, whether it is clean, and the bytes left over.
    fn read(wire: &[u8], piece: usize) -> Option<(Vec<u8>, bool, Vec<u8>)> {
        let mut reader = DataReader::new();
        let mut out = Vec::new();
        let mut at = 0;
        for chunk in wire.chunks(piece) {
            let progress = reader.read(chunk, &mut out);
            at += progress.used;
            if progress.ended {
                assert_eq!(reader.size(), out.len() as u64);
                return Some((out, !reader.has_bare_line_end(), wire[at..].to_vec()));
            }
            assert_eq!(progress.used, chunk.len());
        }
        None
    }

    fn clean(wire: &str) -> (String, String) {
        let (message, clean, rest) = read(wire.as_bytes(), usize::MAX).unwrap_or_default();
        assert!(clean, "{wire:?}");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(&message), text(&rest))
    }

    #[test]
    fn the_end_is_found_and_added_dots_are_taken_away() {
        assert_eq!(clean(".\r\nQUIT\r\n"), (String::new(), "QUIT\r\n".into()));
        assert_eq!(clean("a\r\n.\r\n"), ("a\r\n".into(), String::new()));
        assert_eq!(clean("..\r\n.a\r\n...b\r\n.\r\n").0, ".\r\na\r\n..b\r\n");
        assert_eq!(clean("a.\r\n\r\n.\r\n").0, "a.\r\n\r\n");
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        let lines = ["\n", "\r", "\r\n", "\r\r\n", "\n\r", "\n\n", "\r\n\r", "\0\n"];
        for before in lines {
            for after in lines {
                let smuggled = format!("a{before}.{after}MAIL FROM:<x@y>\r\nb\r\n.\r\nrest");
                let (_, clean, rest) = read(smuggled.as_bytes(), 3).unwrap_or_default();
                let honest = before.ends_with("\r\n") && after.starts_with("\r\n");
                if honest {
                    assert!(rest.ends_with(b"b\r\n.\r\nrest"), "{smuggled:?}");
                } else {
                    assert!(!clean, "{smuggled:?}");
                    assert_eq!(rest, b"rest", "{smuggled:?}");
                }
            }
        }
    }

    #[test]
    fn a_bare_line_end_anywhere_is_seen() {
        for text in ["a\nb", "a\rb", "\n", "\ra", "a\r\rb", ".\n", ".\ra", ".\r\r", "a\r"] {
            let wire = format!("{text}\r\n.\r\n");
            assert_eq!(read(wire.as_bytes(), 1).map(|read| read.1), Some(false), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_message(
            wire in "[a.\r\n]{0,40}", piece in 1usize..7,
        ) {
            prop_assert_eq!(read(wire.as_bytes(), piece), read(wire.as_bytes(), usize::MAX));
        }

        #[test]
        fn what_was_sent_comes_back(lines in prop::collection::vec("[a.]{0,4}", 0..9)) {
            let (mut message, mut stuffed) = (String::new(), String::new());
            for line in lines {
                message.extend([&line, "\r\n"]);
                stuffed.extend([if line.starts_with('.') { "." } else { "" }, &line, "\r\n"]);
            }
            prop_assert_eq!(clean(&(stuffed + ".\r\n")).0, message);
        }
    }
}
