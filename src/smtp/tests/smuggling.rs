//! "SMTP smuggling": every way to write something that some server takes for the end of a message.
//! Here it is the end, or text, or reason to refuse the whole; a second message is never seen where
//! a strict reader sees one.

use super::*;

/// Line ends, sound and unsound.
const ENDS: &[&str] = &["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\n\n", "\r\n\r", "\n\r\n", "\0\r\n"];
/// What stands between two of them.
const DOTS: &[&str] = &[".", "..", ". ", " .", ".\0", "\0."];
/// A second message, if anybody believes it.
const HIDDEN: &str = "MAIL FROM:<admin@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n\
                      Subject: hidden\r\n\r\nhidden\r\n.\r\n";

fn each() -> impl Iterator<Item = (String, bool)> {
    let all = ENDS.iter().flat_map(|before| DOTS.iter().map(move |dot| (before, dot)));
    all.flat_map(|(before, dot)| ENDS.iter().map(move |after| (before, dot, after))).map(
        |(before, dot, after)| {
            let ends = before.ends_with("\r\n") && *dot == "." && after.starts_with("\r\n");
            (format!("Subject: x\r\n\r\ntext{before}{dot}{after}{HIDDEN}"), ends)
        },
    )
}

fn is_sound(text: &str) -> bool {
    !text.replace("\r\n", "").contains(['\r', '\n'])
}

fn begin() -> House {
    let mut house = House::new(Role::Mx);
    let lines = "EHLO x\r\nMAIL FROM:<x@example.net>\r\nRCPT TO:<alice@example.org>\r\n";
    house.send(lines.as_bytes(), usize::MAX);
    house.replies.clear();
    house
}

#[test]
fn after_data_only_crlf_dot_crlf_is_an_end() {
    for (text, ends) in each() {
        for piece in [usize::MAX, 1] {
            let mut house = begin();
            house.send(format!("DATA\r\n{text}").as_bytes(), piece);
            let taken: Vec<_> = house.messages.iter().map(|taken| taken.body.clone()).collect();
            if ends {
                // What follows is said in commands, for everybody to see.
                let smuggled = |body: &Vec<u8>| {
                    body.starts_with(b"Subject: x") && body.windows(6).any(|word| word == b"hidden")
                };
                assert!(!taken.iter().any(smuggled), "{text:?}");
                continue;
            }
            let whole = text.strip_suffix(".\r\n").unwrap();
            if is_sound(whole) {
                let [message] = taken.as_slice() else { panic!("{text:?}: {:?}", house.replies) };
                assert_eq!(*message, whole.replace("\r\n.", "\r\n").as_bytes(), "{text:?}");
            } else {
                assert!(taken.is_empty(), "{text:?}");
                let last = house.replies.back().unwrap();
                assert!(last.starts_with("550 5.6.11"), "{text:?}: {last}");
            }
            assert!(!house.replies.iter().any(|reply| reply.starts_with("250 2.1")), "{text:?}");
        }
    }
}

#[test]
fn in_a_chunk_nothing_is_an_end() {
    for (text, _) in each() {
        for cut in [0, 1, 21, 22, 23, 24, 25, 26, text.len()] {
            let (first, last) = text.as_bytes().split_at(cut);
            let wire = [
                format!("BDAT {}\r\n", first.len()).as_bytes(),
                first,
                format!("BDAT {} LAST\r\n", last.len()).as_bytes(),
                last,
                b"NOOP\r\n",
            ]
            .concat();
            let mut house = begin();
            house.send(&wire, 7);
            if is_sound(&text) {
                let taken: Vec<_> = house.messages.iter().map(|taken| &taken.body).collect();
                assert_eq!(taken, [text.as_bytes()], "{text:?}");
            } else {
                assert!(house.messages.is_empty(), "{text:?}");
                let refused = house.replies.iter().any(|reply| reply.starts_with("550 5.6.11"));
                assert!(refused, "{text:?} {:?}", house.replies);
            }
            // The command behind the last piece is the next that was read.
            assert_eq!(house.replies.back().unwrap(), "250 2.0.0 OK", "{text:?}");
            assert!(!house.replies.iter().any(|reply| reply.starts_with("250 2.1")), "{text:?}");
        }
    }
}
