//! Mbox: messages one after the other in a file, each after a line that starts with `From `. Such
//! lines within a message are quoted with `>` (mboxrd), or a `Content-Length` says where it ends
//! (mboxcl2); the latter is believed only when a message ends there. What an export writes has one
//! line more on top, which tells what mbox itself cannot: the exact date and the exact bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use super::facts::Facts;
use super::text::Form;
use super::wire::PIECE;
use crate::mail::{Flags, Uid, UidValidity};

/// Bytes of a line that are looked at.
const LOOK: usize = 512;
/// Bytes of fields with flags that an export may have written.
const MAX_STATUS: usize = 64 << 10;
const FROM: &[u8] = b"From ";

/// Whether a file looks like one of these.
pub(super) fn is_mbox(path: &Path) -> io::Result<bool> {
    let mut start = [0; LOOK];
    let count = File::open(path)?.read_at(&mut start, 0)?;
    let start = start.get(..count).unwrap_or_default();
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(is_separator(line))
}

/// One message of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Where its separator starts.
    pub(super) at: u64,
    /// Where its own bytes are.
    pub(super) range: Range<u64>,
    pub(super) form: Form,
    /// The date of the separator.
    pub(super) date: Option<Timestamp>,
    /// What an export wrote on top of it.
    pub(super) mark: Option<Mark>,
    /// The flags it wrote there.
    pub(super) flags: Flags,
}

/// Finds the messages of a file, in order.
#[derive(Debug)]
pub(super) struct Scan {
    file: BufReader<File>,
    size: u64,
    at: u64,
    line: Vec<u8>,
}

/// A line of the file.
#[derive(Debug, Clone, Copy)]
struct Line {
    at: u64,
    end: u64,
    /// Nothing but a line end.
    empty: bool,
}

