use proptest::prelude::*;

use super::client::Client;
use super::*;

/// The exchange of RFC 7677 §3.
const RFC_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn salted(nonce: &str) -> Salted {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
    Salted { salt, iterations: NonZeroU32::new(4096).unwrap(), nonce: nonce.to_owned() }
}

fn keys(password: &str) -> Keys {
    let Salted { salt, iterations, .. } = salted("");
    Keys::derive(&Password::new(password.to_owned()), &salt, iterations)
}

fn bindings() -> Bindings {
    Bindings { exporter: Some([7; 32]), end_point: Some([9; 32].as_slice().into()) }
}

fn first(message: &str, plus: bool, bindings: &Bindings) -> Result<Finding, SaslError> {
    match (Scram { plus }).begin(Some(STANDARD.encode(message).as_bytes()), bindings)? {
        Step::Find(finding) => Ok(finding),
        other => panic!("does not ask for the salt: {other:?}"),
    }
}

fn challenge(step: Step) -> (String, Exchange) {
    let Step::Ask { challenge, then } = step else { panic!("no challenge: {step:?}") };
    (String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap(), then)
}

fn proof(exchange: Exchange, message: &str) -> Result<Proof, SaslError> {
    match exchange.answer(STANDARD.encode(message).as_bytes())? {
        Step::Prove(proof) => Ok(proof),
        other => panic!("no proof: {other:?}"),
    }
}

#[test]
fn the_example_of_rfc_7677_goes_as_it_is_printed() {
    let finding = first(RFC_FIRST, false, &Bindings::default()).unwrap();
    assert_eq!(finding.login(), "user");
    let (said, exchange) = challenge(finding.found(&salted(RFC_NONCE)));
    assert_eq!(said, RFC_CHALLENGE);
    let proof = proof(exchange, RFC_FINAL).unwrap();
    let signature = keys("pencil").check(&proof).unwrap();
    let (said, exchange) = challenge(Step::proved(&signature));
    assert_eq!(said, RFC_SIGNATURE);
    assert!(matches!(exchange.answer(b""), Ok(Step::Done)));
    assert_eq!(keys("Pencil").check(&proof), None);
}

#[test]
fn a_login_bound_to_another_connection_is_worth_nothing() {
    for (flag, data) in [("p=tls-exporter,,", [7; 32]), ("p=tls-server-end-point,,", [9; 32])] {
        for (binding, right) in [(data, true), ([8; 32], false)] {
            let client =
                Client { login: "alice@example.org", password: "pencil", flag, binding: &binding };
            let first = client.first();
            let step = (Scram { plus: true }).begin(Some(first.as_bytes()), &bindings()).unwrap();
            let Step::Find(finding) = step else { panic!("{step:?}") };
            let Step::Ask { challenge, then } = finding.found(&salted("xyz")) else { panic!() };
            let Ok(Step::Prove(proof)) = then.answer(client.last(&challenge).0.as_bytes()) else {
                panic!("no proof")
            };
            assert_eq!(keys("pencil").check(&proof).is_some(), right, "{flag}");
        }
    }
}

#[test]
fn a_binding_that_was_taken_out_on_the_way_is_noticed() {
    let none = Bindings::default();
    let older = Bindings { exporter: None, ..bindings() };
    for (message, plus, bindings, taken) in [
        ("n,,n=a,r=b", false, bindings(), true),
        ("y,,n=a,r=b", false, none.clone(), true),
        ("y,,n=a,r=b", false, bindings(), false),
        // Under TLS 1.2 it is not offered, and works all the same for who knows how.
        ("y,,n=a,r=b", false, older.clone(), true),
        ("p=tls-server-end-point,,n=a,r=b", true, older.clone(), true),
        ("p=tls-unique,,n=a,r=b", true, older, false),
        ("n,,n=a,r=b", true, bindings(), false),
        ("y,,n=a,r=b", true, bindings(), false),
        ("p=tls-exporter,,n=a,r=b", false, bindings(), false),
        ("p=tls-exporter,,n=a,r=b", true, none.clone(), false),
        ("p=tls-unique,,n=a,r=b", true, bindings(), false),
    ] {
        assert_eq!(first(message, plus, &bindings).is_ok(), taken, "{message} {plus}");
    }
}

#[test]
fn names_are_read_and_what_is_not_its_form_is_refused() {
    let none = Bindings::default();
    let login = |message: &str| first(message, false, &none).map(|finding| finding.login);
    assert_eq!(login("n,,n=a=2Cb=3D@x,r=1,ext=2").unwrap(), "a,b=@x");
    assert_eq!(login("n,a=Alice,n=alice,r=1").unwrap(), "alice");
    assert_eq!(login("n,a=bob,n=alice,r=1"), Err(SaslError::OtherIdentity));
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=a",
        "n,,n=,r=1",
        "n,,n=a,r=",
        "n,,r=1,n=a",
        "n,,m=x,n=a,r=1",
        "n,x,n=a,r=1",
        "n,,n=a=2,r=1",
        "n,,n=a=2c,r=1",
        "x,,n=a,r=1",
        "n,,n=a\0,r=1",
        "n,,n=a,r=\u{1}",
        "n,,n=a,r=ü",
    ] {
        assert_eq!(login(message), Err(SaslError::Malformed), "{message:?}");
    }
    let begin = |line: &[u8]| (Scram { plus: false }).begin(Some(line), &none).unwrap_err();
    assert_eq!(begin(b"*"), SaslError::Cancelled);
    assert_eq!(begin(b"!"), SaslError::Base64);
    assert_eq!(begin(b"="), SaslError::Base64);
}

#[test]
fn a_final_message_of_another_exchange_proves_nothing() {
    let none = Bindings::default();
    let begin = || {
        let finding = first(RFC_FIRST, false, &none).unwrap();
        challenge(finding.found(&salted(RFC_NONCE))).1
    };
    let replayed = RFC_FINAL.replace("k0,p=", "k1,p=");
    let proof_of = |message: &str| proof(begin(), message);
    assert_eq!(keys("pencil").check(&proof_of(&replayed).unwrap()), None);
    for message in ["", "p=", "c=biws,p=AAAA", &RFC_FINAL.replace("c=biws", "d=biws"), "c=biws,r=x"]
    {
        assert!(matches!(proof_of(message), Err(SaslError::Malformed)), "{message}");
    }
    // After our own proof the client says nothing more.
    let signature = keys("pencil").check(&proof_of(RFC_FINAL).unwrap()).unwrap();
    let (_, exchange) = challenge(Step::proved(&signature));
    assert!(matches!(exchange.answer(b"eA=="), Err(SaslError::Malformed)));
}

#[test]
fn keys_come_back_from_the_store() {
    let written: String = keys("pencil").into();
    assert_eq!(Keys::try_from(written.clone()).unwrap(), keys("pencil"));
    for damaged in ["", ":", "x:y", &written[1..]] {
        assert!(Keys::try_from(damaged.to_owned()).is_err(), "{damaged}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_an_exchange_panic(lines in prop::collection::vec("[np,=ary0-9é]{0,20}", 2)) {
        let Ok(Step::Find(finding)) =
            (Scram { plus: false }).begin(Some(STANDARD.encode(&lines[0]).as_bytes()), &bindings())
        else {
            return Ok(());
        };
        let (_, exchange) = challenge(finding.found(&salted("x")));
        let _ = exchange.answer(STANDARD.encode(&lines[1]).as_bytes());
    }
}
