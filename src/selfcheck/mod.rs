//! The self-check: is this box ready to send, receive and keep mail? One file per check, all of
//! one shape: id, area, question, why it matters, how to fix, run. An answer that could not be had
//! is *unknown*; it lights neither green nor red.

pub mod records;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What all checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub at: Timestamp,
    /// One per check, in the order of the areas.
    pub findings: Vec<Finding>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check, such as `dns.mx`.
    pub id: String,
    /// What it belongs to; also the number of blinks.
    pub area: Area,
    /// The question asked, in plain words.
    pub question: String,
    /// The answer.
    pub outcome: Outcome,
    /// What was asked, of whom, and what came back.
    pub evidence: Vec<String>,
    /// Why it matters, when the outcome is not ok.
    pub why: String,
    /// What to do next, with the exact record to publish; empty when there is nothing to do.
    pub fix: String,
}

/// A check's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, but not well for all.
    Attention(String),
    /// Does not work.
    Broken(String),
    /// Could not be told, and why.
    Unknown(String),
    /// Has no meaning in this set-up, and why.
    NotApplicable(String),
}

/// Areas, numbered as the light blinks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// 1: cable, Wi-Fi, address.
    Network = 1,
    /// 2: the clock.
    Time = 2,
    /// 3: names and MX.
    Dns = 3,
    /// 4: the address's name.
    ReverseDns = 4,
    /// 5: SPF, DKIM, DMARC.
    Authentication = 5,
    /// 6: certificates.
    Tls = 6,
    /// 7: the card.
    Storage = 7,
    /// 8: updates.
    Updates = 8,
}
