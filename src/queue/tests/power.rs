//! The power is cut at every step of a message's way through the queue: it is delivered once, or a
//! second time where no sender can know, and never lost; its notice is written once.

use super::*;
use crate::store::Plug;

/// One life of a box: from when the power comes until it goes, or all is done.
struct Life {
    queue: Queue,
    store: Store,
    accounts: Accounts,
    running: Option<JoinHandle<()>>,
}

impl Life {
    fn begin(
        store: Store,
        folder: &Path,
        world: &World,
        clock: &Arc<TestClock>,
        port: u16,
    ) -> Self {
        let (accounts, queue) = open(folder, &store, world, clock, port, OutboundMode::Direct);
        Self { queue, store, accounts, running: None }
    }

    async fn submit(&self, clock: &TestClock) -> bool {
        let mut body = self.store.new_body();
        if body.write(MESSAGE).await.is_err() {
            return false;
        }
        let Ok(body) = body.finish().await else { return false };
        let to = ["bob@example.net", "nobody@example.net"].map(address);
        let incoming = Incoming {
            envelope: Envelope::new("alice@example.org".parse().unwrap(), to),
            trace: Vec::new(),
            body,
            source: Source::Account(self.accounts.list()[0].id),
            received: clock.now(),
            judge: None,
        };
        self.queue.accept(incoming).await.is_ok()
    }

    fn run(&mut self) {
        let queue = self.queue.clone();
        self.running = Some(tokio::spawn(async move { queue.run(CancellationToken::new()).await }));
    }

    /// Waits until the queue is empty or the power is gone.
    async fn idle(&self, plug: &Plug) {
        for _ in 0..2000 {
            if plug.is_off() || self.queue.list().is_ok_and(|all| all.is_empty()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// No goodbye: this is how power goes.
    async fn end(self) -> Store {
        if let Some(running) = self.running {
            running.abort();
            let _ = running.await;
        }
        self.store
    }

    fn notices(&self) -> usize {
        let inbox = self.store.find_mailbox(AccountId(1), &MailboxName::inbox()).unwrap();
        inbox.map_or(0, |inbox| self.store.messages(inbox.id).unwrap().len())
    }
}

#[tokio::test]
async fn a_cut_at_any_step_loses_nothing_and_repeats_only_what_nobody_can_know() {
    cut_at_every_step(false).await;
}

#[tokio::test]
async fn nor_does_a_cut_while_a_message_goes_on_the_connection_of_the_one_before() {
    cut_at_every_step(true).await;
}

/// `kept` is whether the message whose way is cut finds a connection that carried one before.
async fn cut_at_every_step(kept: bool) {
    let host = Host::start("127.0.0.2:0").await;
    host.answer("nobody@example.net", "550 5.1.1 no such user");
    let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    world.load(".", ZONE).unwrap();
    let start = "2026-11-22T10:00:00Z".parse().unwrap();
    let clock = Arc::new(TestClock(Mutex::new((start, ClockTrust::Synced))));
    let folder = tempfile::tempdir().unwrap();
    let (store, master) = Plug::new();
    let (accounts, queue) =
        open(folder.path(), &store, &world, &clock, host.port(), OutboundMode::Direct);
    accounts.add(address("alice@example.org"), Password::new("long enough".into())).await.unwrap();
    drop((accounts, queue));
    store.close().await.unwrap();

    let (mut twice, mut uncut) = (0, 0);
    for step in 1..400 {
        let plug = master.copy(step);
        let mut life = Life::begin(plug.back(), folder.path(), &world, &clock, host.port());
        let mut told = 0;
        if kept {
            assert!(life.submit(&clock).await);
            life.run();
            life.idle(&plug).await;
            told = life.notices();
            assert_eq!(told, 1, "step {step}: the message before");
        }
        let (before, connections) = (host.got().len(), host.connections());
        plug.cut_after(step);
        let taken = life.submit(&clock).await;
        if !kept {
            life.run();
        }
        life.idle(&plug).await;
        drop(life.end().await);
        let heard = host.got().len() - before;
        let cut = plug.is_off();
        if kept {
            assert_eq!(host.connections(), connections, "step {step}: it had its own connection");
        }

        let mut life = Life::begin(plug.back(), folder.path(), &world, &clock, host.port());
        let waiting = !life.queue.list().unwrap().is_empty();
        let known = life.store.queue().unwrap().first().is_some_and(|record| {
            let state = State::decode(&record.state).unwrap();
            state.open().any(|recipient| recipient.address == address("bob@example.net"))
        });
        life.run();
        life.idle(&plug).await;
        let all = host.got().len() - before;
        let notices = life.notices() - told;
        let store = life.end().await;
        assert!(store.queue().unwrap().is_empty(), "step {step}: something is left over");
        if taken {
            assert!(all >= 1, "step {step}: lost");
            assert_eq!(notices, 1, "step {step}: notices");
        } else {
            // Not acknowledged: there whole, or not at all.
            assert_eq!(usize::from(all > 0), notices, "step {step}: half of it");
        }
        // A second time only when the host's yes was on no disk yet.
        assert!(all <= 2, "step {step}: {all} times");
        if all == 2 {
            assert!(heard == 1 && waiting && known, "step {step}: sent again though it was known");
            twice += 1;
        }
        drop(store);
        if !cut {
            uncut += 1;
            if uncut == 3 {
                assert!(step > 10, "only {step} steps");
                assert!(twice < step / 2, "{twice} of {step} steps repeat");
                return;
            }
        }
    }
    panic!("it never ends");
}
