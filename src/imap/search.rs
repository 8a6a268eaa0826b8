//! SEARCH (RFC 3501 §6.4.4, RFC 9051 §6.4.4), SORT and THREAD (RFC 5256 §3): the commands and their
//! answers, and what stays for `$` (RFC 5182). `look` finds the messages; `sort` and `thread` put
//! them in order.

use std::sync::Arc;

use crate::mail::ModSeq;

use super::command::{Program, Ranges, ResultItem, Results, Search, SearchKey, SequenceSet, Tag};
use super::question::{Found, SearchJob};
use super::respond::number_set;
use super::session::{Session, State};
use super::view::Expunges;

mod look;
mod plan;
mod test;
mod text;

pub(super) use look::Match;
pub(super) use text::read_header;

/// Most stretches of messages kept for `$`: 16 bytes each, in every session.
const MOST_SAVED: usize = 1 << 14;

impl Session {
    pub(super) fn search(&mut self, tag: Tag, search: Search) {
        let State::Selected(_, view) = &self.state else { return };
        let Search { uid, program, mut results, key } = search;
        // RFC 9051 §6.4.4: without options, ALL.
        if results.is_none() && program == Program::Search && self.enabled.rev2 {
            results = Some(Results::all());
        }
        let with_modseq = key.has(&|key| matches!(key, SearchKey::ModSeq(_)));
        let by_number = key.has(&|key| matches!(key, SearchKey::Numbers(SequenceSet::Given(_))));
        // Numbers in the keys keep their meaning, too (RFC 7162 §3.2.10.2).
        let news = if uid && !by_number { Expunges::Told } else { Expunges::Held };
        let job = SearchJob {
            mailbox: view.mailbox,
            tag: tag.as_str().to_owned(),
            uid,
            key,
            program: program.clone(),
            saved: Arc::clone(&view.saved),
            targets: view.all(),
        };
        if with_modseq {
            // RFC 7162 §3.1: whoever asks for it knows what it is.
            self.enable_condstore();
        }
        self.ask_search(job, move |session, answer| match answer {
            Ok(found) => {
                let found = Answer { uid, with_modseq, found, news };
                session.found(&tag, &program, results.as_ref(), &found);
            }
            Err(error) => {
                if results.as_ref().is_some_and(Results::saves) {
                    session.save(Ranges::default());
                }
                session.failed(&tag, &error);
            }
        });
    }

    fn found(&mut self, tag: &Tag, program: &Program, results: Option<&Results>, answer: &Answer) {
        if let Some(results) = results.filter(|results| results.saves()) {
            let ranges = answer.stretches(results);
            if ranges.len() > MOST_SAVED {
                self.save(Ranges::default());
                // RFC 5182 §2.5.
                return self.no(tag, "[NOTSAVED] Too many separate messages to keep");
            }
            self.save(Ranges::of(ranges));
        }
        match (results, &answer.found) {
            (Some(results), Found::Messages(_)) if results.is_silent() => {}
            (Some(results), Found::Messages(matches)) => {
                let line = answer.extended(tag, results, matches);
                self.out.line(&line);
            }
            (_, Found::Messages(matches)) => {
                self.out.raw(if *program == Program::Search { "* SEARCH" } else { "* SORT" });
                for found in matches {
                    self.out.raw(" ").number(answer.number(found));
                }
                if let Some(ModSeq(highest)) = answer.modseq(matches) {
                    self.out.raw(" (MODSEQ ").number(highest).raw(")");
                }
                self.out.raw("\r\n");
            }
            (_, Found::Threads(threads)) => {
                let blank = if threads.is_empty() { "" } else { " " };
                self.out.raw("* THREAD").raw(blank).raw(threads).raw("\r\n");
            }
        }
        let done = match program {
            Program::Search => "SEARCH completed",
            Program::Sort(_) => "SORT completed",
            Program::Thread(_) => "THREAD completed",
        };
        self.finish(tag, done, Some(answer.news));
    }

    /// Sets what `$` stands for.
    pub(super) fn save(&mut self, ranges: Ranges) {
        if let State::Selected(_, view) = &mut self.state {
            view.saved = Arc::new(ranges);
        }
    }
}

