//! Local delivery: which mailbox of an account a message goes into, and the trace fields of final
//! delivery (Return-Path, Delivered-To). It only adds operations to a batch; whoever accepted the
//! message commits them, so that a message for three people is delivered to all of them or none.

use jiff::Timestamp;

use crate::mail::{Address, ReversePath};
use crate::store::{AccountId, Batch, Body, Store, StoreError};

/// Adds to `batch` the delivery of one message into `account`'s inbox.
///
/// `trace` are the Received fields written at acceptance; the Return-Path goes above them
/// (RFC 5321 §4.4) and Delivered-To (RFC 9228) between.
pub fn place(
    store: &Store,
    batch: &mut Batch,
    account: AccountId,
    recipient: &Address,
    from: &ReversePath,
    trace: &[u8],
    body: &Body,
    now: Timestamp,
) -> Result<(), StoreError> {
    todo!()
}
