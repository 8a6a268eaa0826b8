//! The box's light and screens, or their simulation.
//!
//! - [`pattern`]: what the light says, as data;
//! - [`layout`]: the pages of a 128 × 64 display, drawn on a [`canvas`];
//! - [`png`]: the same as a picture.
//!
//! Nothing here knows what the box is for.

pub mod canvas;
pub mod layout;
pub mod pattern;
pub mod png;
mod qr;
pub mod status;
mod text;

pub use pattern::{Frame, Pattern, vocabulary_table};
pub use status::{Area, Concern, Concerns, Progress, Sign, State, Status};
