//! What is learnt helps with mail that was not learnt from, and nothing is too odd to learn from.

use zstd::bulk::{Compressor, Decompressor};

use super::*;
use crate::store::starter;

const SENDERS: [&str; 4] = ["school", "shop", "club", "bank"];

/// Mail as a household gets it: few senders, each with a form of its own, and words that differ.
fn message(number: u64) -> Vec<u8> {
    let random = |salt: u64| blake3::hash(&(number * 64 + salt).to_le_bytes());
    let sender = SENDERS[usize::from(random(0).as_bytes()[0] % 4)];
    let style = blake3::hash(sender.as_bytes()).to_hex();
    let mut text = format!(
        "Received: from out.{sender}.example ([192.0.2.{}])\r\n\tby box.example with ESMTPS id \
         {}\r\nFrom: The {sender} <office-{}@{sender}.example>\r\nX-Form: {style}\r\n\r\n\
         <div class=\"{sender}-{}\">",
        number % 200,
        &random(1).to_hex()[..12],
        &style[..6],
        &style[6..20],
    );
    for salt in 2..20 {
        let word = random(salt);
        let known = blake3::hash(&[word.as_bytes()[0] % 64, sender.as_bytes()[1]]).to_hex();
        text += &[&known[..10], " ", &word.to_hex()[..3], " "].concat();
    }
    text += &["</div>\r\nYours, the ", sender, ", ", &style[20..], "\r\n"].concat();
    text.into_bytes()
}

/// Bytes with nothing in common.
fn noise(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 2000];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn samples(messages: impl Iterator<Item = Vec<u8>>) -> Samples {
    let mut samples = Samples::new();
    for message in messages {
        samples.add(&message);
    }
    samples
}

/// Bytes of these messages, each compressed on its own; they come back as they were.
fn packed(messages: impl Iterator<Item = Vec<u8>>, dictionary: &[u8]) -> usize {
    let mut small = Compressor::with_dictionary(6, dictionary).unwrap();
    let mut whole = Decompressor::with_dictionary(dictionary).unwrap();
    let sizes = messages.map(|message| {
        let bytes = small.compress(&message).unwrap();
        assert!(whole.decompress(&bytes, message.len()).unwrap() == message);
        bytes.len()
    });
    sizes.sum()
}

#[test]
fn mail_to_come_gets_smaller_by_what_was_learnt() {
    let learnt = train(&samples((0..400).map(message)), 1).unwrap();
    let new = || (1000..1200).map(message);
    let (with, before) = (packed(new(), &learnt), packed(new(), starter::TEXT));
    assert!(with * 10 < before * 6, "{with} bytes, {before} with the starter");
    // zstd's own selection, with the same tables, is no better.
    let Samples { text, sizes } = samples((0..400).map(message));
    let theirs = zstd::dict::from_continuous(&text, &sizes, 112 << 10).unwrap();
    let theirs = packed(new(), &theirs);
    assert!(with <= theirs + theirs / 50, "{with} bytes, {theirs} with zstd's");
}

#[test]
fn it_has_the_size_of_its_stage_and_is_the_same_for_the_same_mail() {
    let few = samples((0..1200).map(message));
    let learnt = train(&few, 1).unwrap();
    assert_eq!(learnt.len(), 112 << 10);
    assert!(learnt == train(&few, 1).unwrap());
    // A later stage has room for all that comes again.
    let more = train(&few, 2).unwrap();
    assert!((learnt.len()..=256 << 10).contains(&more.len()), "{}", more.len());
}

#[test]
fn the_content_begins_right_after_the_tables() {
    let Samples { text, sizes } = samples((0..400).map(message));
    let trained = zstd::dict::from_continuous(&text, &sizes, 16 << 10).unwrap();
    let tables = tables(&trained).unwrap();
    let offsets = [1_u32, 4, 8].map(u32::to_le_bytes).concat();
    assert_eq!(&trained[tables - offsets.len()..tables], offsets);
}

#[test]
fn too_little_teaches_nothing() {
    assert!(train(&Samples::new(), 3).is_none());
    assert!(train(&samples((0..49).map(message)), 1).is_none());
    let enough = samples((0..400).map(message));
    assert!(train(&enough, 0).is_none());
    assert!(train(&enough, STAGES.len() + 1).is_none());
}

#[test]
fn odd_mail_does_no_harm() {
    let odd: [&dyn Fn(u64) -> Vec<u8>; 6] = [
        &noise,
        &|_| vec![b'A'; 5000],
        &|_| message(7).repeat(10),
        &|number| b"x".repeat(usize::from(number.to_le_bytes()[0]) * 17),
        &|number| b"\n".repeat(usize::from(number.to_le_bytes()[0]) * 150),
        &|number| if number == 0 { vec![0; SAMPLE] } else { vec![number.to_le_bytes()[0]; 1000] },
    ];
    for (at, make) in odd.iter().enumerate() {
        let samples = samples((0..70).map(make));
        if let Some(learnt) = train(&samples, 1) {
            assert!(learnt.len() <= 112 << 10, "{at}");
            packed((0..20).map(make), &learnt);
            packed((0..20).map(message), &learnt);
        }
    }
}

#[test]
fn samples_are_bounded_and_of_one_message_only_the_beginning() {
    let mut samples = Samples::new();
    assert!(samples.add(&vec![b'a'; 1 << 20]));
    assert!(samples.add(b""));
    assert_eq!(samples.sizes, [SAMPLE]);
    let room = (0..10_000).take_while(|_| samples.add(&[b'b'; SAMPLE])).count();
    assert_eq!((samples.text.len(), room), (SAMPLES, SAMPLES / SAMPLE - 2));
    assert!(!samples.add(&[b'c'; SAMPLE]));
    assert_eq!(samples.text.len(), SAMPLES);
}

#[test]
fn a_store_that_grows_is_due_again_and_again() {
    assert_eq!(stage(0), 0);
    assert_eq!(stage((512 << 10) - 1), 0);
    assert_eq!(stage(512 << 10), 1);
    assert_eq!(stage(5 << 20), 2);
    assert_eq!(stage(u64::MAX), STAGES.len());
    assert!(STAGES.is_sorted());
}
