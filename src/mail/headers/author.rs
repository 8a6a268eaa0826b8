//! Whose name a message carries: the domains in `From`, which DMARC protects.

use super::super::Domain;

/// The domains of all addresses in the value of a `From` field, each once; nothing when it holds
/// none, or anything that cannot be read: a mail program might read it otherwise.
pub fn author_domains(value: &[u8]) -> Option<Vec<Domain>> {
    if value.len() > LONGEST_FROM {
        return None;
    }
    let header = [b"From:", value, b"\r\n"].concat();
    let header = mail_parser::MessageParser::new().parse_headers(&header)?;
    let mut domains: Vec<Domain> = Vec::new();
    for author in header.from()?.iter() {
        let (_, domain) = author.address()?.rsplit_once('@')?;
        let domain = domain.parse().ok()?;
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    (!domains.is_empty()).then_some(domains)
}

/// Longest `From` looked at, in bytes: room for a list of authors.
const LONGEST_FROM: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domains(value: &str) -> Option<String> {
        let found = author_domains(value.as_bytes())?;
        Some(found.iter().map(Domain::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_domains_of_the_authors_are_found() {
        for (value, expected) in [
            (" alice@example.org", Some("example.org")),
            (" Alice <alice@EXAMPLE.org>", Some("example.org")),
            (" \"bank@bank.example\" <eve@evil.example>", Some("evil.example")),
            (" (x@y.example) alice@example.org", Some("example.org")),
            (" a@b.org, C <c@b.org>", Some("b.org")),
            (" a@b.org,\r\n c@d.org", Some("b.org d.org")),
            (" Us: a@b.org, c@d.org;", Some("b.org d.org")),
            (" \"very odd\"@example.org", Some("example.org")),
            (" a@b\u{fc}cher.example", Some("xn--bcher-kva.example")),
            (" Alice", None),
            (" <>", None),
            ("", None),
            (" Nobody:;", None),
            (" a@[192.0.2.1]", None),
            (" a@b..org", None),
        ] {
            assert_eq!(domains(value).as_deref(), expected, "{value}");
        }
        assert_eq!(domains(&format!(" {} <a@b.org>", "x".repeat(20_000))), None);
    }

    proptest! {
        #[test]
        fn no_from_field_makes_the_reader_panic(from in "[a@.<>(),:;\"\\\\ \r\n=?ü]{0,40}") {
            let _ = author_domains(from.as_bytes());
        }
    }
}
