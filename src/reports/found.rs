//! Which messages are reports, and which of their parts hold one. Most mail is told apart by its
//! header alone; of the rest a few parts are looked into.

use std::io::{self, BufRead, Read, Seek, SeekFrom, Take};

use super::shelf::Report;
use super::{Broken, aggregate, tls, wrap};
use crate::mail::structure::{BodyDecoder, Inside, Mailbox, MediaType, Part, Structure, fields};
use crate::mail::{Address, Domain};

/// The local part our records name for reports. Every domain of ours has it, whatever accounts
/// there are.
pub const REPORT_ADDRESS: &str = "postmaster";

/// Parts of one message looked into.
const MOST_PARTS: usize = 4;
/// Bytes of a header looked at for fields that the structure does not keep.
const HEADER: u64 = 64 << 10;

/// What a message reports; nothing when it is an ordinary one. `length` is that of the message.
pub(super) fn look(
    message: &mut (impl Read + Seek),
    length: u64,
    is_ours: impl Fn(&Domain) -> bool,
) -> Result<Option<Report>, Broken> {
    let head = Structure::scan_head(&mut *message, length)?;
    message.seek(SeekFrom::Start(0))?;
    let mut header = Vec::new();
    let end = head.root().header.end.min(HEADER);
    message.by_ref().take(end).read_to_end(&mut header)?;
    if !is_addressed(head.root(), &header, &is_ours) {
        return Ok(None);
    }
    message.seek(SeekFrom::Start(0))?;
    let structure = Structure::scan(&mut *message)?;
    let mut last = None;
    for part in structure.parts().filter(|part| may_be_report(part)).take(MOST_PARTS) {
        match read(message, part) {
            Ok(report) => return Ok(report.about(&is_ours)),
            Err(broken) => last = Some(broken),
        }
    }
    last.map_or(Ok(None), Err)
}

/// Whether a message came to the address for reports, or says that it is one and came to any
/// address of ours: an owner may name another one in the records.
fn is_addressed(root: &Part, header: &[u8], is_ours: &impl Fn(&Domain) -> bool) -> bool {
    let Some(head) = root.head.as_deref() else { return false };
    let named = head.to.iter().chain(&head.cc).filter_map(address);
    let delivered = fields(header)
        .filter(|field| field.name.eq_ignore_ascii_case(b"Delivered-To"))
        .filter_map(|field| String::from_utf8_lossy(field.value).trim().parse().ok());
    let mut ours = named.chain(delivered).filter(|to: &Address| is_ours(to.domain())).peekable();
    let says_so = head.subject.as_deref().is_some_and(|subject| {
        let subject = subject.trim_ascii_start();
        // RFC 9990 §4, RFC 8460 §5.3.
        subject.get(..14).is_some_and(|start| start.eq_ignore_ascii_case(b"Report Domain:"))
    });
    if says_so {
        return ours.peek().is_some();
    }
    ours.any(|to| to.local().as_str().eq_ignore_ascii_case(REPORT_ADDRESS))
}

fn address(mailbox: &Mailbox) -> Option<Address> {
    let local = String::from_utf8_lossy(mailbox.mailbox.as_deref()?);
    let domain = String::from_utf8_lossy(mailbox.host.as_deref()?);
    Some(Address::new(local.parse().ok()?, domain.parse().ok()?))
}

/// By its type or its name.
fn may_be_report(part: &Part) -> bool {
    const TYPES: &[&str] = &[
        "gzip",
        "x-gzip",
        "zip",
        "x-zip",
        "x-zip-compressed",
        "xml",
        "json",
        "tlsrpt+gzip",
        "tlsrpt+json",
        "octet-stream",
    ];
    let MediaType { subtype, .. } = &part.media;
    let subtype = String::from_utf8_lossy(subtype).to_ascii_lowercase();
    let typed = part.media.is_kind("application") && TYPES.contains(&subtype.as_str())
        || part.media.is("text", "xml");
    part.inside == Inside::Leaf && typed
}

fn read(message: &mut (impl Read + Seek), part: &Part) -> Result<Report, Broken> {
    message.seek(SeekFrom::Start(part.body.start))?;
    let raw = message.by_ref().take(part.body.end.saturating_sub(part.body.start));
    unpack(PartReader::new(raw, part))
}

/// Reads a report from the bytes of a file.
pub(super) fn unpack(file: impl Read) -> Result<Report, Broken> {
    let mut text = wrap::open(file)?;
    loop {
        let first = text.fill_buf()?.first().copied();
        match first.ok_or(Broken::Ended)? {
            b'<' => return aggregate::read(text).map(Report::Dmarc),
            b'{' => return tls::read(text).map(Report::Tls),
            // White space, and the mark of UTF-8.
            b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => text.consume(1),
            _ => return Err(Broken::NotAReport),
        }
    }
}

/// The bytes of one part, its transfer encoding undone.
struct PartReader<R> {
    raw: Take<R>,
    decoder: BodyDecoder,
    chunk: Vec<u8>,
    ready: Vec<u8>,
    used: usize,
}

impl<R: Read> PartReader<R> {
    fn new(raw: Take<R>, part: &Part) -> Self {
        let decoder = BodyDecoder::new(part);
        Self { raw, decoder, chunk: vec![0; 8 << 10], ready: Vec::new(), used: 0 }
    }
}

impl<R: Read> Read for PartReader<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.used >= self.ready.len() {
            let read = self.raw.read(&mut self.chunk)?;
            if read == 0 {
                return Ok(0);
            }
            self.ready.clear();
            self.used = 0;
            self.decoder.feed(self.chunk.get(..read).unwrap_or_default(), &mut self.ready);
        }
        let mut rest = self.ready.get(self.used..).unwrap_or_default();
        let length = rest.read(to)?;
        self.used += length;
        Ok(length)
    }
}
