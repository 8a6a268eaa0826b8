//! What known replies of mail hosts mean, and what to do about them: one table, read from above.
//! Some say that the host does not take mail from where this box stands, whatever the mail: then
//! a relay helps, where there is one.

use super::states::Problem;

/// A reply that is known.
struct Known {
    /// Enhanced status codes it has; any when empty. `5.7.60` stands for all that begin so.
    status: &'static [&'static str],
    /// Words it contains, in lower case, one of them; any when empty.
    words: &'static [&'static str],
    /// It is about where this box stands, not about the message.
    place: bool,
    advice: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        status: &[],
        words: &["s3140", "s3150", "5.7.606", "5.7.511", "banned sending ip"],
        place: true,
        advice: "Microsoft blocks the address this box sends from: ask for its removal at \
                 https://sender.office.com, or let mail to Microsoft go through a relay.",
    },
    Known {
        status: &["5.7.60", "5.7.61", "5.7.62", "5.7.63", "5.7.64"],
        words: &["blocked", "banned", "sender.office.com"],
        place: true,
        advice: "Microsoft blocks the address this box sends from: ask for its removal at \
                 https://sender.office.com, or let mail to Microsoft go through a relay.",
    },
    Known {
        status: &["5.7.25", "4.7.25"],
        words: &[],
        place: true,
        advice: "the address this box sends from has no name that fits it: ask the internet \
                 provider to set the reverse DNS to this box's name, or send through a relay.",
    },
    Known {
        status: &[],
        words: &["ptr record", "reverse dns", "rdns", "reverse lookup", "reverse hostname"],
        place: true,
        advice: "the address this box sends from has no name that fits it: ask the internet \
                 provider to set the reverse DNS to this box's name, or send through a relay.",
    },
    Known {
        status: &[],
        words: &[
            "spamhaus.org/pbl",
            "/query/pbl",
            "pbl.spamhaus",
            "policy block list",
            "dynamic ip",
            "dynamic address",
            "dynamically assigned",
            "dial-up",
            "dialup",
            "residential",
            "generic hostname",
            "consumer ip",
        ],
        place: true,
        advice: "the host takes no mail from addresses of home connections, and counts ours as \
                 one: ask the internet provider for a fixed address, or send through a relay.",
    },
    Known {
        status: &["5.7.26", "4.7.26", "5.7.509", "5.7.27", "5.7.30"],
        words: &[],
        place: false,
        advice: "the host could not see that this box may send for the domain: publish the SPF, \
                 DKIM and DMARC records that `pillarbox dns` shows, and run the self-check.",
    },
    Known {
        status: &[],
        words: &["unauthenticated email", "spf check", "spf fail", "dmarc policy", "fails dmarc"],
        place: false,
        advice: "the host could not see that this box may send for the domain: publish the SPF, \
                 DKIM and DMARC records that `pillarbox dns` shows, and run the self-check.",
    },
    Known {
        status: &[],
        words: &["tss04", "tss05", "tss09", "ts01", "ts02"],
        place: false,
        advice: "Yahoo does not know this box yet and slows it down: nothing needs to be done; \
                 it takes the mail after some hours.",
    },
    Known {
        status: &[],
        words: &["ts03", "tss06", "tss12"],
        place: true,
        advice: "Yahoo blocks the address this box sends from: see \
                 https://senders.yahooinc.com, or send through a relay.",
    },
    Known {
        status: &["4.7.28", "5.7.28"],
        words: &[],
        place: false,
        advice: "too much mail came to this host at once: wait some hours, and send less at a \
                 time.",
    },
    Known {
        status: &[],
        words: &[
            "spamhaus",
            "spamcop",
            "barracuda",
            "blacklist",
            "blocklist",
            "block list",
            "black list",
            "blocked using",
            "poor reputation",
            "bad reputation",
            "dnsbl",
            "rbl",
        ],
        place: true,
        advice: "the address this box sends from is on a list of senders of spam: the reply says \
                 which; ask there for its removal, or send through a relay.",
    },
    Known {
        status: &["4.2.0", "4.7.1", "4.3.0"],
        words: &["greylist", "graylist", "grey list", "try again later", "please retry"],
        place: false,
        advice: "the host makes senders it does not know wait: nothing needs to be done.",
    },
    Known {
        status: &["5.2.2", "4.2.2"],
        words: &[],
        place: false,
        advice: "tell the recipient by other means that the mailbox is full.",
    },
    Known {
        status: &[],
        words: &["mailbox full", "mailbox is full", "over quota", "overquota", "quota exceeded"],
        place: false,
        advice: "tell the recipient by other means that the mailbox is full.",
    },
    Known {
        status: &["5.1.1", "5.1.0", "5.1.3", "5.1.6"],
        words: &[],
        place: false,
        advice: "look for a typing mistake in the address, or ask the recipient for the right one.",
    },
    Known {
        status: &["5.0", "5.5", "5.7.1", "5.4.1"],
        words: &[
            "no such user",
            "user unknown",
            "unknown user",
            "no such recipient",
            "does not exist",
            "recipient not found",
            "no mailbox",
        ],
        place: false,
        advice: "look for a typing mistake in the address, or ask the recipient for the right one.",
    },
    Known {
        status: &["5.7.1", "5.7.0", "5.0", "5.5"],
        words: &["relay access denied", "relaying denied", "relay not permitted", "not relay"],
        place: false,
        advice: "the host does not feel responsible for that address: look for a typing mistake \
                 after the @; if it is right, tell the recipient that their mail is set up wrongly.",
    },
    Known {
        status: &["5.3.4", "5.2.3"],
        words: &[],
        place: false,
        advice: "send it smaller: leave out attachments, or share a link instead.",
    },
    Known {
        status: &[],
        words: &["message too large", "message size exceeds", "too big"],
        place: false,
        advice: "send it smaller: leave out attachments, or share a link instead.",
    },
];

