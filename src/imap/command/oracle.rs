//! A second opinion on our parser: imap-codec reads the same commands. What both take has to mean
//! the same to both, and what only one takes stands in [`DIFFERENCES`] with the sentence that decides.

use std::collections::BTreeMap;

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::encode::{Encoder, Fragment};

use self::generator::Generator;
use super::{Names, Reason, append_head, parse};

mod elements;
mod generator;

/// So many commands are read by both; `ORACLE_SEEDS` says another number.
const COMMANDS: u64 = 150_000;

/// A way in which the two may differ.
struct Difference {
    name: &'static str,
    /// Which sentence says so.
    because: &'static str,
    applies: fn(&Case<'_>) -> bool,
}

/// One command, and what the two say.
struct Case<'a> {
    text: &'a [u8],
    ours: &'a Result<String, Reason>,
    theirs: &'a Option<Vec<u8>>,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "blanks",
        because: "RFC 3501 §9 (2) lets no client send two for one, or one at the end; apps do, and \
                  it can mean nothing else",
        applies: |case| {
            let tidy = tidy(case.text);
            case.ours.is_ok()
                && case.theirs.is_none()
                && our_reading(&tidy) == *case.ours
                && their_reading(&tidy).is_some()
        },
    },
    Difference {
        name: "flags of the future",
        because: "RFC 3501 §9 `flag-extension`: \"Server implementations MUST NOT generate \
                  flag-extension flags except as defined by future standard or standards-track \
                  revisions\", so that none can be stored",
        applies: |case| matches!(case.ours, Err(Reason::Flag(_))),
    },
    Difference {
        name: "names with wildcards or controls",
        because: "RFC 3501 §5.1: \"it is difficult to use such mailbox names with the LIST and LSUB \
                  commands\"; a well-formed command is refused with NO",
        applies: |case| matches!(case.ours, Err(Reason::Name(_))),
    },
    Difference {
        name: "names of entries",
        because: "RFC 5464 §3.2: \"Invalid entry names result in a BAD response in any IMAP command \
                  in which they are used\"",
        applies: |case| matches!(case.ours, Err(Reason::Entry)),
    },
    Difference {
        name: "character sets",
        because: "RFC 3501 §6.4.4: \"If the server does not support the specified [CHARSET], it MUST \
                  return a tagged NO response (not a BAD)\"",
        applies: |case| matches!(case.ours, Err(Reason::Charset { .. })),
    },
    Difference {
        name: "threads of other kinds",
        because: "RFC 5256 §3 THREAD: \"BAD - command unknown or arguments invalid\"; an algorithm \
                  that is not announced is no argument that could be used",
        applies: |case| {
            matches!(case.ours, Err(Reason::Syntax("unknown threading algorithm")))
                && case.text.to_ascii_uppercase().windows(7).any(|word| word == b"THREAD ")
        },
    },
    Difference {
        name: "case of INBOX and of capabilities",
        because: "RFC 3501 §5.1: \"The case-insensitive mailbox name INBOX\", which a reference is \
                  not; RFC 5161 §3.1: ENABLE's arguments are kept as they came and know no case",
        applies: |case| match (case.ours, case.theirs) {
            (Ok(ours), Some(theirs)) => {
                our_reading(theirs).is_ok_and(|again| again.eq_ignore_ascii_case(ours))
            }
            _ => false,
        },
    },
    Difference {
        name: "base64",
        because: "RFC 3501 §6.2.2: what is no base64 is refused with BAD, one step later here",
        applies: |case| case.takes_what_they_refuse("Authenticate"),
    },
    Difference {
        name: "digits",
        because: "RFC 3501 §9 `date-year`, `time`: four digits and two; with or without zeros in \
                  front it is the same number",
        applies: |case| case.theirs.is_none() && case.ours.is_ok() && odd_digits(case.text),
    },
    Difference {
        name: "large sizes",
        because: "RFC 9051 §9: `\"LARGER\" SP number64` and `partial`, 32 bits wide in RFC 3501",
        applies: |case| {
            let places = [&b"LARGER "[..], b"SMALLER ", b"]<", b"."];
            case.ours.is_ok()
                && case.theirs.is_none()
                && places.iter().any(|word| long_number(case.text, word))
        },
    },
    Difference {
        name: "zero bytes in messages",
        because: "RFC 3501 §9 `CHAR8` has none; RFC 3516 §4.4 stores them, and what comes is kept",
        applies: |case| {
            case.theirs.is_none() && case.text.contains(&0) && append_prefix(case.text).is_some()
        },
    },
    Difference {
        name: "names of header fields",
        because: "RFC 5322 §2.2: a field name has no colon and no control; RFC 3501 §9 lets \
                  `header-fld-name` be any text",
        applies: |case| {
            let upper = case.text.to_ascii_uppercase();
            let fields = upper
                .windows(14)
                .any(|here| here == b"HEADER.FIELDS " || here == b"HEADER.FIELDS.");
            case.ours.is_err() && case.theirs.is_some() && fields
        },
    },
    Difference {
        name: "texts in no known encoding",
        because: "RFC 3501 §6.4.4: texts are in the [CHARSET], US-ASCII and UTF-8 here",
        applies: |case| matches!(case.ours, Err(Reason::Utf8)),
    },
    Difference {
        name: "no initial response",
        because: "RFC 4959 §3: an empty one is \"transmitted as a single pad character (\"=\")\"",
        applies: |case| {
            case.ours.is_err()
                && case.text.ends_with(b" \r\n")
                && case.text.to_ascii_uppercase().starts_with(b"T AUTHENTICATE ")
        },
    },
    Difference {
        name: "eight bits",
        because: "RFC 3501 §9 `CHAR` has seven bits; what clients send in eight is read as UTF-8",
        applies: |case| case.theirs.is_none() && case.ours.is_ok() && !case.text.is_ascii(),
    },
    Difference {
        name: "bare CR or LF",
        because: "RFC 3501 §9 `TEXT-CHAR`; the framing of lines refuses it before a command is read",
        applies: |case| {
            let lines = case.text.split(|b| *b == b'\n');
            case.theirs.is_none()
                && lines
                    .filter(|line| !line.is_empty())
                    .any(|line| !line.ends_with(b"\r") || line[..line.len() - 1].contains(&b'\r'))
        },
    },
];