impl SearchKey {
    /// Whether such a key is among them.
    fn has(&self, such: &impl Fn(&Self) -> bool) -> bool {
        such(self)
            || match self {
                Self::Not(key) => key.has(such),
                Self::Or(one, other) => one.has(such) || other.has(such),
                Self::And(keys) => keys.iter().any(|key| key.has(such)),
                _ => false,
            }
    }
}

/// What was found, on its way to the client.
struct Answer {
    uid: bool,
    with_modseq: bool,
    found: Found,
    news: Expunges,
}

impl Answer {
    fn number(&self, found: &Match) -> u32 {
        if self.uid { found.uid.get() } else { found.number }
    }

    /// An ESEARCH response (RFC 4731 §3.1, RFC 9051 §7.3.4). The tag is a quoted string: Outlook
    /// takes no atom there.
    fn extended(&self, tag: &Tag, results: &Results, matches: &[Match]) -> String {
        let mut line = format!("ESEARCH (TAG \"{}\")", tag.as_str());
        if self.uid {
            line.push_str(" UID");
        }
        let mut item = |name: &str, value: &str| line.extend([" ", name, " ", value]);
        let set = |some: &[Match]| number_set(some.iter().map(|found| self.number(found)));
        if let Some(first) = matches.first().filter(|_| results.has(ResultItem::Min)) {
            item("MIN", &self.number(first).to_string());
        }
        if let Some(last) = matches.last().filter(|_| results.has(ResultItem::Max)) {
            item("MAX", &self.number(last).to_string());
        }
        if results.has(ResultItem::All) && !matches.is_empty() {
            item("ALL", &set(matches));
        }
        if let Some(range) = results.partial() {
            let page = matches.get(range.within(matches.len())).unwrap_or_default();
            let page = if page.is_empty() { "NIL".to_owned() } else { set(page) };
            item("PARTIAL", &format!("({range} {page})"));
        }
        if results.has(ResultItem::Count) {
            item("COUNT", &matches.len().to_string());
        }
        if let Some(ModSeq(highest)) = self.modseq(&chosen(results, matches)) {
            item("MODSEQ", &highest.to_string());
        }
        line
    }

    /// The highest of those answered, when it was asked for (RFC 4731 §3.2, RFC 7162 §3.1.6).
    fn modseq(&self, matches: &[Match]) -> Option<ModSeq> {
        matches.iter().map(|found| found.modseq).max().filter(|_| self.with_modseq)
    }

    /// The messages to keep for `$`, as UIDs. Two neighbours are one stretch even when there are
    /// numbers between their UIDs: those never come to be messages.
    fn stretches(&self, results: &Results) -> Vec<(u32, u32)> {
        let Found::Messages(matches) = &self.found else { return Vec::new() };
        let mut kept = chosen(results, matches);
        kept.sort_unstable_by_key(|found| found.number);
        kept.dedup_by_key(|found| found.number);
        let mut stretches: Vec<(u32, u32)> = Vec::new();
        let mut last = None;
        for Match { number, uid, .. } in kept {
            match stretches.last_mut() {
                Some((_, end)) if last == number.checked_sub(1) => *end = uid.get(),
                _ => stretches.push((uid.get(), uid.get())),
            }
            last = Some(number);
        }
        stretches
    }
}

/// The messages that are told of: all, unless only the first, the last or a page is asked for
/// (RFC 5182 §2.4, RFC 9394 §3.2).
fn chosen(results: &Results, matches: &[Match]) -> Vec<Match> {
    let single = [ResultItem::Min, ResultItem::Max].into_iter().any(|item| results.has(item));
    let all = results.has(ResultItem::All) || results.has(ResultItem::Count);
    if all || !single && results.partial().is_none() {
        return matches.to_vec();
    }
    let first = matches.first().filter(|_| results.has(ResultItem::Min));
    let last = matches.last().filter(|_| results.has(ResultItem::Max));
    let page = results.partial().and_then(|range| matches.get(range.within(matches.len())));
    first.into_iter().chain(last).chain(page.unwrap_or_default()).copied().collect()
}
