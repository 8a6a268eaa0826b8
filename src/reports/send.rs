//! Telling others what we saw, once a day: the domains whose mail came here and that ask for it
//! (DMARC), and those whose hosts we sent to (TLS). Only to addresses that want it, at a time of
//! its own for each domain, so many a day, never while mail is held or the time unknown, with a null
//! sender, and never about reports.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::compose::{Letter, Reporter};
use super::found::REPORT_ADDRESS;
use super::shelf::day_of;
use super::tally::{DmarcSeen, TlsSeen, WAIT_DAYS, asked};
use super::{Reports, ReportsError};
use crate::clock::ClockTrust;
use crate::dns::{Answer, Resolver};
use crate::mail::structure::fields;
use crate::mail::{Address, Domain, Envelope, ReversePath};
use crate::policy::Authentication;
use crate::policy::dmarc::Policy;
use crate::policy::guard::Witness;
use crate::queue::{Incoming, Queue, Source};
use crate::store::{Batch, StoreError};

/// What reports are sent with.
pub struct Post {
    /// The way out.
    pub queue: Queue,
    /// Finds out who wants reports.
    pub resolver: Resolver,
    /// The box's name.
    pub hostname: Domain,
    /// Our main domain: reports are written in its name.
    pub domain: Domain,
    /// Mail is held here, so that reports would only pile up.
    pub hold: bool,
    /// What became of TLS on a day, counted in days since 1970.
    pub tls_results: TlsResults,
}

/// Where the counts of TLS are.
pub type TlsResults = Arc<dyn Fn(i64) -> Result<Vec<TlsSeen>, StoreError> + Send + Sync>;

/// Whether a message is itself a report, or written by a machine in answer to something: counting
/// those would make reports about reports for ever. `header` is its header, `to` whom it is for.
pub fn is_report_mail<'a>(header: &[u8], mut to: impl Iterator<Item = &'a Address>) -> bool {
    let is_report = |field: &crate::mail::structure::RawField<'_>| {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        let value = String::from_utf8_lossy(field.value).trim().to_ascii_lowercase();
        is("TLS-Report-Domain")
            || is("TLS-Report-Submitter")
            || is("Auto-Submitted") && value != "no"
            || is("Subject") && value.starts_with("report domain:")
            || is("Content-Type") && value.starts_with("multipart/report")
    };
    fields(header).any(|field| is_report(&field))
        || to.any(|to| to.local().as_str().eq_ignore_ascii_case(REPORT_ADDRESS))
}

/// How often counts are put away, and a look is taken at what is due.
const PERIOD: Duration = Duration::from_mins(10);
/// Time from the start to the first look: what fell due while the box was off need not wait longer.
const FIRST: Duration = Duration::from_secs(10);
/// Reports sent on one day: a household gets mail from fewer domains that ask.
const MOST_A_DAY: u32 = 100;
/// Hours after midnight from which on, and over which, reports leave.
const FIRST_HOUR: i64 = 1;
const HOURS: u64 = 8;
/// Addresses one report goes to (RFC 9990 §3.5 asks for two at least).
const MOST_ADDRESSES: usize = 2;
/// Addresses of a record looked at.
const MOST_LOOKED_AT: usize = 5;

impl Witness for Reports {
    fn saw(&self, found: &Authentication, done: Policy, header: &[u8], to: &[Address]) {
        if let Some(seen) = DmarcSeen::of(found, asked(done)) {
            self.note(seen, header, to.iter());
        }
    }
}