impl Case<'_> {
    fn takes_what_they_refuse(&self, what: &str) -> bool {
        self.theirs.is_none() && self.ours.as_ref().is_ok_and(|ours| ours.starts_with(what))
    }
}

/// Without blanks beside others and at the end.
fn tidy(text: &[u8]) -> Vec<u8> {
    let mut tidy: Vec<u8> = Vec::new();
    for byte in text {
        match (tidy.last(), byte) {
            (Some(b' '), b' ') => {}
            (Some(b' '), b'\r') => {
                tidy.pop();
                tidy.push(b'\r');
            }
            _ => tidy.push(*byte),
        }
    }
    tidy
}

/// Whether more digits follow this word than a number of 32 bits has.
fn long_number(text: &[u8], word: &[u8]) -> bool {
    let text = text.to_ascii_uppercase();
    text.windows(word.len()).enumerate().filter(|(_, here)| *here == word).any(|(at, _)| {
        let digits = text[at + word.len()..].iter().take_while(|b| b.is_ascii_digit());
        digits.count() >= 10
    })
}

/// A date or time of another length than the grammar gives it.
fn odd_digits(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let quoted = text.split('"').skip(1).step_by(2);
    let date_times = quoted.filter(|word| word.contains(':'));
    let years = text.split([' ', '"', '\r', ')']).filter_map(|word| word.rsplit_once('-'));
    date_times
        .into_iter()
        .any(|word| word.len() != "17-Jul-1996 02:44:25 -0700".len() || word.contains("  "))
        || years.into_iter().any(|(_, year)| year.len() != 4)
}

/// Words of the grammar that are left out until a command with them is taken.
const NEWER: &[(&str, &str)] = &[
    ("CONDSTORE", "SELECT a (CONDSTORE)"),
    ("QRESYNC", "SELECT a (QRESYNC (1 1))"),
    ("COMPRESS", "COMPRESS DEFLATE"),
    ("MODSEQ", "FETCH 1 MODSEQ"),
    ("HIGHESTMODSEQ", "STATUS a (HIGHESTMODSEQ)"),
    ("SIZE", "STATUS a (SIZE)"),
    ("CHANGEDSINCE", "FETCH 1 FLAGS (CHANGEDSINCE 1)"),
    ("UNCHANGEDSINCE", "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()"),
    ("BINARY", "FETCH 1 BINARY[1]"),
    ("OLDER", "SEARCH OLDER 1"),
    ("YOUNGER", "SEARCH YOUNGER 1"),
    ("SORT", "SORT (DATE) UTF-8 ALL"),
    ("THREAD", "THREAD REFERENCES UTF-8 ALL"),
    ("SETQUOTA", "SETQUOTA \"\" (STORAGE 1)"),
    ("QUOTA", "GETQUOTAROOT a"),
    ("METADATA", "GETMETADATA a /private/comment"),
];

