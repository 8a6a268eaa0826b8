//! The threads of THREAD (RFC 5256 §3): by what messages say they answer (REFERENCES), or by
//! their subjects (ORDEREDSUBJECT). Of each message only hashes and dates are held; chains of any
//! length are walked without recursion.

use std::collections::{HashMap, HashSet};

use super::command::Algorithm;
use super::search::Match;
use super::sort::{field, sent};
use crate::mail::sorting::{BaseSubject, casemap};
use crate::mail::structure::{RawField, fields};
use crate::mail::threading::unquoted_ids;

/// Most messages and ids, of messages that are there or only named: some 20 MB.
const MOST_NODES: usize = 1 << 18;
/// References of one message that are looked at: the first one and the last ones.
const MOST_REFERENCES: usize = 100;
/// How far up a thread is looked for a loop. A link that would need more is not made.
const HIGHEST: usize = 10_000;

/// The messages of one THREAD, as they come by number.
pub(super) struct Threads {
    algorithm: Algorithm,
    messages: Vec<Message>,
    nodes: Vec<Node>,
    /// The nodes of ids, by hash.
    ids: HashMap<Hash, Id>,
}

/// A hash nobody can find two texts for.
type Hash = [u8; 16];
/// Names a node.
type Id = usize;

struct Message {
    sent: i64,
    /// Of the base subject; nothing when that is empty.
    subject: Option<Hash>,
    is_reply: bool,
}

/// A message, or an id that only others name.
#[derive(Default)]
struct Node {
    parent: Option<Id>,
    children: u32,
    /// Index of the message.
    message: Option<usize>,
}

impl Threads {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, messages: Vec::new(), nodes: Vec::new(), ids: HashMap::new() }
    }

    /// Takes the next message, by number; whether there was room.
    pub(super) fn add(&mut self, found: &Match, header: &[u8]) -> bool {
        let BaseSubject { text, is_reply } =
            field(header, "subject").map(BaseSubject::of).unwrap_or_default();
        let subject = (!text.is_empty()).then(|| hash(&casemap(&text)));
        self.messages.push(Message { sent: sent(found, header), subject, is_reply });
        let message = self.messages.len() - 1;
        if self.algorithm == Algorithm::References {
            self.link(message, header);
        } else {
            self.nodes.push(Node { message: Some(message), ..Node::default() });
        }
        self.nodes.len() <= MOST_NODES
    }

    /// Step 1: parents and children by what the message names.
    fn link(&mut self, message: usize, header: &[u8]) {
        let own = field(header, "message-id").and_then(|value| unquoted_ids(value).next());
        let own = own.map(|id| self.named(hash(id.as_bytes())));
        let node = match own.filter(|id| self.message(*id).is_none()) {
            Some(id) => id,
            // Without an id, or with that of another message.
            None => self.push(Node::default()),
        };
        if let Some(node) = self.nodes.get_mut(node) {
            node.message = Some(message);
        }
        let references: Vec<Id> =
            references(header).into_iter().map(|hash| self.named(hash)).collect();
        for pair in references.windows(2) {
            if let [parent, child] = pair
                && self.parent(*child).is_none()
            {
                self.join(*parent, *child);
            }
        }
        // What it says itself counts more than what was guessed from others.
        self.part(node);
        if let Some(parent) = references.last() {
            self.join(*parent, node);
        }
    }

    fn named(&mut self, id: Hash) -> Id {
        if let Some(known) = self.ids.get(&id) {
            return *known;
        }
        let node = self.push(Node::default());
        self.ids.insert(id, node);
        node
    }

    fn push(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn message(&self, id: Id) -> Option<usize> {
        self.nodes.get(id).and_then(|node| node.message)
    }

    fn parent(&self, id: Id) -> Option<Id> {
        self.nodes.get(id).and_then(|node| node.parent)
    }

    fn part(&mut self, child: Id) {
        let parent = self.nodes.get_mut(child).and_then(|node| node.parent.take());
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
            parent.children -= 1;
        }
    }

    /// Makes a link unless it closes a loop.
    fn join(&mut self, parent: Id, child: Id) {
        if parent == child {
            return;
        }
        let mut above = Some(parent);
        // What has no children is above nothing.
        if self.nodes.get(child).is_some_and(|node| node.children > 0) {
            for _ in 0..HIGHEST {
                let Some(id) = above.filter(|id| *id != child) else { break };
                above = self.parent(id);
            }
            if above.is_some() {
                return;
            }
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.parent = Some(parent);
        }
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children += 1;
        }
    }

    /// The threads as the answer has them. `found` is what was added, in the same order.
    pub(super) fn render(self, found: &[Match], uid: bool) -> String {
        let algorithm = self.algorithm;
        let mut forest = Forest::new(self);
        match algorithm {
            Algorithm::OrderedSubject => forest.group_by_subject(),
            Algorithm::References => {
                forest.prune();
                forest.join_subjects();
            }
        }
        forest.sort();
        let number = |found: &Match| if uid { found.uid.get() } else { found.number };
        forest.render(|message| found.get(message).map_or(0, number))
    }
}

