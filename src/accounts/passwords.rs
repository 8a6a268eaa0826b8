//! Passwords: in memory wiped after use, at rest only as hashes. A person's password is hashed
//! with Argon2id, slow and memory-hard because people choose guessable ones; that work runs off
//! the async threads and at most two at a time, since a small board has little memory to give.
//! A device's password is made here from 120 random bits: nobody can guess through those, so a
//! salted BLAKE3 is enough, and a phone that logs in every minute costs nothing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash as Phc;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::sasl::scram::Keys;
use super::{argon, spelling};

/// A password in memory: wiped when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Shortest password taken for an account, in characters.
    pub const MIN: usize = 8;

    /// Wraps what a person or a client gave.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How much work one Argon2id hash is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// KiB of memory.
    pub(super) memory: u32,
    /// Passes over it.
    pub(super) passes: u32,
    /// Rounds of PBKDF2 for SCRAM, which the client has to do at each login.
    pub(super) rounds: NonZeroU32,
}

impl Cost {
    /// The least that OWASP recommends for Argon2id: a Pi has no memory to spare for more.
    /// SCRAM's rounds are the most that Cyrus' SASL computes for mbsync, mutt and fetchmail, and what
    /// a phone does without being noticed; RFC 7677 §4 asks for 4096.
    pub(super) const NORMAL: Self = Self { memory: 19 * 1024, passes: 2, rounds: ROUNDS };
}

const ROUNDS: NonZeroU32 = NonZeroU32::new(65_536).unwrap();

/// Makes and checks Argon2id hashes, two at a time.
#[derive(Debug)]
pub(super) struct Hasher {
    cost: Params,
    rounds: NonZeroU32,
    permits: Arc<Semaphore>,
    /// Checked in place of a missing account's hash, so that both take the same work.
    decoy: StoredHash,
    #[cfg(test)]
    pub(super) hashed: Arc<std::sync::atomic::AtomicUsize>,
}

/// The right to hash; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Hasher {
    /// Hashes at once: 19 MiB each.
    const AT_ONCE: usize = 2;
    /// Longest wait for a turn: longer than this a client has given up.
    const WAIT: Duration = Duration::from_secs(30);

    pub(super) fn new(cost: Cost) -> Result<Self, HashError> {
        let params =
            Params::new(cost.memory, cost.passes, 1, None).map_err(|_| HashError::Failed)?;
        let (mut salt, mut hash) = ([0; 16], [0; 32]);
        fill_random(&mut salt)?;
        fill_random(&mut hash)?;
        let decoy = format!(
            "$argon2id$v=19$m={},t={},p=1${}${}",
            cost.memory,
            cost.passes,
            STANDARD_NO_PAD.encode(salt),
            STANDARD_NO_PAD.encode(hash)
        );
        Ok(Self {
            cost: params,
            rounds: cost.rounds,
            permits: Arc::new(Semaphore::new(Self::AT_ONCE)),
            decoy: decoy.try_into()?,
            #[cfg(test)]
            hashed: Arc::default(),
        })
    }

    /// The hash that no password matches.
    pub(super) fn decoy(&self) -> &StoredHash {
        &self.decoy
    }

    /// Waits for one of the two places.
    pub(super) async fn turn(&self) -> Result<Turn, HashError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(Self::WAIT, permit).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(HashError::Busy),
        }
    }

    /// Hashes a new password under a new salt.
    pub(super) async fn hash(&self, password: Password) -> Result<StoredHash, HashError> {
        let cost = self.cost.clone();
        #[cfg(test)]
        self.hashed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.work(self.turn().await?, move || {
            argon::hash(spelling::prepared(&password).expose().as_bytes(), &cost)?.try_into()
        })
        .await?
    }

    /// Rounds for SCRAM keys that are new.
    pub(super) fn rounds(&self) -> NonZeroU32 {
        self.rounds
    }

    /// SCRAM's keys of passwords that share a salt.
    pub(super) async fn keys(
        &self,
        passwords: Vec<Password>,
        salt: [u8; 16],
        rounds: NonZeroU32,
    ) -> Result<Vec<Keys>, HashError> {
        self.work(self.turn().await?, move || {
            passwords.iter().map(|password| Keys::derive(password, &salt, rounds)).collect()
        })
        .await
    }

    /// Whether the password is the one that was hashed. The turn is used up even when the caller
    /// goes away, because the work goes on.
    pub(super) async fn verify(
        &self,
        turn: Turn,
        password: Password,
        hash: StoredHash,
    ) -> Result<bool, HashError> {
        #[cfg(test)]
        self.hashed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.work(turn, move || {
            let phc = Phc::new(&hash.0).map_err(|_| HashError::Format)?;
            for spelt in spelling::given(password) {
                if argon::verify(spelt.expose().as_bytes(), &phc)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await?
    }

    async fn work<T, F>(&self, turn: Turn, work: F) -> Result<T, HashError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        task.await.map_err(|_| HashError::Failed)
    }
}

/// An Argon2id hash in the PHC string format, checked when made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct StoredHash(String);

impl StoredHash {
    /// The text, for telling one hash from another.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StoredHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        let phc = Phc::new(&text).map_err(|_| HashError::Format)?;
        let whole = phc.salt.is_some() && phc.hash.is_some();
        let params = Params::try_from(&phc).map_err(|_| HashError::Format)?;
        // A damaged entry must not make the box allocate gigabytes.
        if phc.algorithm.as_str() == "argon2id" && whole && params.m_cost() <= 1 << 18 {
            Ok(Self(text))
        } else {
            Err(HashError::Format)
        }
    }
}

