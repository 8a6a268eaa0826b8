//! The power is cut at every step of a message's way through the queue: it is delivered once, or a
//! second time where no sender can know, and never lost; its notice is written once.

use super::*;
use crate::store::Plug;

/// One life of a box: from when the power comes until it goes, or all is done.
struct Life {
    queue: Queue,
    store: Store,
    accounts: Accounts,
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
        Self { queue, store, accounts }
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
        };
        self.queue.accept(incoming).await.is_ok()
    }

    /// Runs until the queue is empty or the power is gone.
    async fn run(self, plug: &Plug) -> Store {
        let stop = CancellationToken::new();
        let (queue, token) = (self.queue.clone(), stop.clone());
        let running = tokio::spawn(async move { queue.run(token).await });
        for _ in 0..2000 {
            if plug.is_off() || self.queue.list().is_ok_and(|all| all.is_empty()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // No goodbye: this is how power goes.
        running.abort();
        let _ = running.await;
        self.store
    }
}

#[tokio::test]
async fn a_cut_at_any_step_loses_nothing_and_repeats_only_what_nobody_can_know() {
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
        let before = host.got().len();
        let life = Life::begin(plug.back(), folder.path(), &world, &clock, host.port());
        plug.cut_after(step);
        let taken = life.submit(&clock).await;
        drop(life.run(&plug).await);
        let heard = host.got().len() - before;
        let cut = plug.is_off();

        let life = Life::begin(plug.back(), folder.path(), &world, &clock, host.port());
        let waiting = !life.queue.list().unwrap().is_empty();
        let known = life.store.queue().unwrap().first().is_some_and(|record| {
            let state = State::decode(&record.state).unwrap();
            state.open().any(|recipient| recipient.address == address("bob@example.net"))
        });
        let store = life.run(&plug).await;
        let all = host.got().len() - before;
        let inbox = store.find_mailbox(AccountId(1), &MailboxName::inbox()).unwrap();
        let notices = inbox.map_or(0, |inbox| store.messages(inbox.id).unwrap().len());
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
