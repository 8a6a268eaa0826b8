use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

/// A host's certificate with the authority that vouches for it.
struct Made {
    authority: CertificateDer<'static>,
    host: CertificateDer<'static>,
}

fn made(name: &str) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let host = params.signed_by(&own, &issuer).unwrap().der().clone();
    Made { authority, host }
}

fn part(certificate: &CertificateDer<'_>, selector: Selector) -> Vec<u8> {
    match selector {
        Selector::Key => {
            let parsed = ParsedCertificate::try_from(certificate).unwrap();
            parsed.subject_public_key_info().to_vec()
        }
        _ => certificate.to_vec(),
    }
}

fn record(usage: Usage, selector: Selector, matching: Matching, of: &CertificateDer<'_>) -> Tlsa {
    let part = part(of, selector);
    let data = match matching {
        Matching::Sha256 => digest(&SHA256, &part).as_ref().to_vec(),
        Matching::Sha512 => digest(&SHA512, &part).as_ref().to_vec(),
        _ => part,
    };
    Tlsa { usage, selector, matching, data }
}

fn check(records: &[Tlsa], made: &Made, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let names = ["mx.far.test".parse().unwrap(), "far.test".parse().unwrap()];
    // rcgen's certificates are valid for ages.
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_000_000));
    fits(&provider, records, &names, &made.host, chain, now)
}

#[test]
fn every_form_of_record_finds_its_certificate_and_no_other() {
    let (right, wrong) = (made("mx.far.test"), made("mx.far.test"));
    for selector in [Selector::Certificate, Selector::Key] {
        for matching in [Matching::Whole, Matching::Sha256, Matching::Sha512] {
            let host = record(Usage::Host, selector, matching, &right.host);
            assert_eq!(check(std::slice::from_ref(&host), &right, &[]), Ok(()));
            assert!(check(std::slice::from_ref(&host), &wrong, &[]).is_err());

            let authority = record(Usage::Authority, selector, matching, &right.authority);
            let chain = std::slice::from_ref(&right.authority);
            assert_eq!(check(std::slice::from_ref(&authority), &right, chain), Ok(()));
            assert!(check(std::slice::from_ref(&authority), &wrong, chain).is_err());
            // Several records: one that fits is enough.
            let both = [record(Usage::Host, selector, matching, &wrong.host), authority];
            assert_eq!(check(&both, &right, chain), Ok(()));
        }
    }
    // The record brings the whole authority, which the host does not send.
    let whole = record(Usage::Authority, Selector::Certificate, Matching::Whole, &right.authority);
    assert_eq!(check(&[whole], &right, &[]), Ok(()));
    let digest =
        record(Usage::Authority, Selector::Certificate, Matching::Sha256, &right.authority);
    assert!(check(&[digest], &right, &[]).is_err());
}

#[test]
fn names_count_for_an_authority_and_not_for_the_host_itself() {
    let (other, domain) = (made("elsewhere.test"), made("far.test"));
    let host = record(Usage::Host, Selector::Key, Matching::Sha256, &other.host);
    assert_eq!(check(&[host], &other, &[]), Ok(()));
    let of =
        |made: &Made| record(Usage::Authority, Selector::Key, Matching::Sha256, &made.authority);
    let chain = |made: &Made| vec![made.authority.clone()];
    let refused = check(&[of(&other)], &other, &chain(&other)).unwrap_err();
    assert_eq!(CertificateFault::of(&refused), CertificateFault::Name);
    assert_eq!(check(&[of(&domain)], &domain, &chain(&domain)), Ok(()));
}

#[test]
fn what_nobody_understands_fits_nothing() {
    let right = made("mx.far.test");
    let good = record(Usage::Host, Selector::Key, Matching::Sha256, &right.host);
    for bad in [
        Tlsa { usage: Usage::Unusable, ..good.clone() },
        Tlsa { selector: Selector::Unusable, ..good.clone() },
        Tlsa { matching: Matching::Unusable, ..good.clone() },
        Tlsa { data: Vec::new(), ..good.clone() },
    ] {
        assert!(!bad.is_usable());
        assert!(check(&[bad], &right, &[]).is_err());
    }
    assert!(check(&[], &right, &[]).is_err());
}