impl From<StoredHash> for String {
    fn from(hash: StoredHash) -> Self {
        hash.0
    }
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredHash(…)")
    }
}

/// Letters and digits that are hard to take for one another (no i, l, o, u).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a device password; five bits each.
const DEVICE_LENGTH: usize = 24;
/// They are shown in groups of this many.
const GROUP: usize = 4;

/// A device password's salted BLAKE3, stored as `blake3$salt$hash` in hex.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct DeviceHash {
    salt: blake3::Hash,
    hash: blake3::Hash,
}

impl DeviceHash {
    /// Mints a password; the only time its text exists.
    pub(super) fn mint() -> Result<(Password, Self), HashError> {
        let mut random = Zeroizing::new([0; DEVICE_LENGTH]);
        fill_random(random.as_mut_slice())?;
        let bare: Zeroizing<String> = Zeroizing::new(
            random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect(),
        );
        let password = grouped(&bare);
        let mut salt = [0; 32];
        fill_random(&mut salt)?;
        let hash = blake3::keyed_hash(&salt, bare.as_bytes());
        Ok((password, Self { salt: salt.into(), hash }))
    }

    /// Whether it is this password, typed with or without dashes, in any case.
    pub(super) fn matches(&self, password: &Password) -> bool {
        // `blake3::Hash` compares in constant time.
        bare(password).is_some_and(|bare| {
            blake3::keyed_hash(self.salt.as_bytes(), bare.as_bytes()) == self.hash
        })
    }
}

/// How a device password may be given where it cannot be read leniently: as it was shown, and
/// without dashes. Nothing when it cannot be one.
pub(super) fn device_spellings(password: &Password) -> Vec<Password> {
    let both = |bare: Zeroizing<String>| vec![grouped(&bare), Password(bare)];
    bare(password).map(both).unwrap_or_default()
}

/// As it is shown.
fn grouped(bare: &str) -> Password {
    let mut text = String::with_capacity(DEVICE_LENGTH + DEVICE_LENGTH / GROUP);
    for (index, c) in bare.chars().enumerate() {
        if index > 0 && index % GROUP == 0 {
            text.push('-');
        }
        text.push(c);
    }
    Password::new(text)
}

/// The characters that count; nothing when it cannot be a device password.
fn bare(password: &Password) -> Option<Zeroizing<String>> {
    let mut bare = Zeroizing::new(String::with_capacity(DEVICE_LENGTH));
    // Keyboards that mean well make long dashes of short ones, and spaces that do not break.
    let between = |c: &char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}');
    for c in password.expose().chars().filter(|c| !between(c)) {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        if bare.len() == DEVICE_LENGTH || !ALPHABET.iter().any(|a| char::from(*a) == c) {
            return None;
        }
        bare.push(c);
    }
    (bare.len() == DEVICE_LENGTH).then_some(bare)
}

impl TryFrom<String> for DeviceHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        let hex = |hex| blake3::Hash::from_hex(hex).map_err(|_| HashError::Format);
        let mut parts = text.split('$');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("blake3"), Some(salt), Some(hash), None) => {
                Ok(Self { salt: hex(salt)?, hash: hex(hash)? })
            }
            _ => Err(HashError::Format),
        }
    }
}

