//! Ways in for the fuzz targets of `tests/fuzz`: each takes any bytes and must come back, whatever
//! they are, and what it says of them must hold.

use super::reports;
use super::sts::Policy;
use crate::mail::Domain;

/// An MTA-STS policy as its web host may give it.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(policy) = Policy::parse(&text) else { return };
    for host in policy.hosts() {
        // A host that is named is meant; a pattern means no more than one label.
        let parsed = host.parse::<Domain>();
        assert!(parsed.is_err() || parsed.is_ok_and(|host| policy.names(&host)));
    }
    assert!(policy.lines.len() <= 200, "more lines are kept than a policy needs");
}

/// A message that may be a report about mail of ours.
pub fn report(bytes: &[u8]) {
    let found = reports::reported(bytes).unwrap_or_default();
    assert!(found.len() <= 20, "more recipients than are taken from one report");
}
