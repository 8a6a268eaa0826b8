//! The frame around every page, its notes, and the forms of the set-up.

use maud::{DOCTYPE, Markup, html};

use super::claim::Refusal;
use super::signin::{self, Visitor};
use super::wizard::{AGAIN, Complaint, Form, Home, Names, Way};
use super::{Wizard, junk, queue, reported};
use crate::config::Question;

/// A form that is being asked: who may send it, what was sent before, what was wrong with it.
pub(super) struct Asked<'a> {
    pub(super) mark: &'a str,
    pub(super) form: &'a Form,
    pub(super) complaints: &'a [Complaint],
}

/// Who looks at a page, as far as its frame tells.
pub(super) enum Around<'a> {
    /// Nobody in particular.
    Nobody,
    /// Somebody who may sign in.
    Guest,
    /// Somebody who is signed in, and on which page.
    Visitor(&'a Visitor, &'a str),
}

/// The page with everything around it. `extra` goes into the head.
pub(super) fn frame(title: &str, extra: &Markup, body: &Markup) -> Markup {
    framed(title, extra, &Around::Nobody, body)
}

/// The same for whom it is meant.
pub(super) fn framed(title: &str, extra: &Markup, around: &Around<'_>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Pillarbox" }
                link rel="icon" type="image/svg+xml" href="/icon.svg";
                link rel="stylesheet" href="/style.css";
                script src="/page.js" defer {}
                (extra)
            }
            body {
                header {
                    a.brand href="/" { (emblem()) "Pillarbox" }
                    @match around {
                        Around::Nobody => {}
                        Around::Guest => a.button.quiet href=(signin::PATH) { "Sign in" },
                        Around::Visitor(visitor, _) => (sign_out(visitor)),
                    }
                }
                @if let Around::Visitor(visitor, here) = around { (ways(visitor, here)) }
                main { (body) }
            }
        }
    }
}

fn sign_out(visitor: &Visitor) -> Markup {
    html! {
        form.out method="post" action="/sign-out" {
            input type="hidden" name="mark" value=(visitor.mark());
            button.quiet type="submit" { "Sign out" }
        }
    }
}

/// The ways from page to page.
fn ways(visitor: &Visitor, here: &str) -> Markup {
    let way = |path: &str, name: &str| {
        html! { a href=(path) aria-current=[(path == here).then_some("page")] { (name) } }
    };
    html! {
        nav aria-label="Pages" {
            (way("/", "The box"))
            (way(junk::PATH, "Junk"))
            @if visitor.is_owner {
                (way(queue::PATH, "Waiting"))
                (way(reported::PATH, "Reports"))
            }
        }
    }
}

/// What is told after a colon elsewhere, as a sentence of its own. A first word that is a name or
/// a quotation stays as it is.
pub(super) fn sentence(text: &str) -> String {
    let word = text.split([' ', ',', ';']).next().unwrap_or_default();
    let mut characters = text.chars();
    let mut sentence: String = match characters.next() {
        Some(first) if word.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            first.to_uppercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    };
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?', ':']) {
        sentence.push('.');
    }
    sentence
}

/// A page that says one thing.
pub(super) struct Note {
    title: &'static str,
    text: &'static str,
}

pub(super) const NOT_FOUND: Note =
    Note { title: "No such page", text: "There is nothing at this address." };
pub(super) const CLOSED: Note = Note {
    title: "The set-up is done",
    text: "This box is in use, so its set-up is closed. Settings are changed with a file \
           pillarbox.toml: on the box’s card, or on a computer with pillarbox setup.",
};
pub(super) const EXPIRED: Note = Note {
    title: "Please show the code again",
    text: "The set-up was open for too long without a word, or in another browser. What you \
           entered so far is kept: go to the start and type the code from the display.",
};
pub(super) const OWNERS_ONLY: Note = Note {
    title: "This page is for the owner",
    text: "It tells of the mail of the whole household. Sign in with the owner’s account to see it.",
};
pub(super) const NOT_ENCRYPTED: Note = Note {
    title: "This needs an encrypted connection",
    text: "Your password could be read on its way. Open this box’s page with https:// before its \
           name, and sign in there.",
};
pub(super) const FOREIGN: Note = Note {
    title: "This form was not taken",
    text: "It did not come from the page that the box gave you. Go to the start and try again.",
};
pub(super) const NO_BOARD: Note = Note {
    title: "No panel to show",
    text: "The panel is not shown here. While it shows the set-up code, it can be read only \
           where it stands.",
};
pub(super) const NO_RANDOM: Note = Note {
    title: "The box is not ready yet",
    text: "The system has no random numbers to give. Wait a minute and try again.",
};
pub(super) const BROKEN: Note = Note {
    title: "That did not work",
    text: "The box could not finish this in time. Nothing is lost: go to the start and try again.",
};

