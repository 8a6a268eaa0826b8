//! Commands by the grammar of RFC 3501 §9 and its extensions, in every spelling it allows: case,
//! atoms or quoted strings or literals, options there or not. The same seed gives the same.

use super::elements::MONTHS;

/// A generated command.
pub(super) struct Generated {
    /// With its last CRLF, literals in place.
    pub(super) bytes: Vec<u8>,
    /// What has to be found again in the parsed command: texts and numbers it cannot do without.
    pub(super) leaves: Vec<String>,
}

/// A source of commands.
pub(super) struct Generator {
    pub(super) state: u64,
    pub(super) out: Vec<u8>,
    pub(super) leaves: Vec<String>,
}

const FLAGS: &[&str] =
    &["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "Work", "a.b"];
const STATUS: &[&str] =
    &["MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE", "HIGHESTMODSEQ"];

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D1CE_4E5B;
        Self { state, out: Vec::new(), leaves: Vec::new() }
    }

    /// The next command that is well-formed.
    pub(super) fn command(&mut self) -> Generated {
        self.raw("t ");
        self.body();
        self.raw("\r\n");
        Generated { bytes: std::mem::take(&mut self.out), leaves: std::mem::take(&mut self.leaves) }
    }

    /// A command with one byte changed, left out, doubled or put in, or cut short.
    pub(super) fn broken(&mut self) -> Vec<u8> {
        const ODD: &[u8] = b" ()[]{}<>*%\"\\:;,.+-~$&0129azAZ\0\t\x7f\xc3\xbc\r\n";
        let mut bytes = self.command().bytes;
        bytes.truncate(bytes.len() - 2);
        let at = 2 + self.below(bytes.len() - 2);
        let odd = ODD[self.below(ODD.len())];
        match self.below(5) {
            0 => bytes[at] = odd,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, bytes[at]),
            3 => bytes.insert(at, odd),
            _ => bytes.truncate(at),
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    fn body(&mut self) {
        match self.below(34) {
            0 => {
                let plain = ["CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "CHECK", "CLOSE"];
                self.one_of(&plain);
            }
            1 => self.one_of(&["UNSELECT", "EXPUNGE", "IDLE", "NAMESPACE", "COMPRESS DEFLATE"]),
            2 => {
                self.word("LOGIN ");
                self.text();
                self.raw(" ");
                self.string("secret", false);
            }
            3 => {
                self.word("AUTHENTICATE ");
                self.one_of(&["PLAIN", "SCRAM-SHA-256", "X-OTHER"]);
                self.option(&[" =", " AGEAYg==", " dGVzdA=="]);
            }
            4 | 5 => self.select(),
            6 => {
                self.one_of(&["CREATE ", "DELETE ", "SUBSCRIBE ", "UNSUBSCRIBE "]);
                self.mailbox();
            }
            7 => {
                self.word("RENAME ");
                self.mailbox();
                self.raw(" ");
                self.mailbox();
            }
            8 => self.list(),
            9 | 10 => {
                self.word("STATUS ");
                self.mailbox();
                self.raw(" ");
                self.listed(STATUS);
            }
            11 => {
                self.word("ENABLE ");
                self.several(" ", |s| {
                    s.one_of(&["CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "X-THING"]);
                });
            }
            12 => self.id(),
            13..=16 => self.fetch(),
            17 | 18 => self.store(),
            19 => {
                self.numbered(&["COPY ", "MOVE "]);
                self.set();
                self.raw(" ");
                self.mailbox();
            }
            20 => {
                self.word("UID EXPUNGE ");
                self.set();
            }
            21..=25 => {
                self.numbered(&["SEARCH "]);
                self.option(&["CHARSET UTF-8 ", "CHARSET \"US-ASCII\" "]);
                self.keys();
            }
            26 => {
                self.numbered(&["SORT "]);
                self.raw("(");
                self.several(" ", |s| {
                    s.option(&["REVERSE "]);
                    s.one_of(&["ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO"]);
                });
                self.raw(") UTF-8 ");
                self.keys();
            }
            27 => {
                self.numbered(&["THREAD "]);
                self.one_of(&["ORDEREDSUBJECT ", "REFERENCES "]);
                self.one_of(&["US-ASCII ", "UTF-8 "]);
                self.keys();
            }
            28 => self.quota(),
            29 | 30 => self.metadata(),
            _ => self.append(),
        }
    }

    fn select(&mut self) {
        self.one_of(&["SELECT ", "EXAMINE "]);
        self.mailbox();
        match self.below(4) {
            0 => self.word(" (CONDSTORE)"),
            1 => {
                self.word(" (QRESYNC (");
                self.number(1);
                self.raw(" ");
                self.number(1);
                let known = !self.once_in(3);
                if known {
                    self.raw(" ");
                    self.plain_set();
                }
                if known && self.once_in(2) {
                    self.raw(" (");
                    self.plain_set();
                    self.raw(" ");
                    self.plain_set();
                    self.raw(")");
                }
                self.raw("))");
            }
            _ => {}
        }
    }

    fn list(&mut self) {
        self.one_of(&["LIST ", "LSUB "]);
        if self.once_in(2) {
            self.raw("\"\"");
        } else {
            self.mailbox();
        }
        self.raw(" ");
        self.one_of(&["\"\"", "*", "%", "\"*\"", "INBOX", "a/%", "\"a b*\"", "{3}\r\na/*", "x]y"]);
    }

    fn id(&mut self) {
        self.word("ID ");
        if self.once_in(4) {
            return self.word("NIL");
        }
        self.raw("(");
        self.several(" ", |s| {
            s.raw("\"name\" ");
            if s.once_in(3) { s.word("NIL") } else { s.string("K-9 Mail", false) }
        });
        self.raw(")");
    }

    fn fetch(&mut self) {
        self.numbered(&["FETCH "]);
        self.set();
        self.raw(" ");
        match self.below(4) {
            0 => self.one_of(&["ALL", "FAST", "FULL"]),
            1 => self.item(),
            _ => {
                self.raw("(");
                self.several(" ", Self::item);
                self.raw(")");
            }
        }
        if self.once_in(6) {
            self.word(" (CHANGEDSINCE ");
            self.number(1);
            self.raw(")");
        }
    }

    fn item(&mut self) {
        match self.below(5) {
            0 | 1 => self.one_of(&[
                "UID",
                "FLAGS",
                "INTERNALDATE",
                "RFC822.SIZE",
                "ENVELOPE",
                "BODYSTRUCTURE",
                "BODY",
                "RFC822",
                "RFC822.HEADER",
                "RFC822.TEXT",
                "MODSEQ",
            ]),
            2 => {
                self.one_of(&["BINARY[", "BINARY.PEEK[", "BINARY.SIZE["]);
                self.several(".", |s| s.number(1));
                self.raw("]");
            }
            _ => {
                self.one_of(&["BODY[", "BODY.PEEK["]);
                let path = self.once_in(2);
                if path {
                    self.several(".", |s| s.number(1));
                }
                match self.below(5) {
                    0 => {}
                    1 if path => self.word(".MIME"),
                    kind => {
                        self.raw(if path { "." } else { "" });
                        self.section(kind);
                    }
                }
                self.raw("]");
                if self.once_in(3) {
                    self.raw("<");
                    self.number(0);
                    self.raw(".");
                    self.number(1);
                    self.raw(">");
                }
            }
        }
    }

    fn section(&mut self, kind: usize) {
        match kind {
            1 | 2 => self.one_of(&["HEADER", "TEXT"]),
            _ => {
                self.one_of(&["HEADER.FIELDS (", "HEADER.FIELDS.NOT ("]);
                self.several(" ", |s| {
                    let name = ["Date", "Subject", "X-Odd.Name", "\"To\"", "message-id"];
                    s.one_of(&name);
                });
                self.raw(")");
            }
        }
    }

    fn store(&mut self) {
        self.numbered(&["STORE "]);
        self.set();
        self.raw(" ");
        if self.once_in(4) {
            self.word("(UNCHANGEDSINCE ");
            self.number(0);
            self.raw(") ");
        }
        self.option(&["+", "-"]);
        self.one_of(&["FLAGS ", "FLAGS.SILENT "]);
        if self.once_in(3) {
            self.several(" ", |s| s.one_of(FLAGS));
        } else {
            self.raw("(");
            if !self.once_in(6) {
                self.several(" ", |s| s.one_of(FLAGS));
            }
            self.raw(")");
        }
    }

    fn quota(&mut self) {
        match self.below(3) {
            0 => {
                self.word("GETQUOTA ");
                self.option(&["\"\"", "x", "#user"]);
                self.raw("y");
            }
            1 => {
                self.word("GETQUOTAROOT ");
                self.mailbox();
            }
            _ => {
                self.word("SETQUOTA \"\" (");
                self.one_of(&["STORAGE ", "MESSAGE "]);
                self.number(0);
                self.raw(")");
            }
        }
    }

    fn metadata(&mut self) {
        const ENTRIES: &[&str] =
            &["/private/comment", "\"/shared/comment\"", "/private/vendor/x/y"];
        if self.once_in(2) {
            self.word("SETMETADATA ");
            if self.once_in(3) {
                self.raw("\"\"");
            } else {
                self.mailbox();
            }
            self.raw(" (");
            self.several(" ", |s| {
                s.one_of(ENTRIES);
                s.raw(" ");
                if s.once_in(3) { s.word("NIL") } else { s.string("some value", false) }
            });
            self.raw(")");
        } else {
            self.word("GETMETADATA ");
            if self.once_in(2) {
                let options =
                    ["(MAXSIZE 100) ", "(DEPTH 1) ", "(DEPTH infinity MAXSIZE 9) ", "(DEPTH 0) "];
                self.one_of(&options);
            }
            if self.once_in(3) {
                self.raw("\"\"");
            } else {
                self.mailbox();
            }
            self.raw(" ");
            if self.once_in(2) {
                self.one_of(ENTRIES);
            } else {
                self.raw("(");
                self.several(" ", |s| s.one_of(ENTRIES));
                self.raw(")");
            }
        }
    }

    fn append(&mut self) {
        self.word("APPEND ");
        self.mailbox();
        if self.once_in(2) {
            self.raw(" ");
            self.listed(FLAGS);
        }
        if self.once_in(2) {
            let (day, month) = (1 + self.below(28), MONTHS[self.below(12)]);
            let zone = ["+0000", "-0730", "+1400", "-1200"][self.below(4)];
            let year = 1970 + self.below(130);
            let text = format!(" \"{day:2}-{month}-{year} {:02}:59:60 {zone}\"", self.below(24));
            self.raw(&text.replace(":60 ", ":07 "));
        }
        let waits = self.once_in(2);
        self.raw(if waits { " {5}\r\nhello" } else { " {3+}\r\na b" });
    }

    fn keys(&mut self) {
        self.several(" ", |s| s.key(0));
    }

    fn key(&mut self, depth: usize) {
        match self.below(if depth < 4 { 15 } else { 11 }) {
            0 | 1 => self.one_of(&[
                "ALL",
                "ANSWERED",
                "DELETED",
                "DRAFT",
                "FLAGGED",
                "NEW",
                "OLD",
                "RECENT",
                "SEEN",
                "UNANSWERED",
                "UNDELETED",
                "UNDRAFT",
                "UNFLAGGED",
                "UNSEEN",
            ]),
            2..=4 => {
                self.one_of(&["BCC ", "BODY ", "CC ", "FROM ", "SUBJECT ", "TEXT ", "TO "]);
                self.text();
            }
            5 => {
                self.one_of(&["BEFORE ", "ON ", "SINCE ", "SENTBEFORE ", "SENTON ", "SENTSINCE "]);
                self.date();
            }
            6 => {
                self.one_of(&["KEYWORD ", "UNKEYWORD "]);
                self.one_of(&["$Junk", "work", "a.b"]);
            }
            7 => {
                self.one_of(&["LARGER ", "SMALLER "]);
                self.number(0);
            }
            8 => {
                self.one_of(&["OLDER ", "YOUNGER "]);
                self.number(1);
            }
            9 => {
                self.word("UID ");
                self.set();
            }
            10 => self.set(),
            11 => {
                self.word("NOT ");
                self.key(depth + 1);
            }
            12 => {
                self.word("OR ");
                self.key(depth + 1);
                self.raw(" ");
                self.key(depth + 1);
            }
            13 => {
                self.raw("(");
                self.several(" ", |s| s.key(depth + 1));
                self.raw(")");
            }
            _ => {
                self.word("HEADER ");
                self.one_of(&["Message-ID ", "x-y ", "\"Subject\" "]);
                self.text();
            }
        }
    }
}
