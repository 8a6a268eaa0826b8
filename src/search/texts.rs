//! The texts of a message in which SEARCH looks (RFC 3501 §6.4.4): the values of the header fields
//! of all its parts, and its text parts, decoded and in lower case. The search by reading and the
//! index take them from here, so that both see the same. HTML is looked through as it stands.

use std::io::{self, Read, Seek, SeekFrom};

use crate::mail::structure::{self, Inside, Part, Structure, TextDecoder};

/// Longest header looked at; what lies behind is not found.
pub const MAX_HEADER: u64 = 1 << 20;

/// A stretch of text, in lower case.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// A header field.
    Field {
        /// Whether it belongs to the message itself, not to a part of it.
        own: bool,
        /// Its name as written.
        name: &'a [u8],
        /// Its value.
        value: &'a str,
    },
    /// A text part begins.
    Part,
    /// A piece of the present text part; the next piece follows without a gap.
    Piece(&'a str),
}

/// Whether more of a text part is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    More,
    /// The rest of this part is not needed.
    NextPart,
}

/// Reads a message through; fails when it cannot be read.
pub fn texts(
    structure: &Structure,
    reader: &mut (impl Read + Seek),
    mut each: impl FnMut(Text<'_>) -> Wish,
) -> io::Result<()> {
    for (i, part) in structure.parts().enumerate() {
        let end = part.header.end.min(part.header.start + MAX_HEADER);
        let mut header = Vec::new();
        reader.seek(SeekFrom::Start(part.header.start))?;
        let length = end.saturating_sub(part.header.start);
        if reader.by_ref().take(length).read_to_end(&mut header)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for field in structure::fields(&header) {
            let value = field_text(field.name, field.value);
            each(Text::Field { own: i == 0, name: field.name, value: &value });
        }
        if part.inside == Inside::Leaf && part.media.is_kind("text") {
            each(Text::Part);
            body(part, reader, &mut each)?;
        }
    }
    Ok(())
}

/// What is looked through of a header field, in lower case. A search for an address looks at the
/// envelope (RFC 3501 §6.4.4), where no comment stands within it: such addresses follow the value.
pub fn field_text(name: &[u8], value: &[u8]) -> String {
    const ADDRESSES: [&str; 4] = ["from", "to", "cc", "bcc"];
    let mut text = structure::header_text(value).to_lowercase();
    let has_addresses = ADDRESSES.iter().any(|of| name.eq_ignore_ascii_case(of.as_bytes()));
    if has_addresses && text.contains('(') {
        for address in structure::people(value) {
            if let (Some(mailbox), Some(host)) = (&address.mailbox, &address.host) {
                let (mailbox, host) = (mailbox.to_ascii_lowercase(), host.to_ascii_lowercase());
                let (mailbox, host) =
                    (String::from_utf8_lossy(&mailbox), String::from_utf8_lossy(&host));
                let address = format!("{mailbox}@{host}");
                if !text.contains(&address) {
                    text.push('\n');
                    text.push_str(&address);
                }
            }
        }
    }
    text
}

fn body(
    part: &Part,
    reader: &mut (impl Read + Seek),
    each: &mut impl FnMut(Text<'_>) -> Wish,
) -> io::Result<()> {
    reader.seek(SeekFrom::Start(part.body.start))?;
    let mut raw = reader.take(part.body.end.saturating_sub(part.body.start));
    let mut decoder = TextDecoder::new(part);
    let mut buffer = vec![0; 32 << 10];
    loop {
        let length = raw.read(&mut buffer)?;
        if length == 0 {
            each(Text::Piece(&decoder.finish().to_lowercase()));
            return Ok(());
        }
        let piece = decoder.feed(buffer.get(..length).unwrap_or_default());
        if let Some(piece) = piece
            && each(Text::Piece(&piece.to_lowercase())) == Wish::NextPart
        {
            return Ok(());
        }
    }
}
