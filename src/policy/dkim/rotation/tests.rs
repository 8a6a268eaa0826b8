#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is the failed test")]

use tempfile::TempDir;

use super::*;
use crate::dns::world::World;

const MESSAGE: &[u8] = b"From: alice@example.org\r\nSubject: x\r\n\r\nhello\r\n";

struct Setup {
    world: World,
    resolver: Resolver,
    keys: SigningKeys,
    folder: TempDir,
}

impl Setup {
    /// The first keys are published.
    async fn new() -> Self {
        let world = World::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let resolver = Resolver::new(&[world.local()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keys = SigningKeys::open_or_create(folder.path(), &[domain()]).unwrap();
        let setup = Self { world, resolver, keys, folder };
        setup.publish(|_| true);
        setup
    }

    fn publish(&self, which: impl Fn(&KeyRecord) -> bool) {
        for record in self.keys.all_records().into_iter().filter(which) {
            let strings: Vec<String> = record
                .value
                .as_bytes()
                .chunks(200)
                .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
                .collect();
            let line = format!("$TTL 60\n{}. TXT {}\n", record.name, strings.join(" "));
            self.world.load(".", &line).unwrap();
        }
    }

    async fn look(&self, now: &str) -> Vec<Domain> {
        self.resolver.forget();
        self.keys.advance_rotation(&self.resolver, at(now)).await.unwrap()
    }

    /// The selectors a message is signed with, by these keys and by those a restart would read.
    fn signing(&self) -> Vec<String> {
        let selectors = |keys: &SigningKeys| -> Vec<String> {
            let fields = String::from_utf8(keys.sign(MESSAGE, None).unwrap().unwrap()).unwrap();
            let selectors = fields.split("\ts=").skip(1);
            selectors.map(|rest| rest.split(';').next().unwrap().to_owned()).collect()
        };
        let again = SigningKeys::open_or_create(self.folder.path(), &[domain()]).unwrap();
        assert_eq!(selectors(&again), selectors(&self.keys), "a restart signs otherwise");
        assert_eq!(again.all_records(), self.keys.all_records());
        selectors(&self.keys)
    }
}

fn domain() -> Domain {
    "example.org".parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_key_signs_only_once_its_records_are_seen_and_the_former_stays_published() {
    let setup = Setup::new().await;
    assert_eq!(setup.signing(), ["pb1r", "pb1e"]);
    assert!(setup.look("2026-11-01T00:00:00Z").await.is_empty(), "turned without being asked");
    setup.keys.begin_rotation(&domain()).await.unwrap();
    assert!(setup.look("2026-11-01T00:00:00Z").await.is_empty(), "turned without any record");
    setup.publish(|record| record.role == Role::Next && record.name.as_str().starts_with("pb2r"));
    assert!(setup.look("2026-11-01T00:00:00Z").await.is_empty(), "turned with one of two records");
    assert_eq!(setup.signing(), ["pb1r", "pb1e"]);
    let waiting = setup.keys.all_records();
    // Asked again, the same keys wait.
    setup.keys.begin_rotation(&domain()).await.unwrap();
    assert_eq!(setup.keys.all_records(), waiting);

    setup.publish(|record| record.role == Role::Next);
    assert_eq!(setup.look("2026-11-02T00:00:00Z").await, [domain()]);
    assert_eq!(setup.signing(), ["pb2r", "pb2e"]);
    let former = |now: &str| {
        let standing = setup.keys.standing(at(now)).swap_remove(0);
        (standing.former.len(), standing.removable.len())
    };
    assert_eq!(former("2026-12-01T00:00:00Z"), (1, 0));
    assert_eq!(former("2026-12-03T00:00:00Z"), (0, 2));

    // Its record is still there: the owner may remove it, and is told so until then.
    assert!(setup.look("2026-12-03T00:00:00Z").await.is_empty());
    assert_eq!(former("2026-12-03T00:00:00Z"), (0, 2));
    for name in ["pb1r._domainkey.example.org", "pb1e._domainkey.example.org"] {
        setup.world.remove(&name.parse().unwrap());
    }
    let old = setup.folder.path().join("pb1r.example.org.der");
    setup.look("2026-11-20T00:00:00Z").await;
    assert!(old.exists(), "destroyed too early");
    setup.look("2026-12-03T00:00:00Z").await;
    assert_eq!(former("2026-12-03T00:00:00Z"), (0, 0));
    assert!(!old.exists(), "the former key is still there");
    assert_eq!(setup.signing(), ["pb2r", "pb2e"]);

    setup.keys.begin_rotation(&domain()).await.unwrap();
    setup.publish(|record| record.role == Role::Next);
    assert_eq!(setup.look("2027-12-04T00:00:00Z").await, [domain()]);
    assert_eq!(setup.signing(), ["pb3r", "pb3e"]);
}

#[tokio::test]
async fn what_the_dns_cannot_tell_or_tells_wrongly_changes_nothing() {
    let setup = Setup::new().await;
    setup.keys.begin_rotation(&domain()).await.unwrap();
    setup.publish(|record| record.role == Role::Next);
    let nobody = Resolver::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
    let now = at("2026-11-01T00:00:00Z");
    assert!(setup.keys.advance_rotation(&nobody, now).await.unwrap().is_empty());
    let name = "pb2e._domainkey.example.org";
    for wrong in ["v=DKIM1; k=ed25519; p=", "v=DKIM1; k=ed25519; p=AAAA", "v=spf1 -all"] {
        setup.world.remove(&name.parse().unwrap());
        setup.world.load(".", &format!("$TTL 60\n{name}. TXT \"{wrong}\"\n")).unwrap();
        assert!(setup.look("2026-11-01T00:00:00Z").await.is_empty(), "{wrong}");
    }
    assert_eq!(setup.signing(), ["pb1r", "pb1e"]);
}

#[tokio::test]
async fn a_power_cut_at_any_step_leaves_published_keys_signing() {
    let setup = Setup::new().await;
    let states = setup.folder.path().join(STATES);
    // Cut after the keys were made, before anything speaks of them.
    setup.keys.begin_rotation(&domain()).await.unwrap();
    let made = setup.keys.all_records();
    std::fs::remove_file(&states).unwrap();
    let again = SigningKeys::open_or_create(setup.folder.path(), &[domain()]).unwrap();
    assert!(again.all_records().iter().all(|record| matches!(record.role, Role::Present(_))));
    again.begin_rotation(&domain()).await.unwrap();
    assert_eq!(again.all_records(), made, "the keys made before the cut are of use");
    // Cut while the file was replaced: a draft lies beside it.
    std::fs::write(states.with_extension("json.new"), "{\"exa").unwrap();
    assert_eq!(setup.signing(), ["pb1r", "pb1e"]);
    // What no power cut does is told.
    std::fs::write(&states, "{\"exa").unwrap();
    let error = SigningKeys::open_or_create(setup.folder.path(), &[domain()]).unwrap_err();
    assert!(error.to_string().contains("rotation.json"), "{error}");
}

#[tokio::test]
async fn people_are_told_what_to_do_next() {
    let setup = Setup::new().await;
    let told = |now: &str| setup.keys.standing(at(now)).swap_remove(0).sentences().join("\n");
    assert!(!told("2026-11-22T00:00:00Z").contains("publish"));
    assert!(told("2099-01-01T00:00:00Z").contains("pillarbox dns rotate"));
    setup.keys.begin_rotation(&domain()).await.unwrap();
    assert!(told("2026-11-22T00:00:00Z").contains("pb2r and pb2e wait"));
    setup.publish(|_| true);
    setup.look("2026-11-22T00:00:00Z").await;
    assert!(told("2026-11-22T00:00:00Z").contains("until 2026-12-22"));
    assert!(told("2026-12-23T00:00:00Z").contains("You may remove pb1r._domainkey.example.org"));
}
