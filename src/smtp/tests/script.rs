//! How a script of `tests/dialogs` is played.

use super::*;
use crate::mail::{BodyKind, Recipient};

/// Plays one script, its client's bytes in pieces of at most `piece`.
pub(super) fn play(name: &str, script: &str, piece: usize) {
    let mut role = Role::Mx;
    let mut house = None;
    let mut pending = Vec::new();
    let mut message = VecDeque::new();
    let mut asked = VecDeque::new();
    for (number, line) in script.lines().enumerate() {
        let at = format!("{name}:{} (pieces of {piece})", number + 1);
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => continue,
            "port" => {
                role = match text {
                    "25" => Role::Mx,
                    "587" => Role::Submission,
                    "465" => Role::Submissions,
                    _ => panic!("{at}: no such port"),
                };
                continue;
            }
            _ => {}
        }
        let house = house.get_or_insert_with(|| House::new(role));
        match word {
            "C:" => {
                pending.extend_from_slice(text.as_bytes());
                pending.extend_from_slice(b"\r\n");
                continue;
            }
            "C>" => {
                pending.extend_from_slice(&unescape(text));
                continue;
            }
            _ => house.send(&std::mem::take(&mut pending), piece),
        }
        match word {
            "S:" => {
                let reply = house.replies.pop_front().unwrap_or_default();
                assert!(reply.starts_with(text), "{at}: wanted {text:?}, got {reply:?}");
            }
            "tls" => house.start_tls(),
            "closed" => assert!(house.closed, "{at}: the session goes on"),
            "M:" => {
                let taken = house.messages.pop_front();
                let Some(taken) = taken else { panic!("{at}: no message was taken") };
                let to: Vec<String> =
                    taken.envelope.addresses().map(|to| format!("<{to}>")).collect();
                let shown = format!("<{}> {}", taken.envelope.from, to.join(" "));
                assert_eq!(shown, text, "{at}");
                let whole = [taken.trace.as_bytes(), &taken.body].concat();
                let whole = String::from_utf8_lossy(&whole).into_owned();
                message = whole.split("\r\n").map(str::to_owned).collect();
                asked = requests(&taken.envelope).into();
            }
            "A:" => assert_eq!(asked.pop_front().as_deref(), Some(text), "{at}"),
            "M|" => {
                assert_eq!(message.pop_front().as_deref(), Some(text), "{at}");
            }
            _ => panic!("{at}: a script has no word {word:?}"),
        }
        let next = script.lines().nth(number + 1).unwrap_or_default();
        if !next.starts_with("S:") && !next.starts_with('#') {
            assert_eq!(house.replies, [""; 0], "{at}: replies nobody expected");
        }
        if word == "M|" && !next.starts_with("M|") {
            assert!(message.iter().all(String::is_empty), "{at}: it goes on: {message:?}");
        }
    }
    let Some(mut house) = house else { panic!("{name}: the script is empty") };
    house.send(&pending, piece);
    assert_eq!(house.replies, [""; 0], "{name}: replies nobody expected at the end");
    assert!(house.messages.is_empty(), "{name}: a message nobody expected");
}

/// What was asked for a message, and for each recipient, as the wire has it.
fn requests(envelope: &Envelope) -> Vec<String> {
    let asked = &envelope.asked;
    let word = |word: &str, asked: bool| asked.then(|| word.to_owned());
    let body = asked.body.map(|body| match body {
        BodyKind::SevenBit => "BODY=7BIT".to_owned(),
        BodyKind::EightBitMime => "BODY=8BITMIME".to_owned(),
    });
    let whole = [
        asked.ret.map(|ret| format!("RET={ret}")),
        asked.envid.as_ref().map(|id| format!("ENVID={}", id.xtext())),
        body,
        word("SMTPUTF8", asked.utf8),
        word("REQUIRETLS", asked.require_tls),
    ];
    let mut all = vec![whole.into_iter().flatten().collect::<Vec<_>>().join(" ")];
    for Recipient { address, asked } in &envelope.to {
        let mut line = format!("<{address}>");
        line.extend(asked.notify.map(|notify| format!(" NOTIFY={notify}")));
        line.extend(asked.orcpt.as_ref().map(|orcpt| format!(" ORCPT={}", orcpt.xtext())));
        all.push(line);
    }
    all
}

/// `\r`, `\n`, `\0` and `\\` in a raw line.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.bytes();
    while let Some(byte) = chars.next() {
        bytes.push(match byte {
            b'\\' => match chars.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                other => panic!("no escape {other:?}"),
            },
            byte => byte,
        });
    }
    bytes
}
