//! Answers as text for people.

use jiff::Timestamp;
use serde_json::Value;

use crate::control::{AccountCommand, JunkCommand, QueueCommand, Request};
use crate::policy::dkim::rotation::Standing;
use crate::reports::Summary;
use crate::selfcheck::records::Record;
use crate::selfcheck::{Outcome, Report};

/// For scripts.
pub(super) fn json(value: &Value) {
    println!("{value:#}");
}

/// The self-check: one line a finding, and what to do below those that need it.
pub(super) fn report(report: &Report) {
    for finding in &report.findings {
        let (sign, detail) = match &finding.outcome {
            Outcome::Ok => ("ok       ", ""),
            Outcome::Attention(detail) => ("attention", detail.as_str()),
            Outcome::Broken(detail) => ("BROKEN   ", detail.as_str()),
            Outcome::Unknown(detail) => ("unknown  ", detail.as_str()),
            Outcome::NotApplicable(detail) => ("-        ", detail.as_str()),
        };
        println!("{sign}  {:<16} {}", finding.id, finding.question);
        if !detail.is_empty() {
            println!("           {detail}");
        }
        if !finding.why.is_empty() && !detail.is_empty() {
            println!("           Why it matters: {}", finding.why);
        }
        for line in finding.fix.lines() {
            println!("           {line}");
        }
    }
    let verdict = match report.worst() {
        Outcome::Ok | Outcome::NotApplicable(_) => "All is well.",
        Outcome::Attention(_) => "Mail works, but something needs you.",
        Outcome::Broken(_) => "Mail does not work until what is BROKEN is fixed.",
        Outcome::Unknown(_) => "Nothing is known to be wrong, but not everything could be told.",
    };
    println!("\n{verdict}");
}

/// The records to publish, for reading.
pub(super) fn records_table(records: &[Record]) {
    for record in records {
        println!("{}\n  {:<5} {}", record.name, record.kind, record.value);
        println!("        {}\n", record.why);
    }
}

/// The records to publish, as lines of a zone file; what only the owner knows is a comment.
pub(super) fn records_zone(records: &[Record]) {
    for record in records {
        println!("{}{}", if record.is_open() { "; " } else { "" }, record.zone_line());
    }
}

/// Any other answer.
pub(super) fn answer(request: &Request, value: &Value) {
    match request {
        Request::Account(AccountCommand::List) => {
            none(value, "There are no accounts.");
            for account in items(value) {
                let devices: Vec<&str> =
                    items(&account["devices"]).filter_map(Value::as_str).collect();
                let devices = match devices.as_slice() {
                    [] => String::new(),
                    names => format!("  devices: {}", names.join(", ")),
                };
                println!("{}  {}{devices}", field(account, "address"), held(account));
            }
        }
        Request::Account(AccountCommand::Quota { .. }) => {
            println!("{}  {}", field(value, "address"), held(value));
        }
        Request::Account(AccountCommand::Extensions { .. }) => super::extensions::shown(value),
        Request::Account(AccountCommand::ListDevices { address }) => {
            let of = address.as_ref().map(|address| format!(" of {address}")).unwrap_or_default();
            none(value, &format!("No device{of} has a password of its own."));
            super::device::listed(value);
        }
        Request::Account(AccountCommand::Pop3 { .. }) => super::device::removal(value),
        Request::Account(AccountCommand::ListAliases) => {
            none(value, "There are no aliases.");
            for alias in items(value) {
                let targets: Vec<&str> =
                    items(&alias["targets"]).filter_map(Value::as_str).collect();
                println!("{} -> {}", field(alias, "alias"), targets.join(", "));
            }
        }
        Request::Account(AccountCommand::AddDevice { name, .. }) => {
            println!(
                "The password for {name}, shown this once:\n\n    {}\n",
                field(value, "password")
            );
        }
        Request::Queue(QueueCommand::List) => {
            none(value, "The queue is empty.");
            items(value).for_each(queue_item);
        }
        Request::Queue(QueueCommand::Show { .. }) => queue_item(value),
        Request::Queue(QueueCommand::Ledger) => {
            none(value, "Nothing went badly.");
            items(value).for_each(ledger_entry);
        }
        Request::Queue(QueueCommand::Retry { id: None }) => {
            println!("All that waits is tried now.");
        }
        Request::Junk(JunkCommand::Delayed) => super::junk::delayed(value),
        Request::Junk(_) => super::junk::shown(value),
        Request::Keys | Request::RotateKeys { .. } => {
            let all: Vec<Standing> = serde_json::from_value(value.clone()).unwrap_or_default();
            all.iter().flat_map(Standing::sentences).for_each(|line| println!("{line}"));
        }
        Request::MailReports { .. } => {
            mail_reports(&serde_json::from_value(value.clone()).unwrap_or_default());
        }
        Request::StoreStats => stats(value),
        Request::StoreCompact => compacted(value),
        Request::StoreVerify => verified(value),
        _ => {
            for (key, value) in value.as_object().into_iter().flatten() {
                match value {
                    Value::String(text) => println!("{key}: {text}"),
                    other => println!("{key}: {other}"),
                }
            }
        }
    }
}

