//! What was received comes back byte for byte, however it is packed: real mail where there is some,
//! MIME that is nested, broken and cut off, and bytes without any sense.
//!
//! Real mail is looked for in the folders of `PILLARBOX_CORPORA`: `msgs.bin` holds the messages, and
//! each line of `index.jsonl` says where one is, as the measurements of the store build them.
//! Without them the messages made here have to do.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use pillarbox::mail::{Flags, MailboxName, Uid};
use pillarbox::store::{AccountId, Batch, MailboxId, Options, Outcome, Store};

const DATE: Timestamp = Timestamp::constant(1_000, 0);
const ALICE: AccountId = AccountId(1);
/// Real messages of one kind that are tried; all would take too long in a debug build.
const MOST: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_every_message_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(folder.path()).await;
    let mut chance = Chance(1);
    for message in torture(&mut chance) {
        kept.take(message, &mut chance).await;
    }
    let made = kept.messages.len();
    for message in corpus() {
        kept.take(message, &mut chance).await;
    }
    println!("{made} messages made here, {} of a corpus", kept.messages.len() - made);
    kept.compare(&mut chance);

    // Half of it is removed, so that the rest is moved when it is compacted.
    let gone: Vec<Uid> = kept.messages.iter().step_by(2).map(|(uid, _)| *uid).collect();
    let mut batch = Batch::new();
    batch.expunge(kept.mailbox, gone);
    kept.store.commit(batch).await.unwrap();
    kept.messages = kept.messages.into_iter().skip(1).step_by(2).collect();
    let mut keeper = kept.store.keeper();
    let compacted = tokio::task::spawn_blocking(move || keeper.compact()).await.unwrap().unwrap();
    assert!(compacted.segments > 0, "nothing was moved");
    kept.compare(&mut chance);

    let Kept { store, mailbox, messages } = kept;
    store.close().await.unwrap();
    let store = Store::rebuild(folder.path(), options()).unwrap();
    Kept { store, mailbox, messages }.compare(&mut chance);
}

/// A store, and what it was given.
struct Kept {
    store: Store,
    mailbox: MailboxId,
    messages: Vec<(Uid, Vec<u8>)>,
}

impl Kept {
    async fn open(folder: &Path) -> Self {
        let store = Store::open(folder, options()).unwrap();
        let mut batch = Batch::new();
        batch.create_mailbox(ALICE, MailboxName::inbox(), None);
        let outcomes = store.commit(batch).await.unwrap();
        let [Outcome::Created(mailbox)] = outcomes[..] else { panic!("{outcomes:?}") };
        Self { store, mailbox, messages: Vec::new() }
    }

    /// Takes a message in, in pieces as they come from a network, some under a trace field.
    async fn take(&mut self, message: Vec<u8>, chance: &mut Chance) {
        let mut writer = self.store.new_body();
        let mut rest = &message[..];
        while !rest.is_empty() {
            let longest = [3, 80, 4_000, 200_000][chance.below(4)];
            let (piece, later) = rest.split_at(rest.len().min(1 + chance.below(longest)));
            writer.write(piece).await.unwrap();
            rest = later;
        }
        let body = writer.finish().await.unwrap();
        let trace: &[u8] = if chance.below(3) > 0 { b"Return-Path: <a@b.org>\r\n" } else { b"" };
        let mut batch = Batch::new();
        batch.add_message(self.mailbox, trace, &body, Flags::none(), DATE);
        let outcomes = self.store.commit(batch).await.unwrap();
        let [Outcome::Added { uid, .. }] = &outcomes[..] else { panic!("{outcomes:?}") };
        self.messages.push((*uid, [trace, &message].concat()));
    }

    /// Reads every message as a whole, and from somewhere in it.
    fn compare(&self, chance: &mut Chance) {
        for (uid, sent) in &self.messages {
            let message = self.store.message(self.mailbox, *uid).unwrap().unwrap();
            let mut reader = self.store.read(&message.content).unwrap();
            assert_eq!(reader.len(), sent.len() as u64, "message {}", uid.get());
            reader.check(0..reader.len()).unwrap();
            let mut there = Vec::new();
            reader.read_to_end(&mut there).unwrap();
            if let Some(at) = there.iter().zip(sent).position(|(one, other)| one != other) {
                panic!("message {} differs at byte {at}: {}", uid.get(), near(sent, at));
            }
            assert_eq!(there.len(), sent.len());
            let from = chance.below(sent.len() + 1);
            let mut part = vec![0; chance.below(sent.len() - from + 1)];
            reader.seek(SeekFrom::Start(from as u64)).unwrap();
            reader.read_exact(&mut part).unwrap();
            assert!(part == sent[from..from + part.len()], "message {} from {from}", uid.get());
        }
    }
}

fn near(bytes: &[u8], at: usize) -> String {
    let part = &bytes[at.saturating_sub(60)..bytes.len().min(at + 60)];
    part.escape_ascii().to_string()
}

fn options() -> Options {
    Options { segment_size: 1 << 20, ..Options::default() }
}

