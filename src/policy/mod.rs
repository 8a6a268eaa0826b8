//! What we think of a message, and what we let others know of ours, and how much of it there may
//! be. The only user of mail-auth.
//!
//! A message that arrives is judged in three steps. At MAIL, [`Origin::look_up`] asks the DNS about
//! the peer and the sender. While the message streams past, an [`Inspector`] holds its header and
//! hashes its body. At its end, [`authenticate`] checks signatures, chain and author, and gives an
//! [`Authentication`], which writes the `Authentication-Results` field.

pub mod allowance;
pub mod arc;
mod authenticate;
mod canonical;
pub mod dkim;
pub mod dmarc;
mod inspect;
mod key;
pub mod origin;
mod questions;
pub mod rdns;
pub mod results;
pub mod spf;
mod tags;

pub use authenticate::authenticate;
pub use inspect::{Inspected, Inspector};
pub use key::Algorithm;
pub use origin::{Origin, Peer};
pub use results::Authentication;

#[cfg(all(test, feature = "demo"))]
mod tests;
