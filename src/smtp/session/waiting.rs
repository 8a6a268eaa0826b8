//! Questions on their way: what each answer does to the session.

use super::receiving::hand_over;
use super::stages::{Ready, Stage};
use super::transaction::{Mail, Rcpt};
use super::{Answer, Desk, Effect, Handover, MAX_LOGINS, State};
use crate::accounts::sasl::scram::{Finding, Step};
use crate::mail::Recipient;
use crate::smtp::reply::{self, Reply};

/// Somebody outside has to answer.
#[derive(Debug)]
pub(super) enum Waiting {
    Tls,
    Login(Ready),
    Salt(Ready, Finding),
    Proof(Ready),
    Sender(Mail),
    FirstRecipient(Mail, Recipient),
    Recipient(Rcpt, Recipient),
    Authors(Ready, Box<Handover>),
    Accept(Ready, String),
}

impl Waiting {
    pub(super) fn answered(self, verdict: Result<Answer, Reply>, desk: &mut Desk) -> State {
        let (stage, reply) = match (self, verdict) {
            (Self::Login(ready) | Self::Salt(ready, _) | Self::Proof(ready), Err(refusal)) => {
                return failed(ready, refusal, desk);
            }
            (Self::Login(ready), Ok(_)) => {
                desk.enter();
                return ready.into();
            }
            (Self::Salt(ready, finding), Ok(Answer::Salt(salted))) => {
                return ready.by_proof(Ok(finding.found(&salted)), desk);
            }
            (Self::Proof(ready), Ok(Answer::Proven(signature))) => {
                return ready.by_proof(Ok(Step::proved(&signature)), desk);
            }
            // An answer to another question; the handshake has one of its own.
            (Self::Tls, _) | (Self::Salt(..) | Self::Proof(_), Ok(_)) => return State::Closed,
            (Self::Sender(mail), Ok(_)) => (Stage::Mail(mail), reply::SENDER_OK),
            (Self::Sender(mail), Err(refusal)) => (Stage::Ready(mail.ready), desk.idle(refusal)),
            (Self::FirstRecipient(mail, to), Ok(_)) => {
                desk.proven = true;
                (Stage::Rcpt(Rcpt { mail, to: vec![to] }), reply::RECIPIENT_OK)
            }
            (Self::FirstRecipient(mail, _), Err(refusal)) => {
                desk.refuse_recipient(refusal);
                return State::Command(Stage::Mail(mail));
            }
            (Self::Recipient(mut rcpt, to), Ok(_)) => {
                // Said twice is delivered once.
                if !rcpt.to.iter().any(|known| known.address == to.address) {
                    rcpt.to.push(to);
                }
                (Stage::Rcpt(rcpt), reply::RECIPIENT_OK)
            }
            (Self::Recipient(rcpt, _), Err(refusal)) => {
                desk.refuse_recipient(refusal);
                return State::Command(Stage::Rcpt(rcpt));
            }
            (Self::Authors(ready, handover), Ok(_)) => return hand_over(ready, handover, desk),
            (Self::Authors(ready, _), Err(refusal)) => {
                desk.effects.push_back(Effect::DropBody);
                (Stage::Ready(ready), refusal)
            }
            (Self::Accept(ready, id), Ok(_)) => {
                desk.wasted = 0;
                let text = format!("The message is safe here as {id}");
                (Stage::Ready(ready), Reply::worded(250, "2.0.0", &text))
            }
            (Self::Accept(ready, _), Err(refusal)) => (Stage::Ready(ready), refusal),
        };
        desk.say(reply);
        State::Command(stage)
    }
}

fn failed(ready: Ready, refusal: Reply, desk: &mut Desk) -> State {
    desk.failed_logins += 1;
    desk.misstep(refusal);
    if desk.failed_logins >= MAX_LOGINS {
        desk.say(reply::TOO_MANY_LOGINS);
        return State::Closed;
    }
    ready.into()
}

impl Desk {
    /// A recipient that is none: with a stranger, a sign of guessing.
    fn refuse_recipient(&mut self, refusal: Reply) {
        if self.logged_in || refusal.is_transient() {
            self.say(refusal);
        } else {
            let refusal = self.idle(refusal);
            self.misstep(refusal);
        }
    }
}
