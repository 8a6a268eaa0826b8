//! SPF (RFC 7208): may this address send for that domain? Every question goes through our one
//! resolver with its cache, its limits and its three outcomes.

mod macros;
mod record;

use std::net::IpAddr;

use crate::dns::{Answer, Resolver};
use crate::mail::Domain;
use macros::{MacroString, Values};
use record::{Mechanism, Qualifier, Record};

/// What a domain says of an address that sends for it (RFC 7208 §2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spf {
    /// It may send.
    Pass,
    /// It may not: refuse.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// The domain has no record.
    None,
    /// The domain's records are wrong; how, in words.
    PermError(String),
    /// The DNS could not tell; why, in words.
    TempError(String),
}

/// The `check_host` function (RFC 7208 §4). `sender` is the whole MAIL FROM address, or
/// `postmaster@` and the HELO name when that was empty; `helo` is what the peer called itself.
pub async fn evaluate(
    resolver: &Resolver,
    ip: IpAddr,
    domain: &Domain,
    sender: &str,
    helo: &str,
) -> Spf {
    // RFC 7208 §4.3: not a name that could have a record.
    if !domain.as_str().contains('.') {
        return Spf::None;
    }
    let ip = ip.to_canonical();
    let mut walk = Walk { resolver, ip, sender, helo, terms: 0, voids: 0 };
    walk.check(domain).await.unwrap_or_else(|stop| stop)
}

/// The SPF records among a name's TXT records (RFC 7208 §4.5); a domain must have exactly one.
pub fn records(txt: &[String]) -> Vec<&str> {
    let is_spf = |text: &&String| {
        let version = text.split(' ').next().unwrap_or_default();
        version.eq_ignore_ascii_case("v=spf1")
    };
    txt.iter().filter(is_spf).map(String::as_str).collect()
}

/// What is counted over all records that belong to one question.
struct Walk<'a> {
    resolver: &'a Resolver,
    ip: IpAddr,
    sender: &'a str,
    helo: &'a str,
    terms: usize,
    voids: usize,
}

