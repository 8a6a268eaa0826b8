//! Pillarbox: a post office for the household.