pub(super) fn note(note: &Note) -> Markup {
    let body = html! {
        h1 { (note.title) }
        p { (note.text) }
        p { a.button href="/" { "To the start" } }
    };
    frame(note.title, &html! {}, &body)
}

/// Asks for the code on the display.
pub(super) fn claim(held: bool, refusal: Option<Refusal>) -> Markup {
    let problem = match refusal {
        None if !held => None,
        Some(Refusal::Wrong) => {
            Some("That is not the code. Look at the display once more.".to_owned())
        }
        Some(Refusal::Shut(wait)) => Some(format!(
            "That was wrong too often, so codes are not taken for {} now. Wait, then type the code \
             from the display.",
            duration(wait.as_secs().max(1))
        )),
        None | Some(Refusal::Held) => Some(
            "The set-up is open in another browser. Go on there; or restart the box to begin here \
             with a new code."
                .to_owned(),
        ),
    };
    let body = html! {
        h1 { "Hello! This is your new post office." }
        p.lead {
            "It will receive, keep and send the mail of your household. Setting it up takes "
            "about ten minutes, and you need a domain of your own."
        }
        @if let Some(text) = &problem { p.problem role="alert" { (text) } }
        form method="post" action="/claim" autocomplete="off" {
            label for="code" { "Code on the box’s display" }
            p.help #code-help {
                "Eight digits. They show that you stand before the box. Without a display, "
                "connect a screen: the code is shown there too."
            }
            input.code #code name="code" inputmode="numeric" autocomplete="one-time-code"
                maxlength="20" placeholder="0000-0000" aria-describedby="code-help" required autofocus;
            button type="submit" { "Begin" }
        }
    };
    frame("Set-up", &html! {}, &body)
}

/// The steps that ask something.
pub(super) fn step(asked: &Asked<'_>, wizard: &Wizard) -> Markup {
    match wizard {
        Wizard::Domain { names, .. } => domain(asked, wizard, names.as_ref()),
        Wizard::Owner { names, made } => {
            let before = made.as_ref().map(|made| made.local().to_string());
            owner(asked, wizard, names, before.as_deref().unwrap_or_default())
        }
        Wizard::Sending(home) => sending(asked, wizard, home),
        // These show more than questions, see `views`.
        Wizard::Records(_) | Wizard::Phone(_) | Wizard::Done => note(&CLOSED),
    }
}

/// A step: its number, its title, its content, and the form around it with its buttons.
pub(super) fn step_frame(
    asked: &Asked<'_>,
    wizard: &Wizard,
    title: &str,
    content: &Markup,
    next: &str,
) -> Markup {
    let (number, steps) = (wizard.number(), Wizard::STEPS);
    let body = html! {
        p.steps { "Step " (number) " of " (steps) }
        progress max=(steps) value=(number) aria-hidden="true" {}
        h1 { (title) }
        @for complaint in asked.complaints.iter().filter(|complaint| complaint.field.is_empty()) {
            p.problem role="alert" { (sentence(&complaint.text)) }
        }
        form method="post" action="/setup" autocomplete="off" novalidate {
            input type="hidden" name="mark" value=(asked.mark);
            input type="hidden" name="step" value=(wizard.name());
            (content)
            div.buttons {
                // First in the form, so that the Enter key means it.
                button type="submit" name="go" value="next" { (next) }
                @if wizard.back().is_some() {
                    button.quiet type="submit" name="go" value="back" { "Back" }
                }
            }
        }
    };
    frame(title, &html! {}, &body)
}

fn domain(asked: &Asked<'_>, wizard: &Wizard, names: Option<&Names>) -> Markup {
    let before = |pick: fn(&Names) -> &str| names.map(pick).unwrap_or_default();
    let content = html! {
        (field(asked, &Question::DOMAIN, Kind::Name, before(|names| names.domain.as_str())))
        (field(asked, &Question::HOSTNAME, Kind::Name, before(|names| names.hostname.as_str())))
        (field(asked, &Question::TIMEZONE, Kind::Zone, before(|names| names.timezone.as_str())))
    };
    step_frame(asked, wizard, "Which domain is yours?", &content, "Next")
}