/// One sentence about a problem, beginning in lower case.
pub(super) fn advice(problem: &Problem) -> &'static str {
    known(problem).map_or_else(|| by_status(&problem.status), |known| known.advice)
}

/// What is known of the reply to mail that waits; nothing when waiting is all there is to do.
pub(super) fn while_waiting(problem: &Problem) -> Option<&'static str> {
    known(problem).map(|known| known.advice)
}

/// Whether the host refused because of where this box stands.
pub(super) fn is_about_place(problem: &Problem) -> bool {
    // Greylisting speaks of everything; what will pass needs no other way.
    problem.reply.as_ref().is_some_and(|reply| reply.starts_with('5'))
        && known(problem).is_some_and(|known| known.place)
}

/// Whether the recipient does not exist (any more), says the host. What it has against the sender or
/// this box is often told in the same words, and not before RCPT.
pub(super) fn is_dead(problem: &Problem) -> bool {
    let status = problem.status.as_str();
    let gone = ["5.1.1", "5.1.0", "5.1.3", "5.1.6", "5.2.1", "5.1.10"].contains(&status);
    let Some(reply) = &problem.reply else { return false };
    let lower = reply.to_lowercase();
    if !problem.at_rcpt || ABOUT_US.iter().any(|word| lower.contains(word)) {
        return false;
    }
    let known = known(problem);
    !known.is_some_and(|known| known.place)
        && (gone || known.is_some_and(|known| known.words.contains(&"no such user")))
        && reply.starts_with('5')
}

fn known(problem: &Problem) -> Option<&'static Known> {
    let reply = problem.reply.as_ref()?.to_lowercase();
    KNOWN.iter().find(|known| {
        let status = known.status.is_empty()
            || known.status.iter().any(|code| begins(&problem.status, code));
        let words = known.words.is_empty() || known.words.iter().any(|word| reply.contains(word));
        status && words
    })
}

/// Words of replies that are about who sends.
const ABOUT_US: &[&str] = &["sender", "client host", "helo", "ehlo"];

