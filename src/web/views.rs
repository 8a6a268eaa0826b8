//! The pages that show something: the records to publish, the settings for the phone, the state
//! of the box, and its panel.

use jiff::Timestamp;
use maud::{Markup, html};

use super::Wizard;
use super::pages::{Around, Asked, frame, framed, sentence, step_frame};
use super::signin::Visitor;
use super::wizard::Home;
use crate::config::{Config, Site, TlsMode};
use crate::panel::{FRONT_HEIGHT, FRONT_WIDTH, View};
use crate::selfcheck::records::Record;
use crate::selfcheck::{Area, Finding, Outcome, Report};

/// The records to publish, and what the world sees of them.
pub(super) fn records(
    asked: &Asked<'_>,
    home: &Home,
    records: &[Record],
    report: Option<&Report>,
) -> Markup {
    let domain = &home.names.domain;
    let content = html! {
        p {
            "Log in where you bought " strong { (domain) } " and open its DNS settings. Make each "
            "of these " (records.len()) " records there. They tell the world where your mail "
            "lives, and prove that it is yours."
        }
        p.help {
            "Some providers want only the part of the name before ." (domain) ", and @ or nothing "
            "for the domain itself. Some ask for the number of an MX record, the priority, in a "
            "field of its own."
        }
        @for record in records {
            section.record {
                h2 { span.kind { (record.kind) } " " (record.why) }
                (copyable("Name", &record.name))
                @if record.is_open() { (line("Value", &record.value)) }
                @else { (copyable("Value", &record.value)) }
            }
        }
        h2 #check { "What the world sees" }
        @match report {
            Some(report) => {
                (findings(report.findings.iter().filter(|finding| matters_here(finding.area)), false))
                p.help { "Checked at " (moment(report.at, &home.names.timezone)) "." }
            }
            None => p { "Not checked yet." }
        }
        p.help {
            "New records take from a minute to some hours to be seen. You can go on before "
            "that: the box keeps checking, and its light turns steady when all is well."
        }
        button.quiet type="submit" formaction="/setup/check" { "Check again" }
    };
    let wizard = Wizard::Records(home.clone());
    step_frame(asked, &wizard, "Tell the world", &content, "Next")
}

/// What to type into the phone.
pub(super) fn phone(asked: &Asked<'_>, home: &Home, config: Option<&Config>) -> Markup {
    let host = home.names.hostname.as_str();
    let user = home.owner.to_string();
    let port = |list: fn(&Config) -> &Vec<std::net::SocketAddr>, usual: u16| {
        config.and_then(|config| list(config).first()).map_or(usual, std::net::SocketAddr::port)
    };
    let imap = port(|config| &config.listen.imaps, 993).to_string();
    let smtp = port(|config| &config.listen.submissions, 465).to_string();
    let own = config.is_none_or(|config| matches!(config.tls, TlsMode::SelfSigned));
    let server = |title: &str, port: &str| {
        html! {
            section.record {
                h2 { (title) }
                (copyable("Server", host))
                (copyable("Port", port))
                (line("Security", "SSL/TLS"))
                (copyable("User name", &user))
                (line("Password", "the one you chose"))
            }
        }
    };
    let content = html! {
        p {
            "Your post office is open. Add the account on your phone or computer: choose "
            strong { "Other" } " or " strong { "IMAP" } ", and type these."
        }
        (server("Incoming mail (IMAP)", &imap))
        (server("Outgoing mail (SMTP)", &smtp))
        @if own {
            p.remark {
                "The first time, your phone asks whether to trust the box’s certificate. It was "
                "made by the box itself, so the phone cannot know it yet: while you are in "
                "your own network, accept it."
            }
        }
        h2 { "Try it" }
        ol {
            li { "Write a message to yourself. It should come back at once." }
            li { "From another address, write to " strong { (user) } "." }
            li { "Answer that message. If it lands in the junk folder there, look at the records again." }
        }
        p { "When you finish, this set-up closes for good, and this page shows how the box is." }
    };
    let wizard = Wizard::Phone(home.clone());
    step_frame(asked, &wizard, "Your phone", &content, "Finish")
}

/// The state of a box in use. Everyone in the network may read it: it says nothing secret.
pub(super) fn status(
    site: Option<&Site>,
    report: Option<&Report>,
    told: &[String],
    board: bool,
    visitor: Option<&Visitor>,
) -> Markup {
    let name = site.map_or_else(|| "this box".to_owned(), |site| site.hostname.to_string());
    let zone = site.map_or("UTC", |site| &site.timezone);
    let body = html! {
        p.steps data-again { (name) }
        @match report {
            None => {
                h1 { "Starting" }
                p { "The first self-check is under way. This page shows it in a minute." }
            }
            Some(report) => {
                (verdict(report))
                (findings(report.findings.iter(), true))
                p.help { "Checked at " (moment(report.at, zone)) "." }
            }
        }
        @if !told.is_empty() {
            h2 { "What other mail providers say" }
            @for sentence in told { p { (sentence) } }
        }
        @if board { p { a.button.quiet href="/board" { "Show the panel" } } }
    };
    // With JavaScript the page does it more gently, see `page.js`.
    let refresh = html! { noscript { meta http-equiv="refresh" content="60"; } };
    let around = visitor.map_or(Around::Guest, |visitor| Around::Visitor(visitor, "/"));
    framed(&name, &refresh, &around, &body)
}