impl Reports {
    /// Counts a message from elsewhere for the report to its author's domain. Costs no write.
    /// `header` and `to` are the message's: reports are not counted.
    pub fn note<'a>(&self, seen: DmarcSeen, header: &[u8], to: impl Iterator<Item = &'a Address>) {
        let ours = self.inner.accounts.is_ours(&seen.domain);
        let clock = &self.inner.clock;
        if !ours && clock.trust() != ClockTrust::Unknown && !is_report_mail(header, to) {
            self.inner.tally().note(day_of(clock.now()), seen);
        }
    }

    /// Puts counts away and sends what is due, until `stop`.
    pub async fn post(self, post: Post, stop: CancellationToken) {
        let mut wait = FIRST;
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = sleep(wait) => false,
            };
            wait = PERIOD;
            let done = async {
                self.save().await?;
                if stopped { Ok(()) } else { self.send_due(&post).await }
            };
            if let Err(error) = done.await {
                tracing::warn!(%error, "reports to other mail hosts have to wait");
            }
            if stopped {
                return;
            }
        }
    }

    /// Makes what was counted durable.
    pub async fn save(&self) -> Result<(), ReportsError> {
        let mut batch = Batch::new();
        if self.inner.tally().save(&mut batch) {
            self.inner.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Sends the reports whose time has come. What the DNS cannot tell now waits.
    pub async fn send_due(&self, post: &Post) -> Result<(), ReportsError> {
        let clock = &self.inner.clock;
        if clock.trust() == ClockTrust::Unknown {
            return Ok(());
        }
        let now = clock.now();
        let today = day_of(now);
        let oldest = today.saturating_sub(SignedDuration::from_hours(24 * WAIT_DAYS));
        let waiting = self.inner.tally().waiting(today);
        for place in waiting {
            if place.0 < oldest {
                self.inner.tally().done(&place);
            } else if post.may_send(&place.1, today, now) && self.may_send(today) {
                self.send_dmarc(post, &place, now).await?;
            }
        }
        for back in 1..=WAIT_DAYS {
            let day = today.saturating_sub(SignedDuration::from_hours(24 * back));
            let epoch = Date::constant(1970, 1, 1);
            let number = day.duration_since(epoch).as_hours() / 24;
            for seen in (post.tls_results)(number)? {
                let place = (day, seen.domain.clone());
                if !self.inner.tally().is_tls_done(&place)
                    && post.may_send(&place.1, today, now)
                    && self.may_send(today)
                {
                    self.send_tls(post, place, &seen, oldest, now).await?;
                }
            }
        }
        Ok(())
    }

    fn may_send(&self, today: Date) -> bool {
        self.inner.tally().sent_on(today) < MOST_A_DAY
    }

    async fn send_dmarc(
        &self,
        post: &Post,
        place: &(Date, Domain),
        now: Timestamp,
    ) -> Result<(), ReportsError> {
        let Answer::Yes(to) = wanted_dmarc(&post.resolver, &place.1).await.or_none() else {
            return Ok(());
        };
        let to = self.foreign(to);
        let count = self.inner.tally().get(place);
        if let Some(count) = count.filter(|_| !to.is_empty()) {
            let from = post.from()?;
            let letter = post.letter(place, &from, &to, now);
            self.hand_in(post, &letter.dmarc(&count)?, &to, now).await?;
        }
        self.inner.tally().done(place);
        self.save().await
    }

    async fn send_tls(
        &self,
        post: &Post,
        place: (Date, Domain),
        seen: &TlsSeen,
        oldest: Date,
        now: Timestamp,
    ) -> Result<(), ReportsError> {
        let Answer::Yes(to) = wanted_tls(&post.resolver, &place.1).await.or_none() else {
            return Ok(());
        };
        let to = self.foreign(to);
        if !to.is_empty() {
            let from = post.from()?;
            let letter = post.letter(&place, &from, &to, now);
            self.hand_in(post, &letter.tls(seen)?, &to, now).await?;
        }
        self.inner.tally().tls_done(place, oldest);
        self.save().await
    }

    /// Reports to ourselves would come back in as reports.
    fn foreign(&self, mut to: Vec<Address>) -> Vec<Address> {
        to.retain(|to| !self.inner.accounts.is_ours(to.domain()));
        to.truncate(MOST_ADDRESSES);
        to
    }

    async fn hand_in(
        &self,
        post: &Post,
        message: &[u8],
        to: &[Address],
        now: Timestamp,
    ) -> Result<(), ReportsError> {
        let mut body = self.inner.store.new_body();
        body.write(message).await?;
        let incoming = Incoming {
            // Nobody shall be told when it comes back.
            envelope: Envelope::new(ReversePath::Null, to.iter().cloned()),
            trace: Vec::new(),
            body: body.finish().await?,
            source: Source::Own,
            received: now,
            judge: None,
        };
        post.queue.accept(incoming).await?;
        self.inner.tally().one_more(day_of(now));
        Ok(())
    }
}

impl Post {
    /// Whether a domain's time has come: some hours after midnight, for each its own, so that not
    /// all boxes write at once.
    fn may_send(&self, about: &Domain, today: Date, now: Timestamp) -> bool {
        let hash = blake3::hash(format!("{}\n{about}", self.hostname).as_bytes());
        let number = hash.as_bytes().iter().take(4).fold(0_u64, |sum, b| sum << 8 | u64::from(*b));
        let seconds = i64::try_from(number % (HOURS * 3600)).unwrap_or_default();
        let Ok(midnight) = today.to_zoned(TimeZone::UTC) else { return false };
        let wait = SignedDuration::from_hours(FIRST_HOUR) + SignedDuration::from_secs(seconds);
        !self.hold && now.duration_since(midnight.timestamp()) >= wait
    }

    fn from(&self) -> Result<Address, ReportsError> {
        let address = format!("{REPORT_ADDRESS}@{}", self.domain).parse();
        address.map_err(|error| ReportsError::Write(std::io::Error::other(error)))
    }

    fn letter<'a>(
        &'a self,
        (day, about): &'a (Date, Domain),
        from: &'a Address,
        to: &'a [Address],
        at: Timestamp,
    ) -> Letter<'a> {
        let reporter = Reporter { name: &self.domain, from, hostname: &self.hostname };
        Letter { reporter, about, day: *day, to, at }
    }
}