impl Scan {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(PIECE, file), size, at: 0, line: Vec::new() })
    }

    /// The next line, its first bytes in `self.line`.
    fn next_line(&mut self) -> io::Result<Option<Line>> {
        let at = self.at;
        self.line.clear();
        loop {
            let chunk = self.file.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(chunk.len(), |at| at + 1);
            let look = LOOK.saturating_sub(self.line.len()).min(taken);
            self.line.extend_from_slice(chunk.get(..look).unwrap_or_default());
            self.file.consume(taken);
            self.at += taken as u64;
            if newline.is_some() {
                break;
            }
        }
        let empty = matches!(self.line.as_slice(), b"\n" | b"\r\n");
        Ok((self.at > at).then_some(Line { at, end: self.at, empty }))
    }

    fn section(&mut self) -> io::Result<Option<Section>> {
        let Some(separator) = self.next_separator()? else { return Ok(None) };
        let mut found = Section {
            at: separator.at,
            range: separator.end..separator.end,
            form: Form { verbatim: false, quoted: true },
            date: separator_date(&self.line),
            mark: None,
            flags: Flags::none(),
        };
        let (mut header, mut length) = (true, None);
        // What an export writes above its mark, as long as nothing else was seen.
        let mut top = Some(Vec::new());
        let mut before: Option<Line> = None;
        loop {
            let Some(line) = self.next_line()? else {
                let end = before.filter(|line| line.empty).map_or(self.at, |line| line.at);
                return Ok(Some(found.until(end)));
            };
            let after_empty = before.is_none_or(|line| line.empty);
            if after_empty && is_separator(&self.line) {
                self.go_to(line.at)?;
                return Ok(Some(found.until(before.map_or(line.at, |before| before.at))));
            }
            before = Some(line);
            if !header {
                continue;
            }
            if line.empty {
                header = false;
                // Nobody else's length is that of what an export wrote.
                if let Some(length) = length.filter(|_| found.mark.is_none())
                    && let Some(next) = self.fits(line.end, length)?
                {
                    found.form.quoted = false;
                    self.go_to(next)?;
                    return Ok(Some(found.until(line.end + length)));
                }
                continue;
            }
            if let Some(above) = &mut top {
                if let Some(mark) = Mark::parse(&self.line) {
                    found.mark = Some(mark);
                    found.flags = Facts::read(above).flags;
                    found.range.start = line.end;
                    top = None;
                    continue;
                }
                if is_status(&self.line) && above.len() < MAX_STATUS {
                    above.extend_from_slice(&self.line);
                } else {
                    top = None;
                }
            }
            length = length.or_else(|| content_length(&self.line));
        }
    }

    fn next_separator(&mut self) -> io::Result<Option<Line>> {
        while let Some(line) = self.next_line()? {
            if is_separator(&self.line) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Where the next separator is when a body of this length ends a message.
    fn fits(&self, body: u64, length: u64) -> io::Result<Option<u64>> {
        let Some(end) = body.checked_add(length).filter(|end| *end <= self.size) else {
            return Ok(None);
        };
        let mut look = [0; 7];
        let count = self.file.get_ref().read_at(&mut look, end)?;
        let rest = look.get(..count).unwrap_or_default();
        let blank =
            if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        let after = rest.get(blank..).unwrap_or_default();
        let fits = after.starts_with(FROM) || after.is_empty() && end + blank as u64 == self.size;
        Ok(fits.then_some(end + blank as u64))
    }

    fn go_to(&mut self, place: u64) -> io::Result<()> {
        let here = i64::try_from(self.at).map_err(io::Error::other)?;
        let there = i64::try_from(place).map_err(io::Error::other)?;
        if self.file.seek_relative(there - here).is_err() {
            self.file.seek(SeekFrom::Start(place))?;
        }
        self.at = place;
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = io::Result<Section>;

    fn next(&mut self) -> Option<Self::Item> {
        self.section().transpose()
    }
}

impl Section {
    fn until(mut self, end: u64) -> Self {
        self.range.end = end.max(self.range.start);
        if let Some(mark) = self.mark {
            self.form.verbatim = !mark.unix;
            if !mark.closed {
                self.range.end = self.range.end.saturating_sub(1).max(self.range.start);
            }
        }
        self
    }
}

fn is_status(line: &[u8]) -> bool {
    let named = |name: &str| {
        let start = line.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    ["Status:", "X-Status:", "X-Keywords:"].into_iter().any(named)
}

fn content_length(line: &[u8]) -> Option<u64> {
    let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
    let value = std::str::from_utf8(value.get(1..)?).ok()?;
    name.eq_ignore_ascii_case(b"Content-Length").then(|| value.trim().parse().ok())?
}

/// A separator names a time; `From ` alone is written by some, but no sentence.
fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(FROM) else { return false };
    let time = |five: &[u8]| {
        let digit = |at: usize| five.get(at).is_some_and(u8::is_ascii_digit);
        digit(0) && digit(1) && five.get(2) == Some(&b':') && digit(3) && digit(4)
    };
    rest.trim_ascii().is_empty() || rest.windows(5).any(time)
}

/// The date of `From alice@example.org Sun Nov 22 10:00:00 2026`, in UTC unless a zone is named.
/// Thunderbird's sender `-` stands before the moment of copying, which nobody wants to know.
fn separator_date(line: &[u8]) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace().skip(1);
    if words.next()? == "-" {
        return None;
    }
    let words: Vec<&str> = words.collect();
    let month_at = words.iter().position(|word| MONTHS.contains(word))?;
    let month = MONTHS.iter().position(|month| words.get(month_at) == Some(month))?;
    let mut rest = words.iter().skip(month_at + 1);
    let day = rest.next()?.parse().ok()?;
    let clock: Vec<i8> = rest.next()?.split(':').map_while(|part| part.parse().ok()).collect();
    let (mut year, mut zone) = (None, Offset::UTC);
    for word in rest.take(2) {
        match word.split_at_checked(1) {
            Some((sign @ ("+" | "-"), digits)) => {
                let digits: i32 = digits.parse().ok()?;
                let seconds = (digits / 100 * 60 + digits % 100) * 60;
                zone = Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()?;
            }
            _ => year = year.or(word.parse::<i16>().ok()),
        }
    }
    let date = Date::new(year?, i8::try_from(month + 1).ok()?, day).ok()?;
    let second = clock.get(2).copied().unwrap_or_default().min(59);
    let time = Time::new(*clock.first()?, *clock.get(1)?, second, 0).ok()?;
    zone.to_timestamp(DateTime::from_parts(date, time)).ok()
}

/// The separator an export writes.
pub(super) fn separator(date: Timestamp) -> String {
    let date = date.to_zoned(jiff::tz::TimeZone::UTC);
    date.strftime("From MAILER-DAEMON %a %b %e %H:%M:%S %Y\n").to_string()
}

/// The last line an export writes above a message: what is above it, and it, are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) validity: UidValidity,
    pub(super) uid: Uid,
    /// Bytes of the message.
    pub(super) size: u64,
    pub(super) date: Timestamp,
    /// Lines end in LF here and in CRLF in the message.
    pub(super) unix: bool,
    /// The last line of the message has an end.
    pub(super) closed: bool,
}