/// The panel.
pub(super) fn board(view: &View) -> Markup {
    let body = html! {
        h1 { "The panel" }
        div.panel {
            // The page lets the lamp of the picture blink.
            img data-display src="/board.png" width=(FRONT_WIDTH) height=(FRONT_HEIGHT)
                alt="The display, with the text below";
            span.bulb.lit[view.led.iter().any(|(on, _)| *on > 0)] data-bulb aria-hidden="true" {}
        }
        p { strong data-word { (view.word) } }
        ul.lines data-lines { @for line in &view.lines { li { (line) } } }
        p { a href="/" { "State of the box" } }
    };
    let refresh = html! { noscript { meta http-equiv="refresh" content="2"; } };
    frame("Panel", &refresh, &body)
}

/// One line on how the box is.
fn verdict(report: &Report) -> Markup {
    let count = |test: fn(&Outcome) -> bool| {
        report.findings.iter().filter(|finding| test(&finding.outcome)).count()
    };
    let broken = count(|outcome| matches!(outcome, Outcome::Broken(_)));
    let attention = count(|outcome| matches!(outcome, Outcome::Attention(_)));
    let unknown = count(|outcome| matches!(outcome, Outcome::Unknown(_)));
    let (title, text) = match (broken, attention, unknown) {
        (0, 0, 0) => ("All is well", "Mail comes in, goes out and is kept.".to_owned()),
        (0, 0, _) => {
            ("Probably all is well", "Some questions could not be answered yet.".to_owned())
        }
        (0, some, _) => ("It works, but not well for all", things(some, "could be better")),
        (some, _, _) => ("The box needs you", things(some, "must be put right")),
    };
    html! { h1 { (title) } p.lead { (text) } }
}

fn things(count: usize, what: &str) -> String {
    if count == 1 { format!("One thing {what}.") } else { format!("{count} things {what}.") }
}

/// Findings, the ones that need somebody first. What is fine takes one line. What to do is hidden
/// until asked for where the page itself is about that, and `with_fix` is false.
fn findings<'a>(all: impl Iterator<Item = &'a Finding>, with_fix: bool) -> Markup {
    let mut all: Vec<&Finding> = all.collect();
    all.sort_by_key(|finding| face(&finding.outcome).rank);
    html! {
        ul.findings {
            @for finding in all {
                @let face = face(&finding.outcome);
                li class=(face.class) {
                    @let question = html! {
                        span.mark aria-hidden="true" { (face.sign) } " "
                        strong { (finding.question) } " " span.word { (face.word) }
                    };
                    @if finding.outcome == Outcome::Ok {
                        (folded(&question, &evidence(finding)))
                    } @else {
                        p { (question) }
                        p { (sentence(finding.outcome.detail())) }
                        @if with_fix { (advice(finding, &face)) }
                        @else if !finding.fix.is_empty() {
                            (folded(&html! { "What to do" }, &advice(finding, &face)))
                        }
                        @if !finding.evidence.is_empty() {
                            (folded(&html! { "What was asked" }, &evidence(finding)))
                        }
                    }
                }
            }
        }
    }
}

/// Why it matters, and what to do.
fn advice(finding: &Finding, face: &Face) -> Markup {
    html! {
        @if face.rank < 2 && !finding.why.is_empty() { p.help { (finding.why) } }
        @if !finding.fix.is_empty() { p.fix { (finding.fix) } }
    }
}

fn evidence(finding: &Finding) -> Markup {
    html! { ul { @for line in &finding.evidence { li { (line) } } } }
}

fn folded(title: &Markup, content: &Markup) -> Markup {
    html! { details { summary { (title) } (content) } }
}

struct Face {
    rank: u8,
    class: &'static str,
    sign: &'static str,
    word: &'static str,
}

/// A sign and a word beside the colour: not everyone tells colours apart.
fn face(outcome: &Outcome) -> Face {
    let (rank, class, sign, word) = match outcome {
        Outcome::Broken(_) => (0, "broken", "✕", "broken"),
        Outcome::Attention(_) => (1, "attention", "!", "needs you"),
        Outcome::Unknown(_) => (2, "unknown", "?", "could not tell"),
        Outcome::Ok => (3, "ok", "✓", "fine"),
        Outcome::NotApplicable(_) => (4, "skipped", "–", "not needed"),
    };
    Face { rank, class, sign, word }
}

fn matters_here(area: Area) -> bool {
    matches!(area, Area::Network | Area::Dns | Area::ReverseDns | Area::Authentication)
}

/// When something was, by the clock on the wall where that is known.
pub(super) fn moment(at: Timestamp, zone: &str) -> String {
    match at.in_tz(zone) {
        Ok(here) => here.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => format!("{} UTC", at.strftime("%Y-%m-%d %H:%M")),
    }
}

/// A value with a button that copies it, where the browser can.
fn copyable(name: &str, value: &str) -> Markup {
    html! {
        div.value {
            span.name { (name) }
            code { (value) }
            button.copy.quiet type="button" hidden data-js data-copy
                aria-label={ "Copy " (name) } { "Copy" }
        }
    }
}

fn line(name: &str, value: &str) -> Markup {
    html! { div.value { span.name { (name) } span { (value) } } }
}
