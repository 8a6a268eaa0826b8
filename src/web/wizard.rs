//! The set-up step by step, without I/O: a form goes in, a move or complaints come out. A step
//! holds what is known by then, and no password, so that it can be kept on the card and a power
//! cut in the middle costs nothing but the code once more.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::accounts::Password;
use crate::config::{
    ConfigFile, DomainTable, MachineTable, OutboundTable, OwnerTable, Question, RelayTable,
};
use crate::mail::{Address, Domain};

/// The step's name in the data folder while the set-up lasts.
pub const WIZARD_FILE: &str = "wizard.json";

/// Where the set-up is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Wizard {
    /// Asks for the domain and the box's name.
    Domain {
        /// What was said before, when coming back.
        names: Option<Names>,
        /// The account that was made before, when coming back.
        made: Option<Address>,
    },
    /// Asks for address and password; what follows is carried out at once.
    Owner {
        /// Said before.
        names: Names,
        /// The account that was made before, when coming back.
        made: Option<Address>,
    },
    /// Asks for the way out.
    Sending(Home),
    /// Shows the records to publish.
    Records(Home),
    /// Shows the settings for the phone.
    Phone(Home),
    /// The box is in use.
    Done,
}

/// The names of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The household's domain.
    pub domain: Domain,
    /// The box's own.
    pub hostname: Domain,
    /// IANA time zone.
    pub timezone: String,
}

/// A box whose owner has an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The names of the box.
    pub names: Names,
    /// The owner's account.
    pub owner: Address,
    /// The way out, as far as it was said.
    pub way: Way,
}

/// The way out, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// To each receiving server.
    Direct,
    /// Through a provider.
    Relay {
        /// Its server.
        host: Domain,
        /// The server's port.
        port: u16,
        /// The login there.
        user: String,
    },
    /// Kept for now.
    Hold,
}

impl Wizard {
    /// The first step of a new box.
    pub const NEW: Self = Self::Domain { names: None, made: None };
    /// How many steps a person sees.
    pub const STEPS: usize = 5;

    /// Counted from 1, for people.
    pub fn number(&self) -> usize {
        match self {
            Self::Domain { .. } => 1,
            Self::Owner { .. } => 2,
            Self::Sending(_) => 3,
            Self::Records(_) => 4,
            Self::Phone(_) | Self::Done => Self::STEPS,
        }
    }

    /// The step's name in its form. A form of another step, sent by the browser's back button or
    /// a second tap, is not taken for this one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Domain { .. } => "domain",
            Self::Owner { .. } => "owner",
            Self::Sending(_) => "sending",
            Self::Records(_) => "records",
            Self::Phone(_) => "phone",
            Self::Done => "done",
        }
    }

    /// Whether nothing was carried out yet.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Domain { made: None, .. } | Self::Owner { made: None, .. })
    }

    /// What a form leads to.
    pub fn take(&self, form: &Form) -> Result<Move, Vec<Complaint>> {
        if form.get("step") != self.name() {
            return Ok(Move::Stay);
        }
        if form.get("go") == "back" {
            return Ok(self.back().map_or(Move::Stay, Move::Go));
        }
        match self {
            Self::Domain { made, .. } => domain(form, made.clone()),
            Self::Owner { names, made } => owner(form, names, made.as_ref()),
            Self::Sending(home) => sending(form, home),
            Self::Records(home) => Ok(Move::Go(Self::Phone(home.clone()))),
            Self::Phone(_) => Ok(Move::Go(Self::Done)),
            Self::Done => Ok(Move::Stay),
        }
    }

    /// The step before this one; nothing before the first and after the last.
    pub fn back(&self) -> Option<Self> {
        match self {
            Self::Domain { .. } | Self::Done => None,
            Self::Owner { names, made } => {
                Some(Self::Domain { names: Some(names.clone()), made: made.clone() })
            }
            Self::Sending(home) => {
                Some(Self::Owner { names: home.names.clone(), made: Some(home.owner.clone()) })
            }
            Self::Records(home) => Some(Self::Sending(home.clone())),
            Self::Phone(home) => Some(Self::Records(home.clone())),
        }
    }
}

