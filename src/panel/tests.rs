#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use std::sync::{Arc, Mutex};

use board::{Panel, PanelError};

use super::*;

fn facts(mode: Mode, trust: ClockTrust) -> Facts {
    let address = Some("http://192.168.1.23".to_owned());
    Facts { mode, trust, name: "mail.example.org".to_owned(), address }
}

fn report(findings: &[(&str, Area, Outcome)]) -> Report {
    let findings = findings.iter().map(|(id, area, outcome)| Finding {
        id: (*id).to_owned(),
        area: *area,
        question: String::new(),
        outcome: outcome.clone(),
        evidence: Vec::new(),
        why: String::new(),
        fix: String::new(),
    });
    Report { at: jiff::Timestamp::UNIX_EPOCH, findings: findings.collect() }
}

fn running(findings: &[(&str, Area, Outcome)], trust: ClockTrust) -> Status {
    status(&facts(Mode::Running, trust), Some(&report(findings)))
}

const WELL: (&str, Area, Outcome) = ("dns.mx", Area::Dns, Outcome::Ok);

fn unknown() -> (&'static str, Area, Outcome) {
    ("rdns", Area::ReverseDns, Outcome::Unknown("nobody answered".into()))
}

fn attention(area: Area) -> (&'static str, Area, Outcome) {
    ("x", area, Outcome::Attention("could be better".into()))
}

fn broken(id: &'static str, area: Area) -> (&'static str, Area, Outcome) {
    (id, area, Outcome::Broken("does not work".into()))
}

#[test]
fn only_what_is_known_lights_green_or_red() {
    let synced = ClockTrust::Synced;
    assert_eq!(running(&[WELL], synced).state, State::Ready);
    let not_applicable = ("rdns", Area::ReverseDns, Outcome::NotApplicable("relay".into()));
    assert_eq!(running(&[WELL, not_applicable], synced).state, State::Ready);
    let told = running(&[WELL, unknown()], synced);
    assert_eq!(told.state, State::Unknown);
    assert_eq!(told.lines, ["nobody answered"]);
    assert_eq!(status(&facts(Mode::Running, synced), None).state, State::Working);
}

#[test]
fn a_box_without_time_waits_for_it_and_is_not_called_ready() {
    for trust in [ClockTrust::Unknown, ClockTrust::Rough] {
        assert_eq!(running(&[WELL], trust).state, State::WaitingForTime);
        assert_eq!(running(&[WELL, unknown()], trust).state, State::WaitingForTime);
        let needs = running(&[attention(Area::Dns)], trust).state;
        assert!(matches!(needs, State::Attention(_)), "{needs:?}");
    }
}

#[test]
fn the_light_counts_the_area_that_is_broken_not_one_that_only_wants_attention() {
    let told = running(
        &[attention(Area::Dns), unknown(), broken("storage.card", Area::Storage), WELL],
        ClockTrust::Synced,
    );
    let State::Broken(concerns) = &told.state else { panic!("{told:?}") };
    assert_eq!(concerns.first_area(), board::Area::Storage);
    assert_eq!(concerns.as_slice().len(), 1);
    assert!(concerns.as_slice()[0].advice.contains("new card"));
    assert_eq!(Pattern::of(&told.state), Pattern::Count(board::Area::Storage));
    assert_eq!(told.lines, ["does not work", "could be better", "nobody answered"]);
}

#[test]
fn every_area_keeps_its_number_and_its_advice_fits_a_small_display() {
    let areas = [
        Area::Network,
        Area::Time,
        Area::Dns,
        Area::ReverseDns,
        Area::Authentication,
        Area::Tls,
        Area::Storage,
        Area::Updates,
    ];
    for one in areas {
        assert_eq!(area(one) as u8, one as u8);
        let told = running(&[broken("x", one)], ClockTrust::Synced);
        let advice = &told.state.concerns()[0].advice;
        assert!(advice.len() <= 60, "{advice}");
    }
}

#[test]
fn a_new_box_shows_where_to_set_it_up() {
    let (claim_code, url) = ("K7QX".to_owned(), "http://192.168.1.23".to_owned());
    let told = status(
        &facts(Mode::New { claim_code: claim_code.clone(), url: url.clone() }, ClockTrust::Rough),
        None,
    );
    assert_eq!(told.state, State::SetupWaiting);
    assert_eq!(
        (told.claim_code, told.qr, told.address),
        (Some(claim_code), Some(url.clone()), Some(url))
    );
}

#[test]
fn a_phone_is_not_sent_to_its_own_loopback() {
    let (claim_code, url) = ("K7QX".to_owned(), "http://localhost:20080".to_owned());
    let told = status(&facts(Mode::New { claim_code, url: url.clone() }, ClockTrust::Synced), None);
    assert_eq!((told.qr, told.address), (None, Some(url)));
}

#[test]
fn the_modes_have_their_own_lights() {
    let of = |mode| status(&facts(mode, ClockTrust::Synced), Some(&report(&[WELL]))).state;
    assert_eq!(of(Mode::Claimed), State::Working);
    assert_eq!(of(Mode::Stopping), State::Working);
    assert_eq!(of(Mode::Stopped), State::Stopped);
}

#[test]
fn a_view_has_all_that_the_page_draws() {
    let told = running(&[broken("x", Area::Dns), broken("y", Area::Tls)], ClockTrust::Synced);
    let views: Vec<_> = (0..3).map(|turn| View::of(&told, turn)).collect();
    for view in &views {
        assert!(view.png.starts_with(b"\x89PNG"));
        assert_eq!(view.word, "BROKEN");
        assert_eq!(view.led.iter().filter(|(lit, _)| *lit > 0).count(), 3);
        assert!(view.lines.iter().any(|line| line.contains("Publish the DNS records")));
    }
    assert!(views[0].png != views[1].png && views[1].png != views[2].png, "pages take turns");
    assert_eq!(View::of(&told, views.len()), views[0]);
}

/// Remembers what it was told to show.
struct Witness(Arc<Mutex<Vec<State>>>);

impl Panel for Witness {
    fn name(&self) -> String {
        "the witness".to_owned()
    }

    fn show(&mut self, status: &Status) -> Result<(), PanelError> {
        self.0.lock().unwrap().push(status.state.clone());
        Ok(())
    }
}

#[tokio::test]
async fn the_board_is_renewed_and_told_the_last_word() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let board = Board::default().with(Witness(Arc::clone(&shown)));
    let (say, hear) = watch::channel(Status::new(State::Starting));
    let (views, mut seen) = watch::channel(View::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(run_every(Duration::from_millis(10), board, hear, views, stop.clone()));
    for _ in 0..3 {
        seen.changed().await.unwrap();
    }
    say.send_replace(Status::new(State::Ready));
    seen.wait_for(|view| view.word == "READY").await.unwrap();
    say.send_replace(Status::new(State::Stopped));
    stop.cancel();
    assert_eq!(task.await.unwrap().names(), ["the witness"]);
    let shown = shown.lock().unwrap();
    assert_eq!(shown[..2], [State::Starting, State::Starting], "not renewed");
    assert_eq!(shown.last(), Some(&State::Stopped));
}

#[tokio::test]
async fn a_board_nobody_speaks_to_is_no_longer_renewed() {
    let (say, hear) = watch::channel(Status::new(State::Ready));
    let (views, _seen) = watch::channel(View::default());
    drop(say);
    let ended = run(Board::default(), hear, views, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
}
