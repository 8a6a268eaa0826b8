//! Messages in many scripts and encodings, drawn from a seed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A source of numbers that depends on its seed only.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

pub(super) const SENTENCES: &[&str] = &[
    "Viele Grüße aus der Straße mit Äpfeln und Überschüssen",
    "The quick brown fox jumps over the lazy dog at 10:30",
    "Καλημέρα κόσμε, ΟΔΟΣ και Σίσυφος",
    "Привет из Москвы, ёлки зелёные",
    "السلام عليكم ورحمة الله",
    "שלום עולם טוב",
    "東京都は日本の首都です。カタカナとひらがな",
    "我们明天在北京开会讨论预算",
    "안녕하세요 반갑습니다",
    "नमस्ते दुनिया कैसे हो",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "Party 🎉🎉 time 👩‍👩‍👧 – “quoted” text… 5 €",
    "cafe\u{301} re\u{301}sume\u{301} Tiê\u{301}ng Việt",
    "İstanbul ΔΣΣΑΣ ǅ ﬁn ẞ",
];

const GLUE: &[&str] = &[
    " ", " ", " ", " ", "", "-", "_", ".", "@", "\r\n", ", ", "\u{a0}", "\u{301}", "/", "=", "\0",
];

fn text(random: &mut Random, words: usize) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(words) {
        match random.below(12) {
            0 => text.push_str(&random.below(1_000_000_000).to_string()),
            1 => {
                let unit = random.one(&["ab", "x", "東京", "ก", "é", "0f", "🎉"]);
                text.push_str(&unit.repeat(1 + random.below(60)));
            }
            2 => {
                let (one, other) = (random.below(1 << 40), random.below(99));
                text.extend(["x", &format!("{one:x}"), "y", &format!("{other:X}")]);
            }
            _ => {
                let sentence = random.one(SENTENCES);
                let words: Vec<&str> = sentence.split(' ').collect();
                text.push_str(random.one(&words));
            }
        }
        text.push_str(random.one(GLUE));
    }
    text
}

fn value(random: &mut Random) -> String {
    let text = text(random, 8).replace(['\r', '\n', '\0'], " ");
    match random.below(3) {
        0 => format!("=?utf-8?B?{}?=", STANDARD.encode(&text)),
        1 => {
            format!("=?UTF-8?q?{}?=", quoted_printable(&text).replace(' ', "_").replace('?', "=3F"))
        }
        _ => text,
    }
}

fn quoted_printable(text: &str) -> String {
    let plain = |b: u8| b == b' ' || b.is_ascii_alphanumeric();
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("={b:02X}") })
        .collect()
}

/// Header and body of a part.
fn part(random: &mut Random) -> Vec<u8> {
    let text = text(random, 60);
    let kind = random.one(&["plain", "html", "plain; format=flowed"]);
    let text = if kind == "html" { format!("<p>{text}</p><b>{text}</b>") } else { text };
    let (encoding, bytes) = match random.below(5) {
        0 => {
            let encoded = STANDARD.encode(&text);
            let lines: Vec<&[u8]> = encoded.as_bytes().chunks(76).collect();
            ("base64; x\r\nX-Other: utf-8", lines.join(&b"\r\n"[..]))
        }
        1 => ("quoted-printable", quoted_printable(&text).into_bytes()),
        2 => ("base64", STANDARD.encode(&text).into_bytes()),
        _ => ("8bit", text.into_bytes()),
    };
    let charset =
        random.one(&["utf-8", "utf-8", "iso-8859-1", "us-ascii", "shift_jis", "nonsense"]);
    let mut part = format!(
        "Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    .into_bytes();
    part.extend_from_slice(&bytes);
    part
}

/// A whole message.
pub(super) fn message(random: &mut Random) -> Vec<u8> {
    let mut message = Vec::new();
    for name in ["Received", "Subject", "From", "To", "Cc", "X-Thing", "SUBJECT"] {
        if random.below(5) > 0 {
            message.extend_from_slice(format!("{name}: {}\r\n", value(random)).as_bytes());
        }
    }
    match random.below(4) {
        0 => {
            message.extend_from_slice(b"Content-Type: multipart/mixed; boundary=cut\r\n\r\n");
            for _ in 0..=random.below(3) {
                message.extend_from_slice(b"--cut\r\n");
                message.extend_from_slice(&part(random));
                message.extend_from_slice(b"\r\n");
            }
            message.extend_from_slice(b"--cut--\r\n");
        }
        1 => {
            message.extend_from_slice(b"Content-Type: message/rfc822\r\n\r\nSubject: inner ");
            message.extend_from_slice(value(random).as_bytes());
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(&part(random));
        }
        _ => message.extend_from_slice(&part(random)),
    }
    message
}