/// The ids a message follows, oldest first (RFC 5256 §3).
fn references(header: &[u8]) -> Vec<Hash> {
    let of = |name: &'static str| {
        let named = move |field: &RawField<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        let ids = fields(header).filter(named).flat_map(|field| unquoted_ids(field.value));
        ids.map(|id| hash(id.as_bytes()))
    };
    let mut references: Vec<Hash> = of("references").collect();
    if references.is_empty() {
        references.extend(of("in-reply-to").next());
    }
    if references.len() > MOST_REFERENCES {
        references.drain(1..=references.len() - MOST_REFERENCES);
    }
    references
}

fn hash(text: &[u8]) -> Hash {
    let mut hash = Hash::default();
    blake3::Hasher::new().update(text).finalize_xof().fill(&mut hash);
    hash
}

/// Trees of messages.
struct Forest {
    messages: Vec<Message>,
    trees: Vec<Tree>,
    roots: Vec<Id>,
}

#[derive(Default)]
struct Tree {
    /// Nothing for a dummy: what holds messages together that is not there itself.
    message: Option<usize>,
    children: Vec<Id>,
}

impl Forest {
    /// Step 2: what has no parent is a root.
    fn new(threads: Threads) -> Self {
        let Threads { messages, nodes, .. } = threads;
        let mut trees: Vec<Tree> = Vec::new();
        trees.resize_with(nodes.len(), Tree::default);
        let mut roots = Vec::new();
        for (id, node) in nodes.iter().enumerate() {
            if let Some(tree) = trees.get_mut(id) {
                tree.message = node.message;
            }
            match node.parent.and_then(|parent| trees.get_mut(parent)) {
                Some(parent) => parent.children.push(id),
                None => roots.push(id),
            }
        }
        Self { messages, trees, roots }
    }

    /// ORDEREDSUBJECT: the first message of a subject, and all others below it.
    fn group_by_subject(&mut self) {
        let mut first: HashMap<Option<Hash>, Id> = HashMap::new();
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_key(|id| self.age(*id));
        for id in roots {
            let subject = self.message(id).and_then(|message| message.subject);
            if let Some(root) = first.get(&subject) {
                self.adopt(*root, id);
            } else {
                first.insert(subject, id);
                self.roots.push(id);
            }
        }
    }

