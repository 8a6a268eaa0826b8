//! A search as it is carried out: what the message's row can tell is asked first, then the index,
//! and only what neither knows is read.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::test::Test;
use super::text::Text;
use crate::imap::command::{Ranges, SearchKey, SequenceSet};
use crate::imap::render::Source;
use crate::mail::structure;
use crate::search::{Facts, Field, Hits, Index, Needs, Verdict, texts};
use crate::store::{BodyId, Message, ThreadId};

/// Most different texts looked up in the index; for further ones messages are read.
const MAX_TEXTS: usize = 64;

/// What the words of a search mean at this moment and in this mailbox.
pub(in crate::imap) struct Context {
    pub(in crate::imap) now: Timestamp,
    /// What `$` stands for, as UIDs.
    pub(in crate::imap) saved: Arc<Ranges>,
    /// What `*` stands for.
    pub(in crate::imap) last_number: u32,
    pub(in crate::imap) last_uid: u32,
}

/// A search key with what the index says to its texts.
pub(in crate::imap) enum Plan {
    /// Decided by the message's row.
    Row(Test),
    Text(Looked),
    /// The day the sender wrote, against this one.
    Sent(fn(Ordering) -> bool, Date),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    And(Vec<Self>),
}

/// A text, and the bodies that hold it.
pub(in crate::imap) struct Looked {
    place: Place,
    text: String,
    /// Bodies that have it there, and those that have it in their text parts.
    hits: Option<Arc<Hits>>,
    in_body: Option<Arc<Hits>>,
}

/// Where a text shall be.
enum Place {
    /// In a header field of this name.
    Field(String),
    Body,
    Anywhere,
}

/// A message as far as its row tells of it, with its number.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) number: u32,
    pub(super) facts: Facts<'a>,
    /// Its own first fields, once they are at hand.
    pub(super) message: Option<&'a Message>,
}

impl Plan {
    /// Asks the index for all texts of a key.
    pub(in crate::imap) fn new(key: &SearchKey, context: &Context, index: &Index) -> Self {
        Lookup { index, context, known: HashMap::new() }.plan(key)
    }

    /// Whether a message matches; with all of its row, less is left open.
    pub(super) fn judge(&self, candidate: &Candidate<'_>) -> Verdict {
        match self {
            Self::Row(test) => verdict(test.matches(candidate.number, &candidate.facts)),
            Self::Text(looked) => looked.judge(candidate),
            Self::Sent(..) => Verdict::Maybe,
            Self::Not(plan) => match plan.judge(candidate) {
                Verdict::Yes => Verdict::No,
                Verdict::No => Verdict::Yes,
                Verdict::Maybe => Verdict::Maybe,
            },
            Self::Or(one, other) => match one.judge(candidate) {
                Verdict::Yes => Verdict::Yes,
                Verdict::No => other.judge(candidate),
                Verdict::Maybe => match other.judge(candidate) {
                    Verdict::Yes => Verdict::Yes,
                    _ => Verdict::Maybe,
                },
            },
            Self::And(plans) => {
                let mut all = Verdict::Yes;
                for plan in plans {
                    match plan.judge(candidate) {
                        Verdict::Yes => {}
                        Verdict::No => return Verdict::No,
                        Verdict::Maybe => all = Verdict::Maybe,
                    }
                }
                all
            }
        }
    }

