//! DNSSEC for the world: one key signs the whole tree as a single zone, each answer when it is
//! asked for. Below a name that was cut off nothing is signed, and a record set can be spoilt.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_proto::dnssec::{DnssecSigner, PublicKey, SigningKey};
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordSet, RecordType};
use ring::signature::Ed25519KeyPair;

use crate::clock::{Clock, SystemClock};

/// Signs what the world answers.
pub(super) struct Signer {
    signer: DnssecSigner,
    key: DNSKEY,
    /// Below these nothing is signed.
    pub(super) cuts: BTreeSet<String>,
    /// Signatures about these names are wrong.
    pub(super) spoilt: BTreeSet<String>,
}

impl Signer {
    /// A key that follows from the seed.
    pub(super) fn new(seed: [u8; 32]) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| error.to_string())?;
        let key = Ed25519SigningKey::from_ed25519(pair);
        let public = key.to_public_key().map_err(|error| error.to_string())?;
        let dnskey = DNSKEY::new(true, true, false, public);
        let lasts = Duration::from_secs(24 * 3600);
        let signer = DnssecSigner::new(dnskey.clone(), Box::new(key), Name::root(), lasts);
        let (cuts, spoilt) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { signer, key: dnskey, cuts, spoilt })
    }

    /// The text of a trust anchor file.
    pub(super) fn anchor(&self) -> String {
        use base64::Engine;
        let bytes = self.key.public_key().public_bytes();
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!(". 3600 IN DNSKEY 257 3 15 {text}\n")
    }

    /// The records there are because the tree is signed.
    pub(super) fn own(&self, name: &LowerName, kind: RecordType) -> Vec<Record> {
        let at_cut = self.cuts.contains(&plain(name));
        match kind {
            RecordType::DNSKEY if name.is_root() => {
                let key = RData::DNSSEC(DNSSECRData::DNSKEY(self.key.clone()));
                vec![Record::from_rdata(Name::root(), 60, key)]
            }
            RecordType::SOA if name.is_root() => vec![super::soa()],
            RecordType::NS if name.is_root() || at_cut => {
                let ns = RData::NS(hickory_proto::rr::rdata::NS(Name::root()));
                vec![Record::from_rdata(Name::from(name), 60, ns)]
            }
            _ => Vec::new(),
        }
    }

    /// The signatures over these records, set by set.
    pub(super) fn sign(&self, records: &[Record]) -> Vec<Record> {
        let mut sets: Vec<RecordSet> = Vec::new();
        for record in records {
            let mine = |set: &&mut RecordSet| {
                *set.name() == record.name && set.record_type() == record.record_type()
            };
            if let Some(set) = sets.iter_mut().find(mine) {
                set.insert(record.clone(), 0);
            } else {
                let mut set =
                    RecordSet::with_ttl(record.name.clone(), record.record_type(), record.ttl);
                set.insert(record.clone(), 0);
                sets.push(set);
            }
        }
        sets.iter().filter_map(|set| self.sign_set(set)).collect()
    }

    fn sign_set(&self, set: &RecordSet) -> Option<Record> {
        if self.is_cut_off(set.name(), set.record_type()) {
            return None;
        }
        let begin = SystemTime::from(SystemClock.now()) - Duration::from_secs(3600);
        let mut signature =
            RRSIG::from_rrset(set, DNSClass::IN, begin.into(), &self.signer).ok()?;
        if self.spoilt.contains(&plain(&LowerName::new(set.name()))) {
            let mut wrong = signature.sig().to_vec();
            wrong.reverse();
            signature = RRSIG::from_sig(signature.input().clone(), wrong);
        }
        let data = RData::DNSSEC(DNSSECRData::RRSIG(signature));
        Some(Record::from_rdata(set.name().clone(), set.ttl(), data))
    }

    /// The proof that a name has these types and no other.
    pub(super) fn nothing_else(&self, name: &LowerName, types: Vec<RecordType>) -> Option<Record> {
        let at = Name::from(name);
        if self.is_cut_off(&at, RecordType::NSEC) {
            return None;
        }
        let next = at.prepend_label(&b"\0"[..]).ok()?;
        let nsec = RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(next, types)));
        Some(Record::from_rdata(at, 0, nsec))
    }

    /// The parent signs that there is no DS at the cut; all else there belongs to the child.
    fn is_cut_off(&self, name: &Name, kind: RecordType) -> bool {
        let lower = LowerName::new(name);
        self.cuts.iter().any(|cut| {
            let Ok(cut) = Name::from_ascii(format!("{cut}.")).map(LowerName::from) else {
                return false;
            };
            cut.zone_of(&lower) && !(cut == lower && kind == RecordType::NSEC)
        })
    }
}

fn plain(name: &LowerName) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}
