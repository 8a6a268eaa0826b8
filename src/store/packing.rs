//! Making bytes small, and whole again. Mail is short and repeats itself from one message to the
//! next, so each chunk is compressed on its own with a dictionary that holds what mail has in
//! common: number 0, the starter, is part of the program; the others are trained on the box's own
//! mail and kept beside the segments (`shelf.rs`). A payload names the dictionary it needs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, RwLock};

use zstd::bulk::Compressor;
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CParameter, DParameter, FrameFormat};

use super::codec::{Decoder, Encoder, Malformed};
use super::error::StoreError;
use super::record::MAX_PAYLOAD;
use super::starter;

/// Level with a dictionary: the best ratio that a small board has the time for.
const LEVEL: i32 = 6;
/// Level of parts.
const PART: i32 = 6;
/// Longest part that is looked at as text: a dictionary does little for longer ones.
const MAX_TEXT: usize = 32 << 10;
/// To see whether bytes give way at all.
const PROBE: i32 = 1;
/// Contexts kept for the next chunk: making one costs as much as compressing a short message.
const CONTEXTS: usize = 2;
/// Below this zstd's own frame eats the gain.
const MIN_COMPRESS: usize = 24;
/// Number of the dictionary that is part of the program.
pub(super) const STARTER: u32 = 0;

/// Codecs of a payload.
const AS_IT_IS: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_DICTIONARY: u8 = 2;

/// A dictionary, ready for use.
pub(super) struct Dictionary {
    pub(super) number: u32,
    bytes: Vec<u8>,
    /// Made when it is first used: its tables take some MB, and only the newest is ever used. They
    /// stay as long as the program runs, as contexts refer to them.
    encoder: OnceLock<&'static EncoderDictionary<'static>>,
    decoder: DecoderDictionary<'static>,
    contexts: Mutex<Vec<Compressor<'static>>>,
}

impl Dictionary {
    /// Prepares it.
    pub(super) fn new(number: u32, bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            number,
            encoder: OnceLock::new(),
            decoder: DecoderDictionary::try_copy(bytes).map_err(|_| Malformed)?,
            contexts: Mutex::default(),
            bytes: bytes.to_vec(),
        })
    }

    /// A payload of these bytes, whichever form is the shortest.
    pub(super) fn pack(&self, raw: &[u8]) -> Result<Vec<u8>, StoreError> {
        let squeezed = (raw.len() >= MIN_COMPRESS).then(|| self.squeeze(raw)).transpose();
        // Out of memory: as they are, then.
        finish(raw, squeezed.unwrap_or_default(), |out, len| {
            out.byte(ZSTD_DICTIONARY);
            out.number(self.number);
            out.number(len);
        })
    }

    fn squeeze(&self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let contexts = || self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = contexts().pop();
        let mut context = kept.map_or_else(|| self.context(), Ok)?;
        let squeezed = context.compress(raw)?;
        let mut contexts = contexts();
        if contexts.len() < CONTEXTS {
            contexts.push(context);
        }
        Ok(squeezed)
    }

    fn context(&self) -> io::Result<Compressor<'static>> {
        let encoder = *self
            .encoder
            .get_or_init(|| Box::leak(Box::new(EncoderDictionary::copy(&self.bytes, LEVEL))));
        let mut context = Compressor::with_prepared_dictionary(encoder)?;
        for parameter in [
            CParameter::Format(FrameFormat::Magicless),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            context.set_parameter(parameter)?;
        }
        Ok(context)
    }

    fn unpack(&self, bytes: &[u8], len: usize) -> Result<Vec<u8>, Malformed> {
        let zstd = zstd::bulk::Decompressor::with_prepared_dictionary(&self.decoder);
        let mut zstd = zstd.map_err(|_| Malformed)?;
        zstd.set_parameter(DParameter::Format(FrameFormat::Magicless)).map_err(|_| Malformed)?;
        zstd.decompress(bytes, len).map_err(|_| Malformed)
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dictionary").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The dictionary every program has.
#[allow(clippy::expect_used, reason = "the text is part of the program; tests unpack with it")]
pub(super) fn ours() -> &'static Arc<Dictionary> {
    static READY: LazyLock<Arc<Dictionary>> = LazyLock::new(|| {
        Arc::new(Dictionary::new(STARTER, starter::TEXT).expect("the starter dictionary"))
    });
    &READY
}

/// The dictionaries of a store.
#[derive(Debug)]
pub(super) struct Dictionaries(RwLock<BTreeMap<u32, Arc<Dictionary>>>);

impl Dictionaries {
    /// The starter alone.
    pub(super) fn new() -> Self {
        Self(RwLock::new(BTreeMap::from([(STARTER, Arc::clone(ours()))])))
    }