const MARK: &str = "X-Pillarbox-Export: ";

impl Mark {
    /// The whole line.
    pub(super) fn line(&self) -> String {
        let lines = if self.unix { "lf" } else { "crlf" };
        let end = if self.closed { "closed" } else { "open" };
        format!(
            "{MARK}{} {} {} {} {lines} {end}\n",
            self.validity.0, self.uid.0, self.size, self.date
        )
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.strip_prefix(MARK)?.strip_suffix('\n')?;
        let mut words = text.split(' ');
        let mark = Self {
            validity: UidValidity(words.next()?.parse().ok()?),
            uid: Uid(words.next()?.parse().ok()?),
            size: words.next()?.parse().ok()?,
            date: words.next()?.parse().ok()?,
            unix: words.next()? == "lf",
            closed: words.next()? == "closed",
        };
        words.next().is_none().then_some(mark)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<(String, bool)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mbox");
        std::fs::write(&path, text).unwrap();
        let range = |range: Range<u64>| {
            text[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
                .to_owned()
        };
        Scan::open(&path)
            .unwrap()
            .map(|section| section.unwrap())
            .map(|section| (range(section.range), section.form.quoted))
            .collect()
    }

    const LINE: &str = "From a@b Sun Nov 22 10:00:00 2026\n";

    #[test]
    fn messages_end_at_separators_after_an_empty_line() {
        let text = format!(
            "{LINE}A: 1\n\nFrom here on it is text\n{LINE}x\n\n{LINE}B: 2\n\n\n\n{LINE}\n{LINE}C: 3\n"
        );
        assert_eq!(
            scan(&text),
            [
                (format!("A: 1\n\nFrom here on it is text\n{LINE}x\n"), true),
                ("B: 2\n\n\n".to_owned(), true),
                (String::new(), true),
                ("C: 3\n".to_owned(), true),
            ]
        );
        let windows = format!("{LINE}A: 1\n\nx\n\n{LINE}B: 2\n\ny").replace('\n', "\r\n");
        assert_eq!(scan(&windows)[0].0, "A: 1\r\n\r\nx\r\n");
        assert_eq!(scan(&windows)[1].0, "B: 2\r\n\r\ny");
    }

    #[test]
    fn a_length_is_believed_only_when_a_message_ends_there() {
        let body = format!("x\n\n{LINE}y\n");
        let right = format!("{LINE}Content-Length: {}\n\n{body}\n{LINE}B: 2\n\n", body.len());
        assert_eq!(scan(&right).len(), 2);
        assert!(scan(&right)[0].0.ends_with(&body) && !scan(&right)[0].1);
        let wrong = format!("{LINE}Content-Length: 3\n\n{body}\n{LINE}B: 2\n\n");
        assert_eq!(scan(&wrong).len(), 3);
        let beyond = format!("{LINE}Content-Length: 99999999999\n\nx\n\n{LINE}B: 2\n");
        assert_eq!(scan(&beyond).len(), 2);
        let last = format!("{LINE}Content-Length: 2\n\nx\n");
        assert_eq!(scan(&last), [("Content-Length: 2\n\nx\n".to_owned(), false)]);
    }

    #[test]
    fn separators_tell_the_date() {
        for (line, date) in [
            ("From a@b Sun Nov 22 10:00:00 2026\n", Some("2026-11-22T10:00:00Z")),
            ("From 12@xxx Sun Nov 22 10:00:00 +0100 2026\r\n", Some("2026-11-22T09:00:00Z")),
            ("From a@b  Sun Nov  2 10:00 2026", Some("2026-11-02T10:00:00Z")),
            ("From - Sun Nov 22 10:00:00 2026\n", None),
            ("From \n", None),
        ] {
            assert!(is_separator(line.as_bytes()), "{line}");
            let found = separator_date(line.as_bytes()).map(|date| date.to_string());
            assert_eq!(found.as_deref(), date, "{line}");
        }
        assert!(!is_separator(b"From the start, it was 10 o'clock\n"));
        let date: Timestamp = "2026-11-02T10:00:09Z".parse().unwrap();
        assert_eq!(separator_date(separator(date).as_bytes()), Some(date));
    }
}