    /// Step 3: dummies go, and their children take their place.
    fn prune(&mut self) {
        for id in self.downwards().into_iter().rev() {
            let children = self.take_children(id);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                if self.is_dummy(child) {
                    // Its own children were looked at before it.
                    kept.append(&mut self.take_children(child));
                } else {
                    kept.push(child);
                }
            }
            if let Some(tree) = self.trees.get_mut(id) {
                tree.children = kept;
            }
        }
        let mut roots = Vec::with_capacity(self.roots.len());
        for id in std::mem::take(&mut self.roots) {
            match self.children(id) {
                [] if self.is_dummy(id) => {}
                // Several that nothing else holds together stay below it.
                [only] if self.is_dummy(id) => roots.push(*only),
                _ => roots.push(id),
            }
        }
        self.roots = roots;
    }

    /// Steps 4 and 5: threads of one subject are one thread.
    fn join_subjects(&mut self) {
        self.sort();
        let mut table: HashMap<Hash, Id> = HashMap::new();
        for id in &self.roots {
            let Some(subject) = self.subject(*id) else { continue };
            let better = |known: &Id| {
                let dummy = self.is_dummy(*id);
                !self.is_dummy(*known) && (dummy || self.is_reply(*known) && !self.is_reply(*id))
            };
            if table.get(&subject).is_none_or(better) {
                table.insert(subject, *id);
            }
        }
        let mut below = HashSet::new();
        for id in self.roots.clone() {
            if below.contains(&id) {
                continue;
            }
            let Some(subject) = self.subject(id) else { continue };
            let Some(known) = table.get(&subject).copied().filter(|known| *known != id) else {
                continue;
            };
            match (self.is_dummy(known), self.is_dummy(id)) {
                (true, true) => {
                    for child in self.take_children(id) {
                        self.adopt(known, child);
                    }
                    below.insert(id);
                }
                (true, false) => {
                    self.adopt(known, id);
                    below.insert(id);
                }
                (false, false) if self.is_reply(id) && !self.is_reply(known) => {
                    self.adopt(known, id);
                    below.insert(id);
                }
                (false, _) => {
                    self.trees.push(Tree { message: None, children: vec![known, id] });
                    let both = self.trees.len() - 1;
                    below.extend([known, id]);
                    self.roots.push(both);
                    table.insert(subject, both);
                }
            }
        }
        self.roots.retain(|id| !below.contains(id));
    }

    /// Step 6: siblings by date.
    fn sort(&mut self) {
        for id in self.downwards() {
            let mut children = self.take_children(id);
            children.sort_by_key(|child| self.age(*child));
            if let Some(tree) = self.trees.get_mut(id) {
                tree.children = children;
            }
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|id| self.age(*id));
        self.roots = roots;
    }

    fn render(&self, number: impl Fn(usize) -> u32) -> String {
        enum Step {
            Open(Id),
            Close,
        }
        let mut text = String::new();
        let mut steps: Vec<Step> = self.roots.iter().rev().map(|id| Step::Open(*id)).collect();
        while let Some(step) = steps.pop() {
            let Step::Open(mut id) = step else {
                text.push(')');
                continue;
            };
            text.push('(');
            let mut blank = "";
            loop {
                if let Some(message) = self.tree(id).and_then(|tree| tree.message) {
                    text.push_str(blank);
                    text.push_str(&number(message).to_string());
                    blank = " ";
                }
                match self.children(id) {
                    [] => text.push(')'),
                    [only] => {
                        id = *only;
                        continue;
                    }
                    several => {
                        text.push_str(blank);
                        steps.push(Step::Close);
                        steps.extend(several.iter().rev().map(|id| Step::Open(*id)));
                    }
                }
                break;
            }
        }
        text
    }

    /// All trees, each before its children.
    fn downwards(&self) -> Vec<Id> {
        let mut all = self.roots.clone();
        let mut next = 0;
        while let Some(id) = all.get(next) {
            all.extend_from_slice(self.children(*id));
            next += 1;
        }
        all
    }

    fn tree(&self, id: Id) -> Option<&Tree> {
        self.trees.get(id)
    }

    fn children(&self, id: Id) -> &[Id] {
        self.tree(id).map(|tree| tree.children.as_slice()).unwrap_or_default()
    }

    fn take_children(&mut self, id: Id) -> Vec<Id> {
        self.trees.get_mut(id).map(|tree| std::mem::take(&mut tree.children)).unwrap_or_default()
    }

    fn adopt(&mut self, parent: Id, child: Id) {
        if let Some(tree) = self.trees.get_mut(parent) {
            tree.children.push(child);
        }
    }

    fn is_dummy(&self, id: Id) -> bool {
        self.tree(id).is_some_and(|tree| tree.message.is_none())
    }

    fn is_reply(&self, id: Id) -> bool {
        let message = self.tree(id).and_then(|tree| tree.message);
        message.and_then(|message| self.messages.get(message)).is_some_and(|m| m.is_reply)
    }

    /// Its message, or that of a dummy's first child.
    fn message(&self, id: Id) -> Option<&Message> {
        let message = self.first(id)?;
        self.messages.get(message)
    }

    fn first(&self, id: Id) -> Option<usize> {
        let tree = self.tree(id)?;
        // A dummy's children are messages.
        let child = || tree.children.iter().find_map(|child| self.tree(*child)?.message);
        tree.message.or_else(child)
    }

    fn subject(&self, id: Id) -> Option<Hash> {
        self.message(id).and_then(|message| message.subject)
    }

    /// What siblings are sorted by: the date, then the number.
    fn age(&self, id: Id) -> (i64, usize) {
        let first = self.first(id).unwrap_or(usize::MAX);
        (self.messages.get(first).map_or(0, |message| message.sent), first)
    }
}

#[cfg(test)]
mod tests;