/// What a form leads to.
#[derive(Debug, Clone)]
pub enum Move {
    /// Nowhere: it was a form of another step.
    Stay,
    /// To a step.
    Go(Wizard),
    /// To a step, once a change was carried out.
    Apply(Box<Change>, Wizard),
}

/// What has to be carried out.
#[derive(Debug, Clone)]
pub enum Change {
    /// Names and account.
    Owner {
        /// The names of the box.
        names: Names,
        /// The owner's account.
        owner: Address,
        /// Its password.
        password: Password,
        /// The account made before under a mistaken address.
        replaces: Option<Address>,
    },
    /// The way out.
    Sending {
        /// The way.
        way: Way,
        /// The login's password at the relay; nothing when it was said before.
        password: Option<Password>,
    },
}

impl Change {
    /// Puts the change into the configuration, and leaves the rest of it as it is.
    pub fn onto(self, mut file: ConfigFile) -> (ConfigFile, Option<Address>) {
        match self {
            Self::Owner { names, owner, password, replaces } => {
                file.machine = Some(MachineTable {
                    hostname: Some(names.hostname.to_string()),
                    timezone: Some(names.timezone),
                });
                file.domain = vec![DomainTable { name: Some(names.domain.to_string()) }];
                file.owner =
                    Some(OwnerTable { address: Some(owner.to_string()), password: Some(password) });
                (file, replaces)
            }
            Self::Sending { way, password } => {
                let (mode, relay) = match way {
                    Way::Direct => ("direct", None),
                    Way::Hold => ("hold", None),
                    Way::Relay { host, port, user } => {
                        let host = Some(host.to_string());
                        let (port, user) = (Some(port), Some(user));
                        let relay =
                            RelayTable { host, port, user, password, ..RelayTable::default() };
                        ("relay", Some(relay))
                    }
                };
                let rest = file.outbound.take().unwrap_or_default();
                file.outbound = Some(OutboundTable { mode: Some(mode.to_owned()), relay, ..rest });
                (file, None)
            }
        }
    }
}

/// A form as it was sent. Fields that were not sent are empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Form(HashMap<String, String>);

