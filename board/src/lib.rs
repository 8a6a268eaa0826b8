//! LED, display and button.
