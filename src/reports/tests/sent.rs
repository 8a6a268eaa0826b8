//! From what was seen to what others get.