#[test]
fn another_parser_reads_commands_as_ours_does() {
    let count = std::env::var("ORACLE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(COMMANDS);
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    let mut unknown = Vec::new();
    let refused =
        |(_, sample): &&(&str, &str)| parse(format!("t {sample}").as_bytes(), Names::Utf7).is_err();
    let missing: Vec<&str> = NEWER.iter().filter(refused).map(|(word, _)| *word).collect();
    println!("not taken yet: {missing:?}");
    for seed in 0..count {
        let mut generator = Generator::new(seed);
        let (text, leaves) = if seed % 3 == 2 {
            (generator.broken(), Vec::new())
        } else {
            let made = generator.command();
            (made.bytes, made.leaves)
        };
        let upper = String::from_utf8_lossy(&text).to_uppercase();
        if missing.iter().any(|word| upper.contains(word)) {
            *tally.entry("left out").or_default() += 1;
            continue;
        }
        let ours = our_reading(&text);
        let theirs = their_reading(&text);
        let case = Case { text: &text, ours: &ours, theirs: &theirs };
        let Some(problem) = problem(&case, &leaves) else {
            *tally.entry(if ours.is_ok() { "taken" } else { "refused" }).or_default() += 1;
            continue;
        };
        match DIFFERENCES.iter().find(|difference| (difference.applies)(&case)) {
            Some(difference) => *tally.entry(difference.name).or_default() += 1,
            None => unknown.push(format!("seed {seed}: {problem}: {}", text.escape_ascii())),
        }
    }
    for difference in DIFFERENCES {
        let seen = tally.get(difference.name).copied().unwrap_or(0);
        println!("{seen:7} {}: {}", difference.name, difference.because);
    }
    println!("{tally:?}");
    assert!(
        unknown.is_empty(),
        "{} differ:\n{}",
        unknown.len(),
        unknown[..unknown.len().min(60)].join("\n")
    );
    let read = count - tally.get("left out").unwrap_or(&0);
    assert!(read >= count.min(100_000) && tally["taken"] > read / 2, "{tally:?}");
}

/// What is wrong, if anything.
fn problem(case: &Case<'_>, leaves: &[String]) -> Option<String> {
    match (case.ours, case.theirs) {
        (Ok(ours), Some(theirs)) => {
            let again = our_reading(theirs);
            if again.as_ref() != Ok(ours) {
                let theirs = theirs.escape_ascii();
                return Some(format!("{ours} and {again:?} of what they read, {theirs:?}"));
            }
            let lost = leaves.iter().find(|leaf| !holds(ours, leaf))?;
            Some(format!("{lost:?} is lost in {ours}"))
        }
        (Err(_), None) => None,
        (Ok(ours), None) => Some(format!("only we take it, as {ours}")),
        (Err(reason), Some(_)) => Some(format!("only we refuse it, {reason}")),
    }
}

fn holds(ours: &str, leaf: &str) -> bool {
    ours.to_lowercase().contains(&leaf.to_lowercase())
}

/// What we make of a command with its CRLF, in words.
fn our_reading(text: &[u8]) -> Result<String, Reason> {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    if let Some(head) = append_prefix(text).and_then(|text| append_head(text, Names::Utf7)) {
        return head
            .map(|h| {
                format!("{} {} {:?} {:?}", h.tag.as_str(), h.name, h.message.flags, h.message.date)
            })
            .map_err(|refused| refused.reason);
    }
    match parse(text, Names::Utf7) {
        // Its texts are not kept, or not shown.
        Ok(command) => Ok(format!("{:?}", command.body)),
        Err(refused) => Err(refused.reason),
    }
}

/// An APPEND up to its message, when that is the last of it.
fn append_prefix(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    let ends = text.windows(2).enumerate().filter(|(_, two)| two == b" {" || two == b"~{");
    let message = |(at, _): &(usize, &[u8])| {
        let rest = &text[at + 2..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (size, rest) = rest.split_at(digits);
        let rest = rest.strip_prefix(b"+").unwrap_or(rest).strip_prefix(b"}\r\n");
        let size: Option<usize> = std::str::from_utf8(size).ok().and_then(|s| s.parse().ok());
        size.is_some() && rest.map(<[u8]>::len) == size
    };
    let is_append = text.to_ascii_uppercase().starts_with(b"T APPEND ");
    let (end, mark) = ends.into_iter().find(message).filter(|_| is_append)?;
    Some(if mark == b" {" { &text[..=end] } else { &text[..end] })
}

/// What imap-codec makes of it, written in its own way.
fn their_reading(text: &[u8]) -> Option<Vec<u8>> {
    let (rest, command) = CommandCodec::default().decode(text).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut written = Vec::new();
    for fragment in CommandCodec::default().encode(&command) {
        match fragment {
            Fragment::Line { data } | Fragment::Literal { data, .. } => written.extend(data),
        }
    }
    Some(written)
}