impl Answer<Vec<Address>> {
    /// That there is no record is an answer too: nobody wants to be told.
    fn or_none(self) -> Self {
        match self {
            Self::No(_) => Self::Yes(Vec::new()),
            other => other,
        }
    }
}

/// Who wants DMARC reports about a domain (RFC 9990 §4): addresses of its own, and others that agree
/// to it in the DNS.
async fn wanted_dmarc(resolver: &Resolver, domain: &Domain) -> Answer<Vec<Address>> {
    let Ok(name) = domain.child("_dmarc") else { return Answer::Yes(Vec::new()) };
    let texts = match resolver.txt(&name).await {
        Answer::Yes(texts) => texts,
        Answer::No(absence) => return Answer::No(absence),
        Answer::CouldNotTell(why) => return Answer::CouldNotTell(why),
    };
    let mut agreed = Vec::new();
    for address in addresses(&texts, "DMARC1") {
        let outside = address.domain();
        let below = outside.as_str().strip_suffix(domain.as_str());
        if below.is_some_and(|below| below.is_empty() || below.ends_with('.')) {
            agreed.push(address);
            continue;
        }
        let Ok(name) = outside.child(&format!("{domain}._report._dmarc")) else { continue };
        match resolver.txt(&name).await {
            Answer::Yes(texts) if texts.iter().any(|text| is_version(text, "DMARC1")) => {
                // It may name another address of its own.
                let mut others = addresses(&texts, "DMARC1").into_iter();
                let other = others.find(|other| other.domain() == outside);
                agreed.push(other.unwrap_or(address));
            }
            Answer::Yes(_) | Answer::No(_) => {}
            Answer::CouldNotTell(why) => return Answer::CouldNotTell(why),
        }
    }
    Answer::Yes(agreed)
}

/// Who wants TLS reports about a domain (RFC 8460 §3). Only addresses: a report by HTTPS would make
/// this box a browser for strangers.
async fn wanted_tls(resolver: &Resolver, domain: &Domain) -> Answer<Vec<Address>> {
    let Ok(name) = domain.child("_smtp._tls") else { return Answer::Yes(Vec::new()) };
    resolver.txt(&name).await.map(|texts| addresses(&texts, "TLSRPTv1"))
}

/// The addresses in `rua=` of the one record of this version; several records are as good as none.
fn addresses(texts: &[String], version: &str) -> Vec<Address> {
    let mut records = texts.iter().filter(|text| is_version(text, version));
    let (Some(record), None) = (records.next(), records.next()) else { return Vec::new() };
    let rua = record.split(';').find_map(|tag| {
        let (name, value) = tag.split_once('=')?;
        (name.trim() == "rua").then_some(value)
    });
    let addresses = rua.unwrap_or_default().split(',').take(MOST_LOOKED_AT).filter_map(|uri| {
        let uri = uri.trim();
        let scheme = uri.get(..7)?;
        let rest = scheme.eq_ignore_ascii_case("mailto:").then(|| uri.get(7..))??;
        // A size after `!` (RFC 7489 §6.2), or a subject after `?`: neither matters.
        let address = rest.split(['!', '?']).next()?;
        unescaped(address)?.parse().ok()
    });
    addresses.collect()
}

fn is_version(text: &str, version: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(name, value)| name.trim() == "v" && value.trim() == version)
}

/// Percent-encoding undone (RFC 6068 §2); nothing when it is broken.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_first_chunk::<2>()?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}