/// The sum, then each day.
fn mail_reports(summary: &Summary) {
    summary.sentences().iter().for_each(|line| println!("{line}"));
    if !summary.origins.is_empty() {
        println!();
    }
    summary.origins.iter().for_each(|origin| println!("{origin}"));
    for day in &summary.dmarc {
        println!(
            "\n{}  {}: {} messages, {} unproved, {} of them stopped",
            day.day, day.domain, day.messages, day.unproved, day.stopped
        );
        for (reporter, messages) in &day.reporters {
            println!("    {reporter}: {messages} messages");
        }
        for (source, messages) in &day.sources {
            println!("    unproved from {source}: {messages} messages");
        }
    }
    for day in &summary.tls {
        println!(
            "\n{}  {}: {} connections under TLS, {} failures",
            day.day, day.domain, day.successes, day.failures
        );
        day.details.iter().for_each(|(kind, count)| println!("    {kind}: {count}"));
    }
}

/// What an account holds, and may hold.
fn held(account: &Value) -> String {
    let (usage, quota) = (&account["usage"], &account["quota"]);
    let amount = |bytes: &Value| amount(bytes.as_u64().unwrap_or_default());
    let most = match (&quota["bytes"], &quota["messages"]) {
        (Value::Null, Value::Null) => "no quota".to_owned(),
        (bytes, Value::Null) => format!("quota {}", amount(bytes)),
        (Value::Null, messages) => format!("quota {}", count(messages, "message")),
        (bytes, messages) => format!("quota {} and {}", amount(bytes), count(messages, "message")),
    };
    let messages = count(&usage["messages"], "message");
    format!("{} in {messages}, {most}", amount(&usage["bytes"]))
}

/// Bytes with a tenth of their unit.
fn amount(bytes: u64) -> String {
    let (unit, name) = match bytes {
        1_000_000_000.. => (1_000_000_000, "GB"),
        1_000_000.. => (1_000_000, "MB"),
        1_000.. => (1_000, "kB"),
        _ => return format!("{bytes} bytes"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10))
}

/// Sizes and counts, what people ask for first.
fn stats(value: &Value) {
    let number = |key: &str| value[key].as_u64().unwrap_or_default();
    for key in ["accounts", "mailboxes", "messages"] {
        row(key, number(key));
    }
    for key in ["message_bytes", "segment_bytes", "index_bytes", "search_bytes", "free_bytes"] {
        row(&key.replace('_', " "), amount(number(key)));
    }
    row("segments", number("segments"));
    row("queued", number("queued"));
    row(
        "searchable",
        format!("{} of {}", number("search_bodies"), {
            // Bodies that are gone stay in the index for a while: nothing is known better.
            number("search_bodies") + number("search_behind")
        }),
    );
    let since = value["damaged_since"].as_str().and_then(|since| since.get(..10));
    let since = since.map_or(String::new(), |since| format!(", first found {since}"));
    row("damaged records", format!("{}{since}", number("damaged_records")));
    row("card errors", format!("{} since the start", number("io_errors")));
    row("background", field(value, "background"));
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("{name:<18} {value}");
}

