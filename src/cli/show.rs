//! Answers as text for people.

use serde_json::Value;

use crate::control::{AccountCommand, QueueCommand, Request};
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
            for account in items(value) {
                let devices: Vec<&str> =
                    items(&account["devices"]).filter_map(Value::as_str).collect();
                println!("{:<40} {}", field(account, "address"), devices.join(", "));
            }
        }
        Request::Account(AccountCommand::ListDevices { .. }) => {
            items(value).filter_map(Value::as_str).for_each(|name| println!("{name}"));
        }
        Request::Account(AccountCommand::ListAliases) => {
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
            if items(value).next().is_none() {
                println!("The queue is empty.");
            }
            items(value).for_each(queue_item);
        }
        Request::Queue(QueueCommand::Show { .. }) => queue_item(value),
        Request::StoreStats | Request::StoreVerify => table(value),
        _ => {
            for (key, value) in value.as_object().into_iter().flatten() {
                match value {
                    Value::String(text) => println!("{key}: {text}"),
                    Value::Null => println!("{key}: all"),
                    other => println!("{key}: {other}"),
                }
            }
        }
    }
}

/// Names and numbers.
pub(super) fn table(value: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        println!("{:<18} {value}", key.replace('_', " "));
    }
}

fn queue_item(item: &Value) {
    let from = match field(item, "from") {
        "" => "(notice)",
        from => from,
    };
    let next = item["next_attempt"].as_str().unwrap_or("held");
    println!("{:>6}  from {from}, {} bytes, next attempt {next}", item["id"], item["size"]);
    for recipient in items(&item["recipients"]) {
        let address = recipient[0].as_str().unwrap_or_default();
        let state = recipient[1].as_str().unwrap_or_default();
        println!("        to {address}{}{state}", if state.is_empty() { "" } else { ": " });
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