/// Real messages, spread over all there are of each kind.
fn corpus() -> Vec<Vec<u8>> {
    let Some(folder) = std::env::var_os("PILLARBOX_CORPORA") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let folder = entry.unwrap().path();
        let Ok(index) = fs::read_to_string(folder.join("index.jsonl")) else { continue };
        let all = fs::read(folder.join("msgs.bin")).unwrap();
        let lines: Vec<&str> = index.lines().collect();
        for line in lines.iter().step_by(lines.len().div_ceil(MOST).max(1)) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let number = |key: &str| usize::try_from(line[key].as_u64().unwrap()).unwrap();
            found.push(all[number("off")..number("off") + number("len")].to_vec());
        }
    }
    found
}

/// Messages that try what a packer may get wrong.
fn torture(chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        ["", "\r", "\n", "\r\n", "\r\n\r\n", "x", "A: b\r\n", "A: b\r\n\r\n", "=", "====\r\n"]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
    // Around the sizes at which something is cut, nothing to be squeezed out and much of it.
    for size in [511, 512, 513, 4_095, 65_535, 65_536, 65_537, 123_120, 131_071, 131_072, 131_073] {
        all.push(chance.bytes(size));
        all.push(b"From here to there\r\n".iter().copied().cycle().take(size).collect());
        all.push(base64(&chance.bytes(size), 76, "\r\n"));
    }
    // Base64 in all widths and line ends that somebody may have chosen, whole and spoilt.
    let file = chance.bytes(20_000);
    for width in [1, 2, 3, 4, 32, 57, 60, 63, 64, 72, 75, 76, 77, 78, 100, 998, 1000, 1004, 30_000]
    {
        for end in ["\r\n", "\n", "\r", " \r\n", "\r\n\r\n", "\t\n"] {
            let whole = message("base64", &base64(&file, width, end));
            all.push(spoil(&whole, chance));
            all.push(whole);
        }
    }
    // The same file many times, with other ends and in other company.
    for cut in [20_000, 19_999, 19_998, 600, 599, 3, 2, 1, 0] {
        let mut part = base64(&file[..cut], 76, "\r\n");
        all.push(multipart(&[&part, b"text\r\n", &part], "x"));
        while part.last().is_some_and(|byte| b"=\r\n".contains(byte)) {
            part.pop();
        }
        all.push(multipart(&[&part, &part], "x"));
        part.extend(b"====\r\n--\r\n");
        all.push(multipart(&[&part], "x"));
    }
    // Bits that a decoder drops and an encoder would not write.
    all.push(message("base64", &b"QUJDRB==\r\n".repeat(200)));
    all.push(message("base64", &[base64(&file, 76, "\r\n"), b"QUJDRB==\r\n".to_vec()].concat()));
    // Parts in parts, each in a boundary that begins like the one around it.
    let mut nested = base64(&file, 76, "\r\n");
    for depth in 0..60 {
        nested = multipart(&[&nested, b"\r\n"], &"x".repeat(depth + 1));
    }
    all.push(nested);
    for encoding in ["quoted-printable", "8bit", "binary", "uuencode", "BASE64", "nonsense"] {
        all.push(message(encoding, &chance.bytes(3_000)));
        all.push(message(encoding, &base64(&chance.bytes(3_000), 76, "\n")));
    }
    // Any of these, spoilt, cut off or run together.
    for _ in 0..400 {
        let one = &all[chance.below(all.len())];
        let next = match chance.below(3) {
            0 => spoil(one, chance),
            1 => one[..chance.below(one.len() + 1)].to_vec(),
            _ => [&one[..], &all[chance.below(all.len())]].concat(),
        };
        if next.len() < 300_000 {
            all.push(next);
        }
    }
    all.push(multipart(&[&base64(&chance.bytes(3_000_000), 76, "\r\n"), b"end"], "x"));
    all
}

/// Changes some bytes, takes some out and puts some in.
fn spoil(message: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut spoilt = message.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(spoilt.len().max(1));
        let byte = b"=\r\n A-\0\xff"[chance.below(8)];
        match chance.below(3) {
            _ if spoilt.is_empty() => spoilt.push(byte),
            0 => spoilt[at] = byte,
            1 => drop(spoilt.remove(at)),
            _ => spoilt.insert(at, byte),
        }
    }
    spoilt
}

fn message(encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "From: a@b.org\r\nSubject: a file\r\nMIME-Version: 1.0\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn multipart(parts: &[&[u8]], boundary: &str) -> Vec<u8> {
    let mut all =
        format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n").into_bytes();
    for part in parts {
        all.extend(format!("--{boundary}\r\nContent-Transfer-Encoding: base64\r\n\r\n").bytes());
        all.extend(*part);
    }
    all.extend(format!("--{boundary}--\r\n").bytes());
    all
}

fn base64(bytes: &[u8], width: usize, end: &str) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = BASE64_STANDARD.encode(bytes).into_bytes();
    text.chunks(width).flat_map(|line| [line, end.as_bytes()].concat()).collect()
}

/// Random numbers by seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