/// How many there are of something.
fn count(number: &Value, one: &str) -> String {
    // Every word here takes an s, but for one.
    let many = if one == "mailbox" { "mailboxes".to_owned() } else { format!("{one}s") };
    if number.as_u64() == Some(1) { format!("1 {one}") } else { format!("{number} {many}") }
}

fn compacted(value: &Value) {
    let bytes = |key: &str| value[key].as_u64().unwrap_or_default();
    // Without a segment, only what was set aside for new mail has gone.
    if bytes("segments") == 0 || bytes("bytes_after") >= bytes("bytes_before") {
        println!("Nothing to give back.");
        return;
    }
    let amount = |key: &str| amount(bytes(key));
    println!(
        "{} rewritten: {} → {}.",
        count(&value["segments"], "segment"),
        amount("bytes_before"),
        amount("bytes_after")
    );
}

/// What `store rebuild` has made.
pub(super) fn rebuilt(value: &Value) {
    println!(
        "The index was made anew: {} in {}.",
        count(&value["messages"], "message"),
        count(&value["mailboxes"], "mailbox")
    );
}

fn verified(value: &Value) {
    println!(
        "{} in {} were read, {}.",
        count(&value["records"], "record"),
        count(&value["segments"], "segment"),
        amount(value["bytes"].as_u64().unwrap_or_default())
    );
    let damage = &value["damage"];
    none(damage, "Nothing is damaged.");
    for place in items(damage) {
        println!(
            "Damaged: segment {}, byte {}, {} long",
            place["segment"],
            place["offset"],
            count(&place["len"], "byte")
        );
    }
    for message in items(&value["messages"]) {
        let account = message["account"].as_str().unwrap_or("(no account)");
        let mailbox = message["mailbox"].as_str().unwrap_or("(no mailbox)");
        println!("Cannot be read: {account}, {mailbox}, message {}", message["uid"]);
    }
}

/// Says so when a list is empty.
fn none(list: &Value, text: &str) {
    if items(list).next().is_none() {
        println!("{text}");
    }
}

fn queue_item(item: &Value) {
    let from = match field(item, "from") {
        "" => "(notice)",
        from => from,
    };
    let next = item["next_attempt"].as_str().map_or_else(|| "held".to_owned(), moment);
    println!("{:>6}  from {from}, {} bytes, next attempt {next}", item["id"], item["size"]);
    for recipient in items(&item["recipients"]) {
        let address = recipient[0].as_str().unwrap_or_default();
        let state = recipient[1].as_str().unwrap_or_default();
        println!("        to {address}{}{state}", if state.is_empty() { "" } else { ": " });
    }
    for advice in items(&item["advice"]).filter_map(Value::as_str) {
        println!("        what to do: {advice}");
    }
    if let Some(until) = item["gives_up"].as_str().map(moment) {
        println!("        goes back to its sender if it cannot be delivered by {until}");
    }
}

/// A time as people read it; what is none stays as it is.
fn moment(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn ledger_entry(item: &Value) {
    let entry = &item["entry"];
    let day = |name: &str| field(entry, name).split('T').next().unwrap_or_default().to_owned();
    let mut counts = Vec::new();
    for (name, words) in [
        ("returned", "returned"),
        ("reported", "reported as not delivered"),
        ("complaints", "complained about"),
    ] {
        match entry[name].as_u64().unwrap_or_default() {
            0 => {}
            1 => counts.push(words.to_owned()),
            more => counts.push(format!("{words} {more} times")),
        }
    }
    println!("{}  {}, last on {}", field(item, "address"), counts.join(", "), day("last"));
    println!("        {}", field(entry, "words"));
    if entry["kept_back_until"].is_string() {
        println!("        no mail is taken for it until {}", day("kept_back_until"));
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
