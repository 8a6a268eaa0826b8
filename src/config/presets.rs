//! Relays that many people use: what to connect to, what the user name is, and what belongs into
//! the SPF record. One table; the settings name an entry by its short name.

use super::RelayTls;

/// A well-known relay.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// What the settings call it.
    pub name: &'static str,
    /// Where it listens.
    pub host: &'static str,
    /// The port for submission.
    pub port: u16,
    /// How the connection is protected.
    pub tls: RelayTls,
    /// What to write as `user`, for people.
    pub user: &'static str,
    /// What the SPF record of our domain includes, so that it may send for us; nothing where the
    /// relay sends under a domain of its own.
    pub spf: Option<&'static str>,
}

/// All of them, by name.
pub const PRESETS: &[Preset] = &[
    preset(
        "brevo",
        "smtp-relay.brevo.com",
        STARTTLS,
        "the login shown under SMTP",
        "spf.brevo.com",
    ),
    preset("fastmail", "smtp.fastmail.com", IMPLICIT, ADDRESS, "spf.messagingengine.com"),
    preset("gmail", "smtp.gmail.com", IMPLICIT, GOOGLE, "_spf.google.com"),
    preset("google-workspace", "smtp-relay.gmail.com", IMPLICIT, GOOGLE, "_spf.google.com"),
    preset("mailersend", "smtp.mailersend.net", STARTTLS, SHOWN, "_spf.mailersend.net"),
    preset("mailgun", "smtp.mailgun.org", IMPLICIT, "postmaster@ and your domain", "mailgun.org"),
    preset(
        "mailgun-eu",
        "smtp.eu.mailgun.org",
        IMPLICIT,
        "postmaster@ and your domain",
        "mailgun.org",
    ),
    preset("mailjet", "in-v3.mailjet.com", STARTTLS, "the API key", "spf.mailjet.com"),
    preset("migadu", "smtp.migadu.com", IMPLICIT, ADDRESS, "spf.migadu.com"),
    preset("office365", "smtp.office365.com", STARTTLS, ADDRESS, "spf.protection.outlook.com"),
    preset("postmark", "smtp.postmarkapp.com", STARTTLS, "the server's API token", "spf.mtasv.net"),
    preset("resend", "smtp.resend.com", IMPLICIT, "the word resend", "amazonses.com"),
    preset("scaleway", "smtp.tem.scaleway.com", IMPLICIT, SHOWN, "_spf.tem.scaleway.com"),
    preset("sendgrid", "smtp.sendgrid.net", IMPLICIT, "the word apikey", "sendgrid.net"),
    preset("ses-eu-central-1", "email-smtp.eu-central-1.amazonaws.com", IMPLICIT, SHOWN, SES),
    preset("ses-eu-west-1", "email-smtp.eu-west-1.amazonaws.com", IMPLICIT, SHOWN, SES),
    preset("ses-us-east-1", "email-smtp.us-east-1.amazonaws.com", IMPLICIT, SHOWN, SES),
    preset("ses-us-west-2", "email-smtp.us-west-2.amazonaws.com", IMPLICIT, SHOWN, SES),
    preset("smtp2go", "mail.smtp2go.com", IMPLICIT, SHOWN, "spf.smtp2go.com"),
    preset("zoho", "smtp.zoho.com", IMPLICIT, ADDRESS, "zoho.com"),
];

impl Preset {
    /// The entry of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
    }
}

const IMPLICIT: (u16, RelayTls) = (465, RelayTls::Implicit);
const STARTTLS: (u16, RelayTls) = (587, RelayTls::StartTls);
const ADDRESS: &str = "your whole address there";
const GOOGLE: &str = "your whole address there; the password is an app password";
const SHOWN: &str = "the SMTP user name shown in your account there";
const SES: &str = "amazonses.com";

const fn preset(
    name: &'static str,
    host: &'static str,
    (port, tls): (u16, RelayTls),
    user: &'static str,
    spf: &'static str,
) -> Preset {
    Preset { name, host, port, tls, user, spf: Some(spf) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed parse is the failed test")]
mod tests {
    use super::*;
    use crate::mail::Domain;

    #[test]
    fn every_preset_has_a_name_of_its_own_and_a_host_that_exists_as_a_name() {
        assert!(PRESETS.is_sorted_by(|a, b| a.name < b.name));
        for preset in PRESETS {
            assert_eq!(Preset::find(&preset.name.to_uppercase()), Some(preset));
            preset.host.parse::<Domain>().unwrap();
            preset.spf.unwrap().parse::<Domain>().unwrap();
        }
        assert_eq!(Preset::find("nobody"), None);
    }
}