impl Walk<'_> {
    /// `Err` ends the whole evaluation, however deep it is.
    async fn check(&mut self, domain: &Domain) -> Result<Spf, Spf> {
        let txt = match self.resolver.txt(domain).await {
            Answer::Yes(txt) => txt,
            Answer::No(_) => return Ok(Spf::None),
            Answer::CouldNotTell(why) => return Err(Spf::TempError(why)),
        };
        let record = match records(&txt).as_slice() {
            [] => return Ok(Spf::None),
            [one] => Record::parse(one)
                .ok_or_else(|| wrong(format!("the record of {domain} cannot be read: {one}")))?,
            more => {
                return Err(wrong(format!("{domain} has {} SPF records, not one", more.len())));
            }
        };
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain).await? {
                return Ok(match directive.qualifier {
                    Qualifier::Pass => Spf::Pass,
                    Qualifier::Fail => Spf::Fail,
                    Qualifier::SoftFail => Spf::SoftFail,
                    Qualifier::Neutral => Spf::Neutral,
                });
            }
        }
        let Some(target) = &record.redirect else { return Ok(Spf::Neutral) };
        self.count_term(domain)?;
        let target = self.domain(target, domain).await?;
        match Box::pin(self.check(&target)).await? {
            // RFC 7208 §6.1
            Spf::None => Err(wrong(format!("{domain} refers to {target}, which has no record"))),
            result => Ok(result),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &Domain) -> Result<bool, Spf> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(network, lengths) => Ok(lengths.agree(self.ip, *network)),
            Mechanism::A(name, lengths) => {
                self.count_term(domain)?;
                let found = self.addresses(name.as_ref(), domain).await?;
                Ok(found.into_iter().any(|one| lengths.agree(self.ip, one)))
            }
            Mechanism::Mx(name, lengths) => {
                self.count_term(domain)?;
                // What is no host's name has no MX.
                let Ok(target) = self.name(name.as_ref(), domain).await.parse() else {
                    return Ok(false);
                };
                let found = self.resolver.mx(&target).await;
                let exchangers = self.looked_up(found, domain)?;
                if exchangers.len() > MAX_HOSTS {
                    return Err(wrong(format!("{target} has more than {MAX_HOSTS} MX hosts")));
                }
                for host in exchangers.into_iter().filter_map(|mx| mx.host) {
                    let addresses = known(self.resolver.addresses(&host).await)?;
                    if addresses.into_iter().any(|one| lengths.agree(self.ip, one)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Include(name) => {
                self.count_term(domain)?;
                let target = self.domain(name, domain).await?;
                // RFC 7208 §5.2
                match Box::pin(self.check(&target)).await? {
                    Spf::Pass => Ok(true),
                    Spf::None => {
                        Err(wrong(format!("{domain} includes {target}, which has no record")))
                    }
                    _ => Ok(false),
                }
            }
            Mechanism::Exists(name) => {
                self.count_term(domain)?;
                // RFC 7208 §5.7: an A record, whatever the address family of the client.
                Ok(self.addresses(Some(name), domain).await?.iter().any(IpAddr::is_ipv4))
            }
            Mechanism::Ptr(name) => {
                self.count_term(domain)?;
                let target = self.name(name.as_ref(), domain).await.to_ascii_lowercase();
                let below = format!(".{target}");
                let names = self.validated_names().await;
                Ok(names.iter().map(Domain::as_str).any(|n| n == target || n.ends_with(&below)))
            }
        }
    }

    /// The addresses of the host a term speaks of. Macros may make names no host has; they may have
    /// addresses all the same.
    async fn addresses(
        &mut self,
        name: Option<&MacroString>,
        domain: &Domain,
    ) -> Result<Vec<IpAddr>, Spf> {
        let name = self.name(name, domain).await;
        let found = self.resolver.addresses_of(&name).await;
        self.looked_up(found, domain)
    }

    /// The domain whose record a term refers to.
    async fn domain(&mut self, text: &MacroString, domain: &Domain) -> Result<Domain, Spf> {
        let name = self.name(Some(text), domain).await;
        name.parse().map_err(|_| wrong(format!("{domain} speaks of \"{name}\", not a name")))
    }

    /// The name a term speaks of: its own domain's when it gives none.
    async fn name(&mut self, text: Option<&MacroString>, domain: &Domain) -> String {
        let Some(text) = text else { return domain.to_string() };
        let validated = if text.needs_name() { self.validated_name(domain).await } else { None };
        text.expand(&Values {
            sender: self.sender,
            domain: domain.as_str(),
            ip: self.ip,
            helo: self.helo,
            name: validated.as_ref().map_or("unknown", Domain::as_str),
        })
    }

    /// RFC 7208 §7.3: the domain itself, or a name below it, or any.
    async fn validated_name(&self, domain: &Domain) -> Option<Domain> {
        let names = self.validated_names().await;
        let below = format!(".{domain}");
        let same = names.iter().find(|name| *name == domain);
        let within = same.or_else(|| names.iter().find(|name| name.as_str().ends_with(&below)));
        within.or(names.first()).cloned()
    }

    /// Names of the address that lead back to it (RFC 7208 §5.5); failures count as no name.
    async fn validated_names(&self) -> Vec<Domain> {
        let Answer::Yes(names) = self.resolver.ptr(self.ip).await else { return Vec::new() };
        let mut validated = Vec::new();
        for name in names.into_iter().take(MAX_HOSTS) {
            if let Answer::Yes(addresses) = self.resolver.addresses(&name).await
                && addresses.contains(&self.ip)
            {
                validated.push(name);
            }
        }
        validated
    }

    /// RFC 7208 §4.6.4: at most ten terms that ask the DNS.
    fn count_term(&mut self, domain: &Domain) -> Result<(), Spf> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(wrong(format!(
                "more than {MAX_TERMS} look-ups are needed, the last one for {domain}"
            )));
        }
        Ok(())
    }

    /// RFC 7208 §4.6.4: at most two look-ups that find nothing.
    fn looked_up<T>(&mut self, answer: Answer<Vec<T>>, domain: &Domain) -> Result<Vec<T>, Spf> {
        if matches!(answer, Answer::No(_)) {
            self.voids += 1;
            if self.voids > MAX_VOIDS {
                return Err(wrong(format!(
                    "{domain} names more than {MAX_VOIDS} hosts that do not exist"
                )));
            }
        }
        known(answer)
    }
}

fn known<T>(answer: Answer<Vec<T>>) -> Result<Vec<T>, Spf> {
    match answer {
        Answer::Yes(found) => Ok(found),
        Answer::No(_) => Ok(Vec::new()),
        Answer::CouldNotTell(why) => Err(Spf::TempError(why)),
    }
}

fn wrong(how: String) -> Spf {
    Spf::PermError(how)
}

const MAX_TERMS: usize = 10;
const MAX_VOIDS: usize = 2;
/// MX hosts and PTR names looked at for one term.
const MAX_HOSTS: usize = 10;

#[cfg(all(test, feature = "demo"))]
mod tests;
