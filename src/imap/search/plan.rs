//! What the index and the message's row can tell of a search, without the message's bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Candidate;
use crate::imap::command::SearchKey;
use crate::imap::view::Target;
use crate::mail::structure;
use crate::search::{Field, Hits, Index, Verdict};
use crate::store::{BodyId, Held, Message};

/// Most different texts looked up in the index; for further ones messages are read.
const MAX_TEXTS: usize = 64;

/// Where a message's bytes are, as far as the search index needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::imap) struct Body {
    pub(in crate::imap) id: BodyId,
    /// Whether the message is its body's bytes and nothing else.
    pub(in crate::imap) is_all: bool,
}

impl From<&Message> for Body {
    fn from(message: &Message) -> Self {
        Self { id: message.content.body, is_all: message.content.is_body() }
    }
}

impl From<Held> for Body {
    fn from(held: Held) -> Self {
        Self { id: held.body, is_all: held.is_body }
    }
}

/// A search key with what the index says to its texts.
pub(in crate::imap) enum Plan {
    Text(Looked),
    /// Decided by the message's row, or by reading.
    Other(SearchKey),
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

impl Plan {
    /// Asks the index for all texts of a key.
    pub(in crate::imap) fn new(key: &SearchKey, index: &Index) -> Self {
        Lookup { index, known: HashMap::new() }.plan(key)
    }

    /// Whether a message matches; with its row, less is left open.
    pub(in crate::imap) fn judge(
        &self,
        target: Target,
        body: Body,
        message: Option<&Message>,
    ) -> Verdict {
        match self {
            Self::Text(looked) => looked.judge(body, message),
            Self::Other(SearchKey::Numbers(set)) => verdict(set.contains(target.number)),
            Self::Other(SearchKey::Uids(set)) => verdict(set.contains(target.uid.get())),
            Self::Other(SearchKey::All) => Verdict::Yes,
            Self::Other(SearchKey::Nothing) => Verdict::No,
            Self::Other(key) => {
                let candidate = message.map(|message| Candidate { target, message });
                let known = candidate.and_then(|candidate| candidate.matches_unread(key));
                known.map_or(Verdict::Maybe, verdict)
            }
            Self::Not(plan) => match plan.judge(target, body, message) {
                Verdict::Yes => Verdict::No,
                Verdict::No => Verdict::Yes,
                Verdict::Maybe => Verdict::Maybe,
            },
            Self::Or(one, other) => match one.judge(target, body, message) {
                Verdict::Yes => Verdict::Yes,
                Verdict::No => other.judge(target, body, message),
                Verdict::Maybe => match other.judge(target, body, message) {
                    Verdict::Yes => Verdict::Yes,
                    _ => Verdict::Maybe,
                },
            },
            Self::And(plans) => {
                let mut all = Verdict::Yes;
                for plan in plans {
                    match plan.judge(target, body, message) {
                        Verdict::Yes => {}
                        Verdict::No => return Verdict::No,
                        Verdict::Maybe => all = Verdict::Maybe,
                    }
                }
                all
            }
        }
    }
}

impl Looked {
    fn judge(&self, body: Body, message: Option<&Message>) -> Verdict {
        let ask = |hits: &Option<Arc<Hits>>| {
            hits.as_ref().map_or(Verdict::Maybe, |hits| hits.verdict(body.id))
        };
        if body.is_all || matches!(self.place, Place::Body) {
            return ask(&self.hits);
        }
        // Its first fields are its own, and the body may have some that it has not.
        if self.in_body.is_some() && ask(&self.in_body) == Verdict::Yes {
            return Verdict::Yes;
        }
        match message {
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
            here && structure::header_text(field.value).to_lowercase().contains(&self.text)
        })
    }
}

fn verdict(matches: bool) -> Verdict {
    if matches { Verdict::Yes } else { Verdict::No }
}

/// The index being asked, each text once.
struct Lookup<'a> {
    index: &'a Index,
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
            SearchKey::Not(key) => Plan::Not(Box::new(self.plan(key))),
            SearchKey::Or(one, other) => {
                Plan::Or(Box::new(self.plan(one)), Box::new(self.plan(other)))
            }
            SearchKey::And(keys) => Plan::And(keys.iter().map(|key| self.plan(key)).collect()),
            key => Plan::Other(key.clone()),
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