    /// Decides by reading what is open.
    pub(super) fn read<S: Source>(
        &self,
        candidate: &Candidate<'_>,
        text: &mut Text<'_, S>,
    ) -> io::Result<bool> {
        match self.judge(candidate) {
            Verdict::Yes => return Ok(true),
            Verdict::No => return Ok(false),
            Verdict::Maybe => {}
        }
        Ok(match self {
            Self::Row(_) => false,
            Self::Text(looked) => match &looked.place {
                Place::Field(name) => text.has_field(name, &looked.text)?,
                Place::Body => text.find(&looked.text)?.in_body,
                Place::Anywhere => {
                    let found = text.find(&looked.text)?;
                    found.in_header || found.in_body
                }
            },
            Self::Sent(fits, date) => text.sent()?.is_some_and(|sent| fits(sent.cmp(date))),
            Self::Not(plan) => !plan.read(candidate, text)?,
            Self::Or(one, other) => one.read(candidate, text)? || other.read(candidate, text)?,
            Self::And(plans) => {
                for plan in plans {
                    if !plan.read(candidate, text)? {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }

    /// The texts that are looked for in whole messages.
    pub(super) fn needles<'a>(&'a self, needles: &mut Vec<&'a str>) {
        match self {
            Self::Text(Looked { place: Place::Body | Place::Anywhere, text, .. }) => {
                needles.push(text);
            }
            Self::Row(_) | Self::Text(_) | Self::Sent(..) => {}
            Self::Not(plan) => plan.needles(needles),
            Self::Or(one, other) => {
                one.needles(needles);
                other.needles(needles);
            }
            Self::And(plans) => plans.iter().for_each(|plan| plan.needles(needles)),
        }
    }

    /// What has to be known of every message to decide.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Row(test) => test.needs(),
            Self::Text(_) => Needs { bodies: true, ..Needs::default() },
            Self::Sent(..) => Needs::default(),
            Self::Not(plan) => plan.needs(),
            Self::Or(one, other) => one.needs().and(other.needs()),
            Self::And(plans) => plans.iter().map(Self::needs).fold(Needs::default(), Needs::and),
        }
    }

    /// How dear it is to decide: by the row, by the index, by a header, by the whole message.
    fn cost(&self) -> u8 {
        match self {
            Self::Row(_) => 0,
            Self::Text(Looked { place: Place::Field(_), .. }) => 1,
            Self::Sent(..) => 2,
            Self::Text(_) => 3,
            Self::Not(plan) => plan.cost(),
            Self::Or(one, other) => one.cost().max(other.cost()),
            Self::And(plans) => plans.iter().map(Self::cost).max().unwrap_or(0),
        }
    }
}

impl Looked {
    fn judge(&self, candidate: &Candidate<'_>) -> Verdict {
        let Facts { body, is_body, .. } = candidate.facts;
        let ask =
            |hits: &Option<Arc<Hits>>| hits.as_ref().map_or(Verdict::Maybe, |h| h.verdict(body));
        if is_body || matches!(self.place, Place::Body) {
            return ask(&self.hits);
        }
        // Its first fields are its own, and the body may have some that it has not.
        if self.in_body.is_some() && ask(&self.in_body) == Verdict::Yes {
            return Verdict::Yes;
        }
        match candidate.message {
            Some(message) if self.in_prefix(message) => Verdict::Yes,
            Some(_) if ask(&self.hits) == Verdict::No => Verdict::No,
            _ => Verdict::Maybe,
        }
    }

    fn in_prefix(&self, message: &Message) -> bool {
        structure::fields(message.content.own_prefix()).any(|field| {
            let here = match &self.place {
                Place::Field(name) => field.name.eq_ignore_ascii_case(name.as_bytes()),
                Place::Body => false,
                Place::Anywhere => true,
            };
            here && texts::field_text(field.name, field.value).contains(&self.text)
        })
    }
}

fn verdict(matches: bool) -> Verdict {
    if matches { Verdict::Yes } else { Verdict::No }
}

/// The index being asked, each text once.
struct Lookup<'a> {
    index: &'a Index,
    context: &'a Context,
    known: HashMap<(Option<&'a str>, bool, &'a str), Arc<Hits>>,
}

impl<'a> Lookup<'a> {
    fn plan(&mut self, key: &'a SearchKey) -> Plan {
        match key {
            SearchKey::Body(text) => self.body(text),
            SearchKey::Text(text) => self.text(text),
            SearchKey::Subject(text) => self.named("subject", text),
            SearchKey::Address(field, text) => self.named(field.name(), text),
            SearchKey::Header(name, text) => self.named(name, text),
            SearchKey::SentBefore(date) => Plan::Sent(Ordering::is_lt, *date),
            SearchKey::SentOn(date) => Plan::Sent(Ordering::is_eq, *date),
            SearchKey::SentSince(date) => Plan::Sent(Ordering::is_ge, *date),
            SearchKey::Not(key) => Plan::Not(Box::new(self.plan(key))),
            SearchKey::Or(one, other) => {
                Plan::Or(Box::new(self.plan(one)), Box::new(self.plan(other)))
            }
            SearchKey::And(keys) => {
                let mut plans: Vec<Plan> = keys.iter().map(|key| self.plan(key)).collect();
                // Cheap keys first: most messages are ruled out without being read.
                plans.sort_by_key(Plan::cost);
                Plan::And(plans)
            }
            key => Plan::Row(self.test(key)),
        }
    }

