//! Rules written by hand: what speaks for junk and what against it, each with its points and its
//! reason. They are all there is before an account has learned anything; the marks are those of
//! [`super::score::Marks`]: 50 points are junk.

use jiff::SignedDuration;

use super::facts::{Facts, Harm};
use super::phrases::Topic;
use super::score::Score;
use super::signals::{Dkim, Dmarc, Helo, Rdns, Signals, Spf, Wish};
use crate::policy::dnsbl::{Finding, Listing};

/// What is known of the sender by the account the message is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acquaintance {
    /// The account has written to the `From` address.
    pub correspondent: bool,
    /// The message answers one that the account sent.
    pub answer: bool,
}

/// All that rules judge by.
pub(super) struct Case<'a> {
    pub(super) signals: &'a Signals,
    pub(super) facts: &'a Facts,
    pub(super) known: Acquaintance,
}

impl Case<'_> {
    /// The most that a classifier may add to what rules find. Codes come from strangers, rarely and
    /// all at once: whoever learns from letters and junk has learned nothing of them, and a person
    /// who waits for one does not look into Junk.
    pub(super) fn most_learned(&self) -> i32 {
        match self.is_awaited() {
            true if self.signals.proves_sender() => 20,
            true => 40,
            false => i32::MAX,
        }
    }

    /// Whether it is short, harmless and speaks of a code or of a confirmation.
    fn is_awaited(&self) -> bool {
        let Facts { text, subject_text, links, attachments, .. } = self.facts;
        text.phrases.of(Topic::SignUp) + subject_text.phrases.of(Topic::SignUp) > 0
            && text.words < 400
            && attachments.is_empty()
            && links.misleading + links.numbers + links.users == 0
            && !self.signals.doubts_sender()
    }
}

/// Adds what the rules find.
pub(super) fn judge(case: &Case<'_>, score: &mut Score) {
    for (points, reason, holds) in RULES {
        if holds(case) {
            score.add(*points, *reason);
        }
    }
    for (topic, few, many, reason) in TOPICS {
        let text = &case.facts.text;
        let subject = case.facts.subject_text.phrases.of(*topic).saturating_mul(2);
        let found = text.phrases.of(*topic).saturating_add(subject);
        // A long text meets some by chance.
        let chance = u16::try_from(text.words / 200).unwrap_or(u16::MAX);
        match found.saturating_sub(chance) {
            0 => {}
            1 => score.add(*few, *reason),
            2 | 3 => score.add((few + many) / 2, *reason),
            _ => score.add(*many, *reason),
        }
    }
    listed(&case.signals.lists, "the sender is", score);
    listed(&case.signals.link_lists, "a link leads to a name that is", score);
}

/// What lists say. They copy from each other: the first counts wholly, others by half.
fn listed(findings: &[Finding], whose: &str, score: &mut Score) {
    let mut before = false;
    for finding in findings {
        if let Listing::Listed { points, meaning } = &finding.listing {
            let again = before && *points > 0;
            before |= *points > 0;
            score.add(if again { points / 2 } else { *points }, format!("{whose} {meaning}"));
        }
    }
}

type Rule = (i32, &'static str, fn(&Case<'_>) -> bool);