impl Form {
    /// A field's text, without blanks around it.
    pub fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", |text| text.trim())
    }

    /// A password: blanks count.
    fn password(&self, field: &str) -> Password {
        Password::new(self.0.get(field).cloned().unwrap_or_default())
    }

    /// A password field's text, to show again in nothing but its own check.
    fn is_blank(&self, field: &str) -> bool {
        self.0.get(field).is_none_or(String::is_empty)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Form {
    fn from(fields: [(&str, &str); N]) -> Self {
        Self(fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The field; empty for the form as a whole.
    pub field: &'static str,
    /// In plain words, with what to do.
    pub text: String,
}

/// The second field for the password.
pub(super) const AGAIN: &str = "owner.again";

fn domain(form: &Form, made: Option<Address>) -> Result<Move, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let domain: Option<Domain> = answer(form, &Question::DOMAIN, &mut complaints);
    let hostname: Option<Domain> = match &domain {
        Some(domain) if form.get(Question::HOSTNAME.id).is_empty() => {
            let mail = domain.child("mail");
            if mail.is_err() {
                let text = "the domain is too long".to_owned();
                complaints.push(Complaint { field: Question::DOMAIN.id, text });
            }
            mail.ok()
        }
        _ if form.get(Question::HOSTNAME.id).is_empty() => None,
        _ => answer(form, &Question::HOSTNAME, &mut complaints),
    };
    let timezone: Option<String> = if form.get(Question::TIMEZONE.id).is_empty() {
        Some("UTC".to_owned())
    } else {
        answer(form, &Question::TIMEZONE, &mut complaints)
    };
    match (domain, hostname, timezone) {
        (Some(domain), Some(hostname), Some(timezone)) if complaints.is_empty() => {
            Ok(Move::Go(Wizard::Owner { names: Names { domain, hostname, timezone }, made }))
        }
        _ => Err(complaints),
    }
}

fn owner(form: &Form, names: &Names, made: Option<&Address>) -> Result<Move, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let mut complain = |field, text: String| complaints.push(Complaint { field, text });
    let said = form.get(Question::ADDRESS.id);
    // The domain is known: the name before the @ is enough.
    let whole = if said.is_empty() || said.contains('@') {
        said.to_owned()
    } else {
        format!("{said}@{}", names.domain)
    };
    let owner: Option<Address> = match whole.parse::<Address>() {
        _ if whole.is_empty() => {
            complain(Question::ADDRESS.id, "write the name you want, such as alice".to_owned());
            None
        }
        Ok(address) if *address.domain() == names.domain => Some(address),
        Ok(address) => {
            let text = format!(
                "the address has to end in @{}; for {} go back and change the domain",
                names.domain,
                address.domain()
            );
            complain(Question::ADDRESS.id, text);
            None
        }
        Err(error) => {
            complain(Question::ADDRESS.id, error.to_string());
            None
        }
    };
    let password = form.password(Question::PASSWORD.id);
    if let Err(text) = (Question::PASSWORD.check)(password.expose()) {
        complain(Question::PASSWORD.id, text);
    } else if form.password(AGAIN).expose() != password.expose() {
        complain(AGAIN, "the two passwords differ; write the same one twice".to_owned());
    }
    let Some(owner) = owner.filter(|_| complaints.is_empty()) else {
        return Err(complaints);
    };
    let replaces = made.filter(|former| former.key() != owner.key()).cloned();
    let home = Home { names: names.clone(), owner: owner.clone(), way: Way::Direct };
    let change = Change::Owner { names: names.clone(), owner, password, replaces };
    Ok(Move::Apply(Box::new(change), Wizard::Sending(home)))
}

fn sending(form: &Form, home: &Home) -> Result<Move, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let mode: Option<String> = answer(form, &Question::OUTBOUND, &mut complaints);
    let (way, password) = match mode.as_deref() {
        Some("direct") => (Way::Direct, None),
        Some("hold") => (Way::Hold, None),
        Some(_) => relay(form, &home.way, &mut complaints).ok_or(complaints)?,
        None => return Err(complaints),
    };
    let home = Home { way: way.clone(), ..home.clone() };
    Ok(Move::Apply(Box::new(Change::Sending { way, password }), Wizard::Records(home)))
}

fn relay(
    form: &Form,
    before: &Way,
    complaints: &mut Vec<Complaint>,
) -> Option<(Way, Option<Password>)> {
    let host: Option<Domain> = answer(form, &Question::RELAY_HOST, complaints);
    let port: Option<u16> = if form.get(Question::RELAY_PORT.id).is_empty() {
        Some(465)
    } else {
        answer(form, &Question::RELAY_PORT, complaints)
    };
    let user: Option<String> = answer(form, &Question::RELAY_USER, complaints);
    let field = Question::RELAY_PASSWORD.id;
    let password = (!form.is_blank(field)).then(|| form.password(field));
    let known = matches!(before, Way::Relay { host: old_host, user: old_user, .. }
        if Some(old_host) == host.as_ref() && Some(old_user) == user.as_ref());
    if password.is_none() && !known {
        complaints.push(Complaint { field, text: "this is needed".to_owned() });
    }
    if !complaints.is_empty() {
        return None;
    }
    Some((Way::Relay { host: host?, port: port?, user: user? }, password))
}

/// The answer to a question, or a complaint.
fn answer<T: std::str::FromStr>(
    form: &Form,
    question: &Question,
    complaints: &mut Vec<Complaint>,
) -> Option<T> {
    let said = form.get(question.id);
    let checked = (question.check)(said)
        .and_then(|()| said.parse().map_err(|_| "this cannot be understood".to_owned()));
    checked.map_err(|text| complaints.push(Complaint { field: question.id, text })).ok()
}

#[cfg(test)]
mod tests;
