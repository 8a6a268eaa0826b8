//! The questions of the set-up, asked in the browser and answered in the file alike: one table,
//! so that page, file and documentation never say different things.

use crate::accounts::Password;
use crate::mail::{Address, Domain};

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Table and key in `pillarbox.toml`, joined by a dot; also the name of the form's field.
    pub id: &'static str,
    /// As it is asked.
    pub question: &'static str,
    /// What a person who does not know the answer needs to read.
    pub help: &'static str,
    /// What is taken when nothing is said, in words or as the value; nothing when it must be said.
    pub default: Option<&'static str>,
    /// Says what is wrong with an answer, in plain words.
    pub check: fn(&str) -> Result<(), String>,
}

impl Question {
    /// The domain of the household.
    pub const DOMAIN: Self = Self {
        id: "domain.name",
        question: "Your domain",
        help: "The name after the @ of your addresses. It has to be yours: bought from a domain \
               provider, where you can change its DNS records.",
        default: None,
        check: |text| domain(text).map(drop),
    };
    /// The box's own name.
    pub const HOSTNAME: Self = Self {
        id: "box.hostname",
        question: "Name of this box",
        help: "Other servers and your phone find the box under this name. Leave it empty for \
               mail. followed by your domain.",
        default: Some("mail.<your domain>"),
        check: |text| domain(text).map(drop),
    };
    /// For dates in notices.
    pub const TIMEZONE: Self = Self {
        id: "box.timezone",
        question: "Time zone",
        help: "For the dates in messages from the box, such as Europe/Berlin.",
        default: Some("UTC"),
        check: timezone,
    };
    /// The first account.
    pub const ADDRESS: Self = Self {
        id: "owner.address",
        question: "Your address",
        help: "Your own mail account. Mail to postmaster and abuse comes here too.",
        default: None,
        check: |text| address(text).map(drop),
    };
    /// Its password.
    pub const PASSWORD: Self = Self {
        id: "owner.password",
        question: "Password",
        help: "At least 8 characters, used nowhere else. Three or four random words are easy to \
               type on a phone.",
        default: None,
        check: password,
    };
    /// The way out.
    pub const OUTBOUND: Self = Self {
        id: "outbound.mode",
        question: "How should your mail go out?",
        help: "Many home connections may not send mail directly. If yours may not, a mail \
               provider can send it for you.",
        default: Some("direct"),
        check: |text| match text {
            "direct" | "relay" | "hold" => Ok(()),
            _ => Err("choose one of the ways".to_owned()),
        },
    };
    /// The relay's name.
    pub const RELAY_HOST: Self = Self {
        id: "outbound.relay.host",
        question: "Outgoing mail server of the provider",
        help: "As the provider writes it in its help for mail programs.",
        default: None,
        check: |text| domain(text).map(drop),
    };
    /// The relay's port.
    pub const RELAY_PORT: Self = Self {
        id: "outbound.relay.port",
        question: "Port",
        help: "465 (TLS from the start) or 587 (STARTTLS).",
        default: Some("465"),
        check: |text| match text.parse::<u16>() {
            Ok(1..) => Ok(()),
            _ => Err("a port is a number from 1 to 65535, here 465 or 587".to_owned()),
        },
    };
    /// The relay's login.
    pub const RELAY_USER: Self = Self {
        id: "outbound.relay.user",
        question: "User name at the provider",
        help: "Often your address there.",
        default: None,
        check: filled,
    };
    /// The relay's password.
    pub const RELAY_PASSWORD: Self = Self {
        id: "outbound.relay.password",
        question: "Password at the provider",
        help: "Better an app password made for this box than your main one.",
        default: None,
        check: filled,
    };
}

/// All of them, in the order they are asked.
pub const QUESTIONS: [Question; 10] = [
    Question::DOMAIN,
    Question::HOSTNAME,
    Question::TIMEZONE,
    Question::ADDRESS,
    Question::PASSWORD,
    Question::OUTBOUND,
    Question::RELAY_HOST,
    Question::RELAY_PORT,
    Question::RELAY_USER,
    Question::RELAY_PASSWORD,
];

/// A name the world can look up.
pub(super) fn domain(text: &str) -> Result<Domain, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("write a domain, such as example.org".to_owned());
    }
    if text.contains('@') {
        return Err(format!("{text:?} is an address; write only what stands after the @"));
    }
    if text.contains("://") || text.contains('/') {
        return Err(format!("{text:?} is a web address; write only its domain"));
    }
    let domain: Domain = text
        .parse()
        .map_err(|_| format!("{text:?} is not a domain name; write one such as example.org"))?;
    if !domain.as_str().contains('.') {
        return Err(format!(
            "{text:?} has no dot, so nobody outside could find it; write a whole domain such as \
             example.org"
        ));
    }
    if domain.as_str().rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!("{text:?} is a number, not a name; write one such as example.org"));
    }
    Ok(domain)
}

/// A time zone that exists; any plausible name where the system has no list of them.
pub(super) fn timezone(name: &str) -> Result<(), String> {
    let plausible = !name.is_empty()
        && !name.starts_with('/')
        && !name.contains("..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    let database = jiff::tz::db();
    if plausible
        && (name == "UTC" || database.is_definitively_empty() || database.get(name).is_ok())
    {
        Ok(())
    } else {
        Err(format!("{name:?} is not a time zone; write one such as \"Europe/Berlin\""))
    }
}

fn address(text: &str) -> Result<Address, String> {
    text.trim().parse().map_err(|error: crate::mail::AddressError| error.to_string())
}

fn password(text: &str) -> Result<(), String> {
    if text.chars().count() < Password::MIN {
        Err(format!("a password needs at least {} characters", Password::MIN))
    } else {
        Ok(())
    }
}

fn filled(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("this is needed".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_its_own_place_in_the_file() {
        for (index, one) in QUESTIONS.iter().enumerate() {
            assert!(QUESTIONS.iter().skip(index + 1).all(|other| other.id != one.id), "{}", one.id);
            assert!(!one.question.is_empty() && !one.help.is_empty());
        }
    }

    #[test]
    fn common_slips_are_named() {
        let slips =
            [("alice@example.org", "@"), ("https://example.org/", "web address"), ("home", "dot")];
        for (text, word) in slips {
            let said = domain(text).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
        assert!(domain("192.168.1.5").is_err());
        assert_eq!(domain(" Example.ORG. ").unwrap().as_str(), "example.org");
    }
}