    /// One more; the one with the highest number is used from now on.
    pub(super) fn add(&self, dictionary: Dictionary) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(dictionary.number, Arc::new(dictionary));
    }

    /// The one to compress with.
    pub(super) fn newest(&self) -> Arc<Dictionary> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.last_key_value().map_or_else(|| Arc::clone(ours()), |(_, newest)| Arc::clone(newest))
    }

    /// Packs a part. Some are short texts, which have much in common with other mail.
    pub(super) fn pack_part(&self, raw: &[u8]) -> Result<Vec<u8>, StoreError> {
        let printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
        let text = raw.len() <= MAX_TEXT && raw.iter().take(256).all(printable);
        if text { self.newest().pack(raw) } else { pack_file(raw) }
    }

    fn get(&self, number: u32) -> Option<Arc<Dictionary>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&number).map(Arc::clone)
    }

    /// Whether the dictionary that a payload needs is here.
    pub(super) fn can_unpack(&self, payload: &[u8]) -> bool {
        let mut from = Decoder(payload);
        match from.byte() {
            Ok(ZSTD_DICTIONARY) => from.number().is_ok_and(|number| self.get(number).is_some()),
            codec => codec.is_ok(),
        }
    }

    /// The reverse of packing; never makes more than `limit` bytes.
    pub(super) fn unpack(&self, payload: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
        unpack(payload, limit, |number| self.get(number))
    }
}

/// Packs a commit: only with what every program has, so that the log can be read without the
/// dictionaries' files.
pub(super) fn pack_commit(raw: &[u8]) -> Result<Vec<u8>, StoreError> {
    ours().pack(raw)
}

/// The reverse of [`pack_commit`].
pub(super) fn unpack_commit(payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    let starter = |number| (number == STARTER).then(|| Arc::clone(ours()));
    unpack(payload, MAX_PAYLOAD, starter)
}

/// How much smaller a payload that begins so would be with the newest dictionary, in percent: the
/// starter knows nothing of this box, a dictionary learnt earlier only less.
pub(super) fn would_shrink(payload: &[u8], newest: u32) -> u64 {
    let mut from = Decoder(payload);
    // Format 1 knew no dictionaries; files do without one.
    let used = from.byte().is_ok_and(|codec| codec == ZSTD_DICTIONARY);
    match from.number::<u32>() {
        Ok(STARTER) if used && newest > STARTER => 28,
        Ok(number) if used && number < newest => 8,
        _ => 0,
    }
}

/// Packs what is no text: pictures and documents.
fn pack_file(raw: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut squeezed = None;
    // What hardly gives way at a low level is compressed already: a higher one only takes time.
    for level in [PROBE, PART] {
        squeezed = zstd::bulk::compress(raw, level).ok();
        if squeezed.as_ref().is_none_or(|small| small.len() > raw.len() / 100 * 97) {
            break;
        }
    }
    finish(raw, squeezed, |out, len| {
        out.byte(ZSTD);
        out.fixed(&len.to_le_bytes());
    })
}

fn finish(
    raw: &[u8],
    squeezed: Option<Vec<u8>>,
    head: impl FnOnce(&mut Encoder, u32),
) -> Result<Vec<u8>, StoreError> {
    let len = u32::try_from(raw.len()).map_err(|_| StoreError::TooLarge)?;
    let mut out = Encoder::default();
    if let Some(squeezed) = squeezed.filter(|squeezed| squeezed.len() + 4 < raw.len()) {
        head(&mut out, len);
        out.fixed(&squeezed);
    } else {
        out.byte(AS_IT_IS);
        out.fixed(&len.to_le_bytes());
        out.fixed(raw);
    }
    Ok(out.finish())
}

fn unpack(
    payload: &[u8],
    limit: usize,
    dictionary: impl FnOnce(u32) -> Option<Arc<Dictionary>>,
) -> Result<Vec<u8>, Malformed> {
    let mut from = Decoder(payload);
    let codec = from.byte()?;
    let (dictionary, len) = match codec {
        ZSTD_DICTIONARY => (Some(dictionary(from.number()?).ok_or(Malformed)?), from.number()?),
        _ => (None, from.fixed().map(u32::from_le_bytes)?),
    };
    let (len, bytes) = (usize::try_from(len).map_err(|_| Malformed)?, from.0);
    if len > limit {
        return Err(Malformed);
    }
    let raw = match (codec, dictionary) {
        (AS_IT_IS, _) => bytes.to_vec(),
        (ZSTD, _) => zstd::bulk::decompress(bytes, len).map_err(|_| Malformed)?,
        (ZSTD_DICTIONARY, Some(dictionary)) => dictionary.unpack(bytes, len)?,
        _ => return Err(Malformed),
    };
    if raw.len() == len { Ok(raw) } else { Err(Malformed) }
}