    /// A key that only the row has to be asked for.
    fn test(&self, key: &SearchKey) -> Test {
        let Context { now, saved, last_number, last_uid } = self.context;
        let numbers = |set: &SequenceSet, last: u32, given: fn(Arc<Ranges>) -> Test| match set {
            SequenceSet::Given(ranges) => given(Arc::new(ranges.resolved(last))),
            SequenceSet::Saved => Test::Uids(Arc::clone(saved)),
        };
        let ago = |seconds: u32| now.as_second() - i64::from(seconds);
        match key {
            SearchKey::All => Test::All,
            SearchKey::Flag(flag) => Test::Flag(flag.clone()),
            SearchKey::Numbers(set) => numbers(set, *last_number, Test::Numbers),
            SearchKey::Uids(set) => numbers(set, *last_uid, Test::Uids),
            // Without regard to the time zone (RFC 3501 §6.4.4); ours is universal time.
            SearchKey::Before(date) => Test::Received(i64::MIN..midnight(*date)),
            SearchKey::On(date) => Test::Received(midnight(*date)..midnight(*date) + DAY),
            SearchKey::Since(date) => Test::Received(midnight(*date)..i64::MAX),
            SearchKey::SavedBefore(date) => Test::Saved(i64::MIN..midnight(*date)),
            SearchKey::SavedOn(date) => Test::Saved(midnight(*date)..midnight(*date) + DAY),
            SearchKey::SavedSince(date) => Test::Saved(midnight(*date)..i64::MAX),
            // Both take in the second itself (RFC 5032 §2).
            SearchKey::Older(seconds) => Test::Received(i64::MIN..ago(*seconds) + 1),
            SearchKey::Younger(seconds) => Test::Received(ago(*seconds)..i64::MAX),
            SearchKey::Larger(size) => Test::Larger(*size),
            SearchKey::Smaller(size) => Test::Smaller(*size),
            SearchKey::ModSeq(modseq) => Test::ModSeq(*modseq),
            SearchKey::EmailId(id) => Test::Email(BodyId::from_email_id(id)),
            SearchKey::ThreadId(id) => Test::Thread(ThreadId::from_thread_id(id)),
            _ => Test::Nothing,
        }
    }

    fn body(&mut self, text: &'a str) -> Plan {
        let hits = self.find(Field::Body, text);
        Plan::Text(Looked { place: Place::Body, text: text.to_owned(), hits, in_body: None })
    }

    fn text(&mut self, text: &'a str) -> Plan {
        let in_body = self.find(Field::Body, text);
        let hits = self.find(Field::Text, text);
        Plan::Text(Looked { place: Place::Anywhere, text: text.to_owned(), hits, in_body })
    }

    fn named(&mut self, name: &'a str, text: &'a str) -> Plan {
        let hits = self.find(Field::Named(name), text);
        let place = Place::Field(name.to_owned());
        Plan::Text(Looked { place, text: text.to_owned(), hits, in_body: None })
    }

    fn find(&mut self, field: Field<'a>, text: &'a str) -> Option<Arc<Hits>> {
        let key = match field {
            Field::Named(name) => (Some(name), false, text),
            Field::Body => (None, true, text),
            Field::Text => (None, false, text),
        };
        if let Some(known) = self.known.get(&key) {
            return Some(Arc::clone(known));
        }
        if self.known.len() >= MAX_TEXTS {
            return None;
        }
        let hits = Arc::new(self.index.find(field, text));
        self.known.insert(key, Arc::clone(&hits));
        Some(hits)
    }
}

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// The first second of a day, since 1970.
fn midnight(date: Date) -> i64 {
    date.to_zoned(jiff::tz::TimeZone::UTC).map_or(i64::MAX - DAY, |day| day.timestamp().as_second())
}