/// `5.7.1` is not the beginning of `5.7.10`, but `5.7.60` is of `5.7.606`.
fn begins(status: &str, code: &str) -> bool {
    let Some(rest) = status.strip_prefix(code) else { return false };
    rest.is_empty() || rest.starts_with('.') || (code.len() >= 6 && code.starts_with("5.7.6"))
}

/// What a person can do about a status alone (RFC 3463).
fn by_status(status: &str) -> &'static str {
    let (_, detail) = status.split_once('.').unwrap_or_default();
    match detail {
        "1.1" | "1.0" | "1.3" => {
            "look for a typing mistake in the address, or ask the recipient for the right one."
        }
        "1.2" | "4.4" => {
            "look for a typing mistake after the @; if it is right, that domain takes no mail now."
        }
        "1.10" => "write to another address of the recipient: this one cannot take mail.",
        "2.1" | "2.2" => "tell the recipient by other means that the mailbox is closed or full.",
        "3.4" | "2.3" => "send it smaller: leave out attachments, or share a link instead.",
        "4.7" | "4.1" | "4.2" | "4.3" => {
            "send it again later, or tell the recipient that their mail host cannot be reached."
        }
        "4.6" => "tell the owner of this box: mail is sent in a circle, and a setting is wrong.",
        "6.3" => "send it as plain text without attachments: that host takes nothing else.",
        "6.7" => "write to an address of plain letters: that host does not know others.",
        "7.10" | "7.30" => {
            "send it without demanding protection all the way: the hosts of that domain do not \
             promise it."
        }
        _ if detail.starts_with("7.") => {
            "the host does not trust the message or this box: ask the owner of this box to run \
             the self-check, which tests reputation and DNS records."
        }
        _ => "send it again; if it comes back, show this message to the owner of this box.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(status: &str, reply: &str) -> Problem {
        let problem = Problem::new(status, "refused");
        Problem { reply: Some(reply.to_owned()), at_rcpt: true, ..problem }
    }

    #[test]
    fn known_replies_are_explained() {
        for (status, reply, word, place, dead) in [
            (
                "5.7.1",
                "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact \
                 your Internet service provider since part of their network is on our block list \
                 (S3140).",
                "sender.office.com",
                true,
                false,
            ),
            ("5.7.606", "550 5.7.606 Access denied, banned sending IP", "Microsoft", true, false),
            (
                "5.7.25",
                "550-5.7.25 The IP address sending this message does not have a PTR record setup",
                "reverse DNS",
                true,
                false,
            ),
            ("5.7.26", "550-5.7.26 This mail is unauthenticated", "SPF", false, false),
            (
                "5.7.1",
                "554 5.7.1 blocked using zen.spamhaus.org; https://www.spamhaus.org/query/pbl?ip=",
                "home connections",
                true,
                false,
            ),
            ("5.7.1", "550 5.7.1 listed at Barracuda", "list of senders of spam", true, false),
            ("4.7.0", "421 4.7.0 [TSS04] Messages temporarily deferred", "Yahoo", false, false),
            ("4.7.28", "421-4.7.28 unusual rate of mail", "at once", false, false),
            ("5.2.2", "552 5.2.2 The email account is over quota", "full", false, false),
            ("5.1.1", "550-5.1.1 The email account does not exist", "typing mistake", false, true),
            ("5.0.0", "550 no such user here", "typing mistake", false, true),
            ("5.7.1", "554 5.7.1 <a@b>: Relay access denied", "responsible", false, false),
            ("5.3.4", "552 5.3.4 too big", "smaller", false, false),
            ("5.2.1", "550 5.2.1 account disabled", "closed", false, true),
            ("5.7.1", "550 5.7.1 no", "self-check", false, false),
        ] {
            let problem = heard(status, reply);
            assert!(advice(&problem).contains(word), "{reply}: {}", advice(&problem));
            assert_eq!(is_about_place(&problem), place, "{reply}");
            assert_eq!(is_dead(&problem), dead, "{reply}");
        }
        // Our own words are no reply of a host.
        assert!(!is_dead(&Problem::new("5.1.1", "nobody")));
    }
}