fn owner(asked: &Asked<'_>, wizard: &Wizard, names: &Names, before: &str) -> Markup {
    let again =
        Question { id: AGAIN, question: "Password once more", help: "", ..Question::PASSWORD };
    let content = html! {
        (field(asked, &Question::ADDRESS, Kind::Local(names.domain.as_str()), before))
        (field(asked, &Question::PASSWORD, Kind::NewPassword, ""))
        (field(asked, &again, Kind::NewPassword, ""))
        label.check hidden data-js { input type="checkbox" data-show; " Show the passwords" }
        p.help {
            "This page may not be encrypted yet, so choose a new password for the box; do not "
            "type one that you use elsewhere."
        }
    };
    step_frame(asked, wizard, "Your account", &content, "Create account")
}

fn sending(asked: &Asked<'_>, wizard: &Wizard, home: &Home) -> Markup {
    let sent = asked.form.get(Question::OUTBOUND.id);
    let (mode, host, port, user) = match &home.way {
        Way::Direct => ("direct", "", 465, ""),
        Way::Hold => ("hold", "", 465, ""),
        Way::Relay { host, port, user } => ("relay", host.as_str(), *port, user.as_str()),
    };
    let chosen = if sent.is_empty() { mode } else { sent };
    let way = |value: &str, title: &str, text: &str| {
        html! {
            label.choice {
                input type="radio" name=(Question::OUTBOUND.id) value=(value)
                    checked[chosen == value];
                span { strong { (title) } br; (text) }
            }
        }
    };
    let content = html! {
        fieldset {
            legend { (Question::OUTBOUND.question) }
            p.help { (Question::OUTBOUND.help) }
            (way("direct", "By itself", "The box brings your mail to each receiver. Needs a \
                connection that may send mail: the check in the next step tells."))
            (way("relay", "Through a mail provider", "The provider brings it. Works on every \
                connection; you need a mail account there."))
            (way("hold", "Not yet", "Receive only. What you send is kept here until you decide."))
            @for complaint in complaints_at(asked, Question::OUTBOUND.id) {
                p.problem role="alert" { (sentence(&complaint.text)) }
            }
        }
        fieldset.relay {
            legend { "Your mail provider" }
            (field(asked, &Question::RELAY_HOST, Kind::Name, host))
            (field(asked, &Question::RELAY_PORT, Kind::Number, &port.to_string()))
            (field(asked, &Question::RELAY_USER, Kind::Name, user))
            (field(asked, &Question::RELAY_PASSWORD, Kind::OldPassword, ""))
        }
    };
    step_frame(asked, wizard, "Sending", &content, "Next")
}

/// What kind of field a question has.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Name,
    Number,
    Zone,
    /// The part before the @ of this domain.
    Local(&'a str),
    NewPassword,
    OldPassword,
}

fn field(asked: &Asked<'_>, question: &Question, kind: Kind<'_>, before: &str) -> Markup {
    let id = question.id;
    let secret = matches!(kind, Kind::NewPassword | Kind::OldPassword);
    let sent = asked.form.get(id);
    let value = match (secret, sent.is_empty()) {
        // What was typed as a password is never sent back.
        (true, _) => "",
        (false, true) => before,
        (false, false) => sent,
    };
    let wrong = complaints_at(asked, id).next();
    let (help, problem) = (format!("{id}-help"), format!("{id}-problem"));
    let described = match wrong {
        Some(_) => format!("{problem} {help}"),
        None => help.clone(),
    };
    let complete = match kind {
        Kind::NewPassword => "new-password",
        _ => "off",
    };
    html! {
        div.field {
            label for=(id) { (question.question) }
            @if !question.help.is_empty() { p.help id=(help) { (question.help) } }
            div.input {
                input id=(id) name=(id) value=(value) type=(if secret { "password" } else { "text" })
                    inputmode=[matches!(kind, Kind::Number).then_some("numeric")]
                    placeholder=[question.default.filter(|_| !secret)]
                    data-zone[matches!(kind, Kind::Zone)]
                    autocomplete=(complete) autocapitalize="none" spellcheck="false"
                    aria-describedby=(described) aria-invalid=[wrong.map(|_| "true")];
                @if let Kind::Local(domain) = kind { span.suffix { "@" (domain) } }
            }
            @if let Some(complaint) = wrong {
                p.problem id=(problem) role="alert" { (sentence(&complaint.text)) }
            }
        }
    }
}

fn complaints_at<'a>(asked: &Asked<'a>, field: &str) -> impl Iterator<Item = &'a Complaint> {
    asked.complaints.iter().filter(move |complaint| complaint.field == field)
}

pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        1 => "one second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// A pillar box.
fn emblem() -> Markup {
    html! {
        svg width="22" height="28" viewBox="0 0 22 28" aria-hidden="true" {
            path.red d="M2 8a9 6 0 0 1 18 0v2h-1v14h1v3H2v-3h1V10H2z" {}
            path.slot d="M6 12h10v2.4H6z" {}
        }
    }
}
