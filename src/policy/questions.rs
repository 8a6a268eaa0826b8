//! The questions one message costs: remembered, limited in number and time. Whoever writes a
//! message decides what is asked about it, so that a hundred signatures must not become a hundred
//! questions to somebody else's name server.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::dns::{Answer, Resolver};
use crate::mail::Domain;

/// Asks for one message.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    resolver: &'a Resolver,
    until: Instant,
    left: usize,
    texts: BTreeMap<Domain, Answer<Vec<String>>>,
}

impl<'a> Questions<'a> {
    /// At most so many questions, of which those count that are answered by `until`.
    pub(super) fn new(resolver: &'a Resolver, most: usize, until: Instant) -> Self {
        Self { resolver, until, left: most, texts: BTreeMap::new() }
    }

    /// Asks for the TXT records of several names at the same time; what they hold is remembered.
    pub(super) async fn prepare(&mut self, names: impl IntoIterator<Item = Domain>) {
        let mut asked = JoinSet::new();
        for name in names {
            if self.left == 0 || self.texts.contains_key(&name) {
                continue;
            }
            self.left -= 1;
            self.texts.insert(name.clone(), Answer::CouldNotTell(LATE.to_owned()));
            let (resolver, until) = (self.resolver.clone(), self.until);
            asked.spawn(async move {
                let answer = timeout_at(until, resolver.txt(&name)).await;
                (name, answer.unwrap_or_else(|_| Answer::CouldNotTell(LATE.to_owned())))
            });
        }
        while let Some(Ok((name, answer))) = asked.join_next().await {
            self.texts.insert(name, answer);
        }
    }

    /// TXT records of a name.
    pub(super) async fn txt(&mut self, name: &Domain) -> Answer<Vec<String>> {
        if let Some(known) = self.texts.get(name) {
            return known.clone();
        }
        let answer = match self.take() {
            Ok(()) => timeout_at(self.until, self.resolver.txt(name)).await,
            Err(why) => return Answer::CouldNotTell(why.to_owned()),
        };
        let answer = answer.unwrap_or_else(|_| Answer::CouldNotTell(LATE.to_owned()));
        self.texts.insert(name.clone(), answer.clone());
        answer
    }

    /// Whether a name exists at all (RFC 8020); nothing when nobody could say.
    pub(super) async fn exists(&mut self, name: &Domain) -> Option<bool> {
        self.take().ok()?;
        match timeout_at(self.until, self.resolver.addresses(name)).await.ok()? {
            Answer::Yes(_) | Answer::No(crate::dns::Absence::NoRecord) => Some(true),
            Answer::No(crate::dns::Absence::NoName) => Some(false),
            Answer::CouldNotTell(_) => None,
        }
    }

    fn take(&mut self) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(1).ok_or(TOO_MANY)?;
        Ok(())
    }
}

/// Why something could not be told, in words.
pub(super) const LATE: &str = "the DNS took too long to answer";
const TOO_MANY: &str = "the message asks for more DNS records than any real one";

#[cfg(all(test, feature = "demo"))]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dns::Absence;
    use crate::dns::world::World;

    fn within(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    #[tokio::test]
    async fn questions_end_with_their_number_and_their_time() {
        let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let resolver = Resolver::new(&[world.local()]).unwrap();
        let name = |name: &str| name.parse::<Domain>().unwrap();
        let mut questions = Questions::new(&resolver, 3, within(5000));
        questions.prepare([name("a.test"), name("a.test"), name("b.test")]).await;
        for (asked, answered) in [("a.test", true), ("c.test", true), ("d.test", false)] {
            let answer = questions.txt(&name(asked)).await;
            assert_eq!(answer == Answer::No(Absence::NoName), answered, "{asked}: {answer:?}");
        }
        assert_eq!(questions.txt(&name("b.test")).await, Answer::No(Absence::NoName));
        assert_eq!(questions.exists(&name("e.test")).await, None);
        // Nobody answers here.
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let resolver = Resolver::new(&[socket.local_addr().unwrap()]).unwrap();
        let mut late = Questions::new(&resolver, 3, within(20));
        late.prepare([name("a.test")]).await;
        for asked in ["a.test", "b.test"] {
            let answer = late.txt(&name(asked)).await;
            assert_eq!(answer, Answer::CouldNotTell(LATE.to_owned()), "{asked}");
        }
    }
}