impl From<DeviceHash> for String {
    fn from(device: DeviceHash) -> Self {
        format!("blake3${}${}", device.salt, device.hash)
    }
}

impl std::fmt::Debug for DeviceHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceHash(…)")
    }
}

/// Fills a buffer from the system's random source.
pub(super) fn fill_random(buffer: &mut [u8]) -> Result<(), HashError> {
    SystemRandom::new().fill(buffer).map_err(|_| HashError::Random)
}

/// Why a password could not be hashed or checked; never the password's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// A stored hash is not in the form it was written in.
    #[error("a stored password hash is damaged")]
    Format,
    /// Too many logins at once.
    #[error("too many logins are being checked; try again in a minute")]
    Busy,
    /// The system gives no random bytes.
    #[error("the system gives no random numbers")]
    Random,
    /// Out of memory, or stopping.
    #[error("the password could not be hashed")]
    Failed,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed hash is the failed test")]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory: 8, passes: 1, rounds: NonZeroU32::MIN };

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_matches_and_no_two_hashes_are_alike() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let first = hasher.hash(password("correct horse")).await.unwrap();
        let second = hasher.hash(password("correct horse")).await.unwrap();
        assert_ne!(first.as_str(), second.as_str());
        assert!(!first.as_str().contains("horse"));
        for (text, right) in [("correct horse", true), ("correct Horse", false), ("", false)] {
            let turn = hasher.turn().await.unwrap();
            let answer = hasher.verify(turn, password(text), first.clone()).await.unwrap();
            assert_eq!(answer, right, "{text:?}");
        }
    }

    #[tokio::test]
    async fn the_normal_cost_is_what_the_documentation_says() {
        let hasher = Hasher::new(Cost::NORMAL).unwrap();
        let hash = hasher.hash(password("correct horse")).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        let decoy = hasher.decoy().as_str();
        assert!(decoy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{decoy}");
        assert_eq!(decoy.len(), hash.as_str().len());
    }

    #[tokio::test]
    async fn no_more_than_two_hash_at_once() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let _first = hasher.turn().await.unwrap();
        let second = hasher.turn().await.unwrap();
        let third = tokio::time::timeout(Duration::from_millis(20), hasher.turn()).await;
        assert!(third.is_err(), "a third got a turn");
        drop(second);
        hasher.turn().await.unwrap();
    }

    #[test]
    fn device_passwords_are_long_distinct_and_forgiving_to_type() {
        let (password_text, hash) = DeviceHash::mint().unwrap();
        let (other, _) = DeviceHash::mint().unwrap();
        assert_eq!(password_text.expose().len(), 29);
        assert_ne!(password_text.expose(), other.expose());
        assert!(hash.matches(&password_text));
        assert!(!hash.matches(&other));
        let typed = password_text.expose().to_uppercase().replace('-', " ").replace('0', "O");
        assert!(hash.matches(&password(&typed)));
        let improved = password_text.expose().replacen('-', "\u{2013}", 2).replace('-', "\u{a0}");
        assert!(hash.matches(&password(&improved)), "{improved}");
        assert!(!hash.matches(&password(&password_text.expose()[1..])));
        assert!(!hash.matches(&password(&format!("{}0", password_text.expose()))));
        let stored: String = hash.into();
        assert!(DeviceHash::try_from(stored).unwrap().matches(&password_text));
    }

    #[test]
    fn damaged_hashes_are_refused() {
        let tail = format!("{}${}", "A".repeat(22), "A".repeat(43));
        let phc = |start: &str| StoredHash::try_from(format!("$argon2{start},t=1,p=1${tail}"));
        assert!(phc("id$v=19$m=8").is_ok());
        assert!(phc("i$v=19$m=8").is_err(), "another algorithm was taken");
        assert!(phc("id$v=19$m=4294967295").is_err(), "four terabytes were taken");
        for text in ["", "blake3", "blake3$00$00", "$argon2id$v=19$m=19456,t=2,p=1"] {
            assert!(StoredHash::try_from(text.to_owned()).is_err(), "{text:?} was taken");
            assert!(DeviceHash::try_from(text.to_owned()).is_err(), "{text:?} was taken");
        }
    }
}
