//! Ways in for the fuzz targets of `tests/fuzz`: each takes any bytes and must come back, within the
//! limits, whatever they are.

use std::io::{Cursor, Read};

use super::aggregate::{self, MOST_ROWS};
use super::{found, tls, wrap};

/// Reads a DMARC report.
pub fn dmarc(bytes: &[u8]) {
    if let Ok(report) = aggregate::read(bytes) {
        assert!(report.rows.len() <= MOST_ROWS && report.begin <= report.end);
        let again =
            serde_json::to_vec(&report).ok().and_then(|json| serde_json::from_slice(&json).ok());
        assert_eq!(again, Some(report), "it is kept as something else");
    }
}

/// Reads a TLS report.
pub fn tls(bytes: &[u8]) {
    if let Ok(report) = tls::read(bytes) {
        let again =
            serde_json::to_vec(&report).ok().and_then(|json| serde_json::from_slice(&json).ok());
        assert_eq!(again, Some(report), "it is kept as something else");
    }
}

/// Unwraps gzip and zip.
pub fn wrapped(bytes: &[u8]) {
    if let Ok(mut text) = wrap::open(bytes) {
        let mut out = Vec::new();
        let _ = text.read_to_end(&mut out);
        assert!(out.len() as u64 <= wrap::MOST_OUT, "more comes out than may");
    }
    let _ = found::unpack(bytes);
}

/// Looks for a report in a message.
pub fn message(bytes: &[u8]) {
    let _ = found::look(&mut Cursor::new(bytes), bytes.len() as u64, |_| true);
}
