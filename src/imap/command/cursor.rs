//! The elements of the grammar (RFC 3501 §9): atoms, strings, numbers, mailbox names, dates. A
//! command arrives here whole, literals in place.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use super::{Names, Reason};
use crate::mail::utf7;
use crate::mail::{Flag, Flags, MailboxName};

/// What is left of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    names: Names,
}

pub(super) type Parsed<T> = Result<T, Reason>;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], names: Names) -> Self {
        Self { rest: bytes, names }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes this byte if it comes next.
    pub(super) fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.take(1);
        }
        found
    }

    pub(super) fn expect(&mut self, byte: u8, message: &'static str) -> Parsed<()> {
        if self.skip(byte) { Ok(()) } else { Err(Reason::Syntax(message)) }
    }

    /// The blank between two elements; several are forgiven.
    pub(super) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "an argument is missing")?;
        while self.skip(b' ') {}
        Ok(())
    }

    /// The end of the command; blanks before it are forgiven.
    pub(super) fn end(mut self) -> Parsed<()> {
        while self.skip(b' ') {}
        if self.is_empty() { Ok(()) } else { Err(Reason::Syntax("too many arguments")) }
    }

    /// Takes a word if it comes next, whatever its case.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found =
            self.rest.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word.as_bytes()));
        if found {
            self.take(word.len());
        }
        found
    }

    pub(super) fn atom(&mut self) -> Parsed<&'a str> {
        self.chars(is_atom, "a word is missing")
    }

    /// A tag: an astring without plus sign.
    pub(super) fn tag(&mut self) -> Parsed<&'a str> {
        let word = self.chars(|b| b != b'+' && (is_atom(b) || b == b']'), "a tag is missing")?;
        if word.len() <= 64 { Ok(word) } else { Err(Reason::Tag) }
    }

    /// An atom or a string.
    pub(super) fn astring(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.chars(|b| is_atom(b) || b == b']', "a text is missing").map(Into::into),
        }
    }

    /// A string: quoted or literal. Bytes beyond ASCII are forgiven in both; they are UTF-8 where a
    /// text is meant.
    pub(super) fn string(&mut self) -> Parsed<Vec<u8>> {
        if self.skip(b'{') {
            return self.literal();
        }
        self.expect(b'"', "a quoted text is missing")?;
        let mut text = Vec::new();
        loop {
            match self.take(1).first() {
                Some(b'"') => return Ok(text),
                Some(b'\\') => match self.take(1).first() {
                    Some(escaped @ (b'"' | b'\\')) => text.push(*escaped),
                    _ => return Err(Reason::Syntax("only \\\" and \\\\ may be escaped")),
                },
                Some(0) => return Err(Reason::Syntax("a text has a zero byte")),
                Some(byte) => text.push(*byte),
                None => return Err(Reason::Syntax("a quoted text has no end")),
            }
        }
    }

    pub(super) fn nstring(&mut self) -> Parsed<Option<Vec<u8>>> {
        if self.word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    pub(super) fn text(&mut self) -> Parsed<String> {
        String::from_utf8(self.astring()?).map_err(|_| Reason::Utf8)
    }

    pub(super) fn number(&mut self) -> Parsed<u32> {
        let digits = self.chars(|b| b.is_ascii_digit(), "a number is missing")?;
        digits.parse().map_err(|_| Reason::Syntax("a number is too large"))
    }

    /// A number of bytes.
    pub(super) fn size(&mut self) -> Parsed<u64> {
        let digits = self.chars(|b| b.is_ascii_digit(), "a number is missing")?;
        digits.parse().map_err(|_| Reason::Syntax("a number is too large"))
    }

    /// A mailbox name, out of modified UTF-7.
    pub(super) fn mailbox(&mut self) -> Parsed<MailboxName> {
        let name = self.mailbox_text()?;
        name.parse().map_err(Reason::Name)
    }

    /// A mailbox name that may end in the separator: a client tells that it will make children.
    pub(super) fn new_mailbox(&mut self) -> Parsed<MailboxName> {
        let name = self.mailbox_text()?;
        let name = name.strip_suffix(MailboxName::SEPARATOR).unwrap_or(&name);
        name.parse().map_err(Reason::Name)
    }

    pub(super) fn mailbox_text(&mut self) -> Parsed<String> {
        let raw = self.astring()?;
        self.name(raw)
    }

    fn name(&self, raw: Vec<u8>) -> Parsed<String> {
        match self.names {
            // What is no text at all would be taken for another name.
            Names::Utf7 if std::str::from_utf8(&raw).is_err() => Err(Reason::Utf8),
            Names::Utf7 => Ok(utf7::decode(&raw)),
            Names::Utf8 => String::from_utf8(raw).map_err(|_| Reason::Utf8),
        }
    }

    /// A pattern of LIST: a name with wildcards.
    pub(super) fn pattern(&mut self) -> Parsed<String> {
        let raw = match self.peek() {
            Some(b'"' | b'{') => self.string()?,
            _ => self
                .chars(|b| is_atom(b) || b"]%*".contains(&b), "a mailbox pattern is missing")?
                .into(),
        };
        self.name(raw)
    }

    /// Elements between parentheses, at least `least`.
    pub(super) fn list<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(b'(', "a list in parentheses is missing")?;
        let mut all = Vec::new();
        while !self.skip(b')') {
            if !all.is_empty() {
                self.space()?;
            }
            all.push(element(self)?);
        }
        if all.len() < least { Err(Reason::Syntax("the list is empty")) } else { Ok(all) }
    }

    /// One flag; nothing for `\Recent`, which nobody may set.
    pub(super) fn flag(&mut self) -> Parsed<Option<Flag>> {
        let backslash = if self.skip(b'\\') { "\\" } else { "" };
        let word = self.atom()?;
        if !backslash.is_empty() && word.eq_ignore_ascii_case("Recent") {
            return Ok(None);
        }
        format!("{backslash}{word}").parse().map(Some).map_err(Reason::Flag)
    }

    pub(super) fn flags(&mut self) -> Parsed<Flags> {
        Ok(self.list(0, Self::flag)?.into_iter().flatten().collect())
    }

    /// `1-Feb-2026`, with or without quotes.
    pub(super) fn date(&mut self) -> Parsed<Date> {
        let quoted = self.skip(b'"');
        let date = self.day_month_year()?;
        if quoted {
            self.expect(b'"', "a date has no end")?;
        }
        Ok(date)
    }

    /// `"17-Jul-1996 02:44:25 -0700"`, the day padded with a blank.
    pub(super) fn date_time(&mut self) -> Parsed<Timestamp> {
        const BAD: Reason = Reason::Syntax("not a date and time");
        self.expect(b'"', "a date and time are missing")?;
        self.skip(b' ');
        let date = self.day_month_year()?;
        self.space()?;
        let mut clock = [0; 3];
        for (i, field) in clock.iter_mut().enumerate() {
            if i > 0 {
                self.expect(b':', "not a time")?;
            }
            *field = i8::try_from(self.number()?).map_err(|_| BAD)?;
        }
        let [hour, minute, second] = clock;
        if second > 60 {
            return Err(BAD);
        }
        self.space()?;
        let east = !self.skip(b'-');
        if east {
            self.expect(b'+', "not a time zone")?;
        }
        let zone = i32::try_from(self.number()?).map_err(|_| BAD)?;
        let seconds = (zone / 100 * 60 + zone % 100) * 60;
        self.expect(b'"', "a date has no end")?;
        let time = Time::new(hour, minute, second.min(59), 0).map_err(|_| BAD)?;
        Offset::from_seconds(if east { seconds } else { -seconds })
            .and_then(|offset| offset.to_timestamp(DateTime::from_parts(date, time)))
            .map_err(|_| BAD)
    }

    fn day_month_year(&mut self) -> Parsed<Date> {
        const BAD: Reason = Reason::Syntax("not a date");
        let day = i8::try_from(self.number()?).map_err(|_| BAD)?;
        self.expect(b'-', "not a date")?;
        let name = self.take(3).to_ascii_lowercase();
        let month = MONTHS.iter().position(|m| m.as_bytes() == name).ok_or(BAD)?;
        self.expect(b'-', "not a date")?;
        let year = i16::try_from(self.number()?).map_err(|_| BAD)?;
        let month = i8::try_from(month + 1).map_err(|_| BAD)?;
        Date::new(year, month, day).map_err(|_| BAD)
    }

    /// A text or bytes, or nothing: `nstring` or `literal8` (RFC 5464 §5 `value`).
    pub(super) fn value(&mut self) -> Parsed<Option<Vec<u8>>> {
        if self.skip(b'~') {
            self.expect(b'{', "a literal is missing")?;
            return self.bytes().map(|bytes| Some(bytes.into()));
        }
        self.nstring()
    }

    /// What follows the opening brace of a literal.
    fn literal(&mut self) -> Parsed<Vec<u8>> {
        let text = self.bytes()?;
        if text.contains(&0) {
            Err(Reason::Syntax("a text has a zero byte"))
        } else {
            Ok(text.into())
        }
    }

    fn bytes(&mut self) -> Parsed<&'a [u8]> {
        let size = usize::try_from(self.number()?).map_err(|_| Reason::Syntax("too large"))?;
        self.skip(b'+');
        if !self.word("}\r\n") || self.rest.len() < size {
            return Err(Reason::Syntax("not a literal"));
        }
        Ok(self.take(size))
    }

    fn chars(&mut self, good: impl Fn(u8) -> bool, missing: &'static str) -> Parsed<&'a str> {
        let end = self.rest.iter().position(|b| !good(*b)).unwrap_or(self.rest.len());
        match std::str::from_utf8(self.take(end)) {
            Ok("") | Err(_) => Err(Reason::Syntax(missing)),
            Ok(word) => Ok(word),
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

/// `ATOM-CHAR`.
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}