const RULES: &[Rule] = &[
    // Who the sender is.
    (60, "the sender's domain wants mail refused that it cannot be proved to have sent", |c| {
        c.signals.dmarc == Dmarc::Fail(Wish::Reject) && !c.signals.vouched
    }),
    (50, "the sender's domain calls mail suspicious that it cannot be proved to have sent", |c| {
        c.signals.dmarc == Dmarc::Fail(Wish::Quarantine) && !c.signals.vouched
    }),
    (50, "it names its author so that nobody can tell whose wish counts", |c| {
        c.signals.dmarc == Dmarc::Hidden && !c.signals.vouched
    }),
    (10, "nothing proves that the sender's domain sent it", |c| {
        c.signals.dmarc == Dmarc::Fail(Wish::None) && !c.signals.vouched
    }),
    (20, "the sender's domain says that this server may not send for it", |c| {
        c.signals.spf == Spf::Fail && c.signals.dkim != Dkim::Pass && !c.signals.vouched
    }),
    (8, "the sender's domain doubts that this server may send for it", |c| {
        c.signals.spf == Spf::SoftFail && c.signals.dkim != Dkim::Pass && !c.signals.vouched
    }),
    (8, "the sender's domain is proved by nothing", |c| {
        c.signals.spf == Spf::Neutral && c.signals.dkim == Dkim::Absent
    }),
    (5, "its signature is broken", |c| c.signals.dkim == Dkim::Fail && !c.signals.vouched),
    (-5, "the sender's domain is proved", |c| c.signals.proves_sender()),
    (20, "the sending machine has no name", |c| c.signals.rdns == Rdns::Missing),
    (12, "the sending machine's name is not its own", |c| c.signals.rdns == Rdns::Unconfirmed),
    (20, "it comes from a connection of the kind that homes have", |c| {
        c.signals.rdns == Rdns::Generic
    }),
    (10, "the sending machine does not say its name", |c| c.signals.helo == Helo::NoName),
    (40, "the sending machine says that it is this box", |c| c.signals.helo == Helo::Ours),
    // Whom the account knows.
    (-70, "you have written to the sender", |c| c.known.correspondent && c.signals.proves_sender()),
    (-30, "you have written to the sender's address", |c| {
        c.known.correspondent && !c.signals.proves_sender() && !c.signals.doubts_sender()
    }),
    (-70, "it answers a message of yours", |c| c.known.answer && !c.signals.doubts_sender()),
    (-30, "it refers to a message of yours", |c| c.known.answer && c.signals.doubts_sender()),
    (-30, "it came to the address that you made for its sender", |c| {
        c.facts.tagged_for_sender && !c.signals.doubts_sender()
    }),
    (-10, "it comes from a mailing list that signs its mail", |c| {
        c.facts.list && c.signals.dkim == Dkim::Pass
    }),
    (-30, "it brings a code or a confirmation that somebody asked for", |c| {
        c.is_awaited() && c.signals.proves_sender()
    }),
    (-15, "it seems to bring a code or a confirmation that somebody asked for", |c| {
        c.is_awaited() && !c.signals.proves_sender()
    }),
    // How the message is made.
    (25, "nobody is named as its author", |c| c.facts.from.is_none()),
    (12, "it has several authors", |c| c.facts.authors > 1),
    (15, "it has no date", |c| !c.facts.has_date),
    (25, "its date cannot be read", |c| c.facts.has_date && c.facts.date.is_none()),
    (20, "its date lies ahead", |c| {
        age(c).is_some_and(|age| age < -SignedDuration::from_hours(26))
    }),
    (10, "its date is long past", |c| {
        age(c).is_some_and(|age| age > SignedDuration::from_hours(24 * 30))
    }),
    (12, "it has no Message-ID", |c| !c.facts.has_message_id),
    (12, "its header is malformed", |c| c.facts.malformed),
    (12, "its header holds bytes that belong to no alphabet", |c| c.facts.raw_bytes),
    (4, "it is addressed to nobody", |c| !c.facts.has_recipients),
    (15, "it is addressed to very many", |c| c.facts.recipients > 20),
    (15, "the sender's name is another sender's address", |c| c.facts.name_is_address),
    (5, "answers go to another domain", |c| c.facts.replies_elsewhere.is_some() && !c.facts.list),
    (15, "its subject is written in capitals", |c| {
        let text = &c.facts.subject_text;
        text.shouted >= 2 && text.shouted * 10 >= text.words * 7
    }),
    (15, "it calls itself an answer and answers nothing", |c| {
        c.facts.says_reply
            && c.facts.references.is_empty()
            && !c.facts.list
            && c.facts.html_parts > 0
    }),
    (12, "much of it is written in capitals", |c| {
        c.facts.text.words >= 40 && c.facts.text.shouted * 5 >= c.facts.text.words
    }),
    (10, "it has only HTML, no plain text", |c| c.facts.html_parts > 0 && c.facts.plain_parts == 0),
    (20, "it is little more than a picture", |c| {
        c.facts.images > 0 && c.facts.html_text + c.facts.plain_text < 200
    }),
    (10, "it holds text that cannot be seen", |c| {
        c.facts.hidden_text > 200 && c.facts.hidden_text > c.facts.html_text
    }),
    (30, "its words are cut by what cannot be seen", |c| c.facts.splices >= 3),
    (8, "it holds a form to fill in", |c| c.facts.form),
    (5, "it holds a program or a foreign page", |c| c.facts.script),
    // Where it leads.
    (25, "a link leads to a bare number", |c| c.facts.links.numbers > 0),
    (20, "a link hides where it leads", |c| c.facts.links.users > 0),
    (10, "a link shows another address than it leads to", |c| {
        let detours = if c.signals.proves_sender() { 0 } else { c.facts.links.detours };
        c.facts.links.misleading + detours > 0 && !c.facts.list && !c.facts.unsubscribe
    }),
    (4, "a link leads through a service that hides its target", |c| c.facts.links.shortened > 0),
    (8, "a link leads to a name in letters that look like others", |c| c.facts.links.punycode > 0),
    // What it brings.
    (70, "a program is attached", |c| c.facts.attachments.contains(&Harm::Program)),
    (100, "a program is attached that is named like a document", |c| {
        c.facts.attachments.contains(&Harm::Disguised)
    }),
    (25, "a document with programs inside is attached", |c| {
        c.facts.attachments.contains(&Harm::Macros)
    }),
    (25, "a page of HTML is attached", |c| c.facts.attachments.contains(&Harm::Page)),
    (30, "a disk image or a rare archive is attached", |c| {
        c.facts.attachments.contains(&Harm::Image)
    }),
    // How it is written.
    (300, "it holds the line with which filters are tested (GTUBE)", |c| {
        c.facts.text.test_line || c.facts.subject_text.test_line
    }),
    (25, "words are spelled with letters of other scripts", |c| {
        c.facts.text.mixed + c.facts.subject_text.mixed >= 2
    }),
    (15, "words are disguised", |c| {
        c.facts.text.disguised + 2 * c.facts.subject_text.disguised >= 3
    }),
    (10, "words hold characters that cannot be seen", |c| {
        c.facts.subject_text.invisible > 0 || c.facts.text.invisible >= 40
    }),
    (6, "words are written with gaps", |c| c.facts.text.apart + c.facts.subject_text.apart >= 2),
];

/// Topic, points for one phrase and for many, reason.
const TOPICS: &[(Topic, i32, i32, &str)] = &[
    (Topic::Fortune, 6, 50, "it speaks of a fortune for you"),
    (Topic::Money, 8, 45, "it speaks of easy money or loans"),
    (Topic::Pills, 6, 40, "it offers medicine"),
    (Topic::Adult, 4, 40, "it offers sex"),
    (Topic::Gambling, 8, 45, "it invites to gamble"),
    (Topic::Account, 6, 25, "it wants an account confirmed"),
    (Topic::Extortion, 8, 45, "it threatens"),
    (Topic::Stocks, 5, 25, "it promises profit from shares or coins"),
    (Topic::Selling, 3, 24, "it urges to buy"),
    (Topic::Bulk, 4, 20, "it excuses itself for being bulk mail"),
];

fn age(case: &Case<'_>) -> Option<SignedDuration> {
    Some(case.signals.now?.duration_since(case.facts.date?))
}
