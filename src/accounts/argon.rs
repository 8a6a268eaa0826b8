//! Argon2id over memory that goes back to the system when the hash is made. An allocator keeps
//! what it gets back, up to some size, for each thread that asked; after a crowd of logins that
//! would be many times what two of them need.

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;

use super::HashError;
use super::passwords::fill_random;

/// Blocks of 1 KiB from which on every allocator of the system's maps memory of its own for a
/// request and unmaps it afterwards: the GNU library's keeps at most 32 MiB. Pages that are not
/// written take no room.
const MAPPED: usize = (33 << 20) / Block::SIZE;
/// RFC 9106 §3.1 recommends 16 bytes of salt.
const SALT: usize = 16;
/// Bytes of a hash.
const HASH: usize = 32;

/// A new hash of a password under a salt of its own, in the PHC string format.
pub(super) fn hash(password: &[u8], params: &Params) -> Result<String, HashError> {
    let mut salt = [0; SALT];
    fill_random(&mut salt)?;
    let hash = derive(password, &salt, params, Version::V0x13, HASH)?;
    Ok(format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    ))
}

/// Whether the password is the one that was hashed; compared in constant time.
pub(super) fn verify(password: &[u8], phc: &Phc) -> Result<bool, HashError> {
    let params = Params::try_from(phc).map_err(|_| HashError::Format)?;
    let version = phc.version.map_or(Ok(Version::V0x13), Version::try_from);
    let version = version.map_err(|_| HashError::Format)?;
    let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
        return Err(HashError::Format);
    };
    let expected = expected.as_bytes();
    let hash = derive(password, salt, &params, version, expected.len())?;
    Ok(hash.ct_eq(expected).into())
}

fn derive(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    version: Version,
    length: usize,
) -> Result<Vec<u8>, HashError> {
    let argon = Argon2::new(Algorithm::Argon2id, version, params.clone());
    let count = params.block_count();
    let mut blocks: Vec<Block> = Vec::with_capacity(count.max(MAPPED));
    blocks.resize(count, Block::default());
    let mut hash = vec![0; length];
    argon
        .hash_password_into_with_memory(password, salt, &mut hash, &mut blocks)
        .map_err(|_| HashError::Failed)?;
    Ok(hash)
}
