//! The set-up walked by hand, and the slips people make.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is the failed test")]

use super::*;

fn go(wizard: &Wizard, form: impl Into<Form>) -> Wizard {
    match wizard.take(&form.into()).unwrap() {
        Move::Go(next) | Move::Apply(_, next) => next,
        Move::Stay => panic!("it stayed at {wizard:?}"),
    }
}

fn change(wizard: &Wizard, form: impl Into<Form>) -> Change {
    match wizard.take(&form.into()).unwrap() {
        Move::Apply(change, _) => *change,
        other => panic!("no change: {other:?}"),
    }
}

fn complaints(wizard: &Wizard, form: impl Into<Form>) -> Vec<&'static str> {
    wizard.take(&form.into()).unwrap_err().iter().map(|complaint| complaint.field).collect()
}

const ALICE: [(&str, &str); 4] = [
    ("step", "owner"),
    ("owner.address", "alice"),
    ("owner.password", "open sesame"),
    ("owner.again", "open sesame"),
];

fn at_owner() -> Wizard {
    go(&Wizard::NEW, [("step", "domain"), ("domain.name", "Example.org")])
}

fn at_sending() -> Wizard {
    go(&at_owner(), ALICE)
}

#[test]
fn three_answers_set_a_box_up() {
    let sending = at_sending();
    let records = go(&sending, [("step", "sending"), ("outbound.mode", "direct")]);
    let phone = go(&records, [("step", "records")]);
    assert_eq!(go(&phone, [("step", "phone")]), Wizard::Done);

    let (file, replaces) = change(&at_owner(), ALICE).onto(ConfigFile::default());
    let site = file.resolve("x").unwrap().site.unwrap();
    assert_eq!(site.hostname.as_str(), "mail.example.org");
    assert_eq!(site.owner.to_string(), "alice@example.org");
    assert_eq!(file.owner.unwrap().password.unwrap().expose(), "open sesame");
    assert!(replaces.is_none());
}

#[test]
fn what_is_kept_on_the_card_holds_no_password() {
    let relay = [
        ("step", "sending"),
        ("outbound.mode", "relay"),
        ("outbound.relay.host", "smtp.example.net"),
        ("outbound.relay.user", "alice"),
        ("outbound.relay.password", "relay secret"),
    ];
    for wizard in [at_owner(), at_sending(), go(&at_sending(), relay)] {
        let text = serde_json::to_string(&wizard).unwrap();
        assert!(!text.contains("sesame") && !text.contains("secret"), "{text}");
        assert_eq!(serde_json::from_str::<Wizard>(&text).unwrap(), wizard);
    }
}

#[test]
fn each_slip_is_shown_at_its_field() {
    let new = Wizard::NEW;
    assert_eq!(complaints(&new, [("step", "domain")]), ["domain.name"]);
    let both = [("step", "domain"), ("domain.name", "home"), ("box.hostname", "a b")];
    assert_eq!(complaints(&new, both), ["domain.name", "box.hostname"]);
    let zone = [("step", "domain"), ("domain.name", "b.org"), ("box.timezone", "Mars/Base 1")];
    assert_eq!(complaints(&new, zone), ["box.timezone"]);

    let owner = at_owner();
    assert_eq!(complaints(&owner, [("step", "owner")]), ["owner.address", "owner.password"]);
    let mut form = ALICE;
    form[1].1 = "alice@elsewhere.org";
    assert_eq!(complaints(&owner, form), ["owner.address"]);
    let mut form = ALICE;
    form[3].1 = "open sesam";
    assert_eq!(complaints(&owner, form), ["owner.again"]);

    let sending = at_sending();
    assert_eq!(complaints(&sending, [("step", "sending")]), ["outbound.mode"]);
    let relay = [("step", "sending"), ("outbound.mode", "relay"), ("outbound.relay.port", "0")];
    assert_eq!(
        complaints(&sending, relay),
        [
            "outbound.relay.host",
            "outbound.relay.port",
            "outbound.relay.user",
            "outbound.relay.password"
        ]
    );
}

#[test]
fn a_form_of_another_step_changes_nothing() {
    for (wizard, form) in [
        (at_sending(), Form::from(ALICE)),
        (Wizard::NEW, Form::from([("step", "phone")])),
        (Wizard::Done, Form::from([("step", "done")])),
        (Wizard::Done, Form::from([("step", "done"), ("go", "back")])),
        (Wizard::NEW, Form::from([("step", "domain"), ("go", "back")])),
    ] {
        assert!(matches!(wizard.take(&form), Ok(Move::Stay)), "{wizard:?}");
    }
}

#[test]
fn going_back_keeps_what_was_said_and_replaces_a_mistaken_account() {
    let back = |wizard: &Wizard| go(wizard, [("step", wizard.name()), ("go", "back")]);
    let owner = back(&at_sending());
    let domain = back(&owner);
    let Wizard::Domain { names: Some(names), made: Some(made) } = &domain else {
        panic!("{domain:?}")
    };
    assert_eq!(
        (names.domain.as_str(), made.to_string().as_str()),
        ("example.org", "alice@example.org")
    );
    assert!(!domain.is_new());

    let owner = go(&domain, [("step", "domain"), ("domain.name", "example.com")]);
    let Change::Owner { owner: address, replaces, .. } = change(&owner, ALICE) else {
        panic!("not the owner")
    };
    assert_eq!(address.to_string(), "alice@example.com");
    assert_eq!(replaces.unwrap().to_string(), "alice@example.org");
    // The same address again replaces nothing.
    let Change::Owner { replaces, .. } = change(&back(&at_sending()), ALICE) else {
        panic!("not the owner")
    };
    assert!(replaces.is_none());
}

#[test]
fn a_relay_keeps_its_password_unless_it_is_another_one() {
    let form = |host, password| {
        Form::from([
            ("step", "sending"),
            ("outbound.mode", "relay"),
            ("outbound.relay.host", host),
            ("outbound.relay.port", "587"),
            ("outbound.relay.user", "alice"),
            ("outbound.relay.password", password),
        ])
    };
    let base = ConfigFile::parse("[outbound.ports]\nmx = 2525\n", "x").unwrap();
    let first = change(&at_sending(), form("smtp.example.net", "relay secret"));
    let (file, _) = first.onto(base);
    let outbound = file.resolve("x").unwrap().outbound;
    assert_eq!(outbound.mx_port, 2525);
    let crate::config::OutboundMode::Relay(relay) = outbound.mode else { panic!("no relay") };
    assert_eq!(relay.login.unwrap().1.expose(), "relay secret");

    let records = go(&at_sending(), form("smtp.example.net", "relay secret"));
    let sending = go(&records, [("step", "records"), ("go", "back")]);
    let again = change(&sending, form("smtp.example.net", ""));
    assert!(matches!(again, Change::Sending { password: None, .. }));
    assert_eq!(complaints(&sending, form("smtp.example.com", "")), ["outbound.relay.password"]);
}
