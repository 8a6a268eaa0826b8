//! The words of mail, without any of its machinery: addresses, envelopes, mailbox names, flags,
//! header fields and the MIME structure of a message. Everything here is parsed once at a border
//! and trusted inside; nothing here knows a socket, a clock, the store or a protocol. The only
//! user of mail-parser.

mod address;
mod envelope;
pub mod headers;
mod mailbox;
mod notices;
mod preview;
pub mod sorting;
pub mod structure;
pub mod threading;
pub mod uids;
pub mod utf7;

pub use address::{Address, AddressError, Domain, LocalPart};
pub use envelope::{BodyKind, Envelope, MailRequests, Recipient, RecipientRequests, ReversePath};
pub use mailbox::{
    Flag, Flags, Keyword, MailboxError, MailboxName, ModSeq, SpecialUse, SystemFlag, Uid,
    UidValidity, composed,
};
pub use notices::{EnvelopeId, NoticeError, Notify, OriginalRecipient, Return};
pub use preview::preview;
pub use uids::UidSet;
