//! The cases of the table.

use super::letter::{Letter, SIGN, Sign};

/// Who hands in what.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Where from, and the sender.
    pub(super) from: (&'static str, &'static str),
    pub(super) letter: Letter,
    /// What the field must say.
    pub(super) want: Vec<&'static str>,
}

fn case(
    name: &'static str,
    from: (&'static str, &'static str),
    letter: Letter,
    want: &[&'static str],
) -> Case {
    Case { name, from, letter, want: want.to_vec() }
}

/// The right peer of most domains, with a sender in one of them.
const GOOD: (&str, &str) = ("192.0.2.1", "a@example.org");
/// A stranger who uses the name.
const BAD: (&str, &str) = ("198.51.100.1", "a@example.org");
/// One whose own domain says nothing.
const ELSEWHERE: (&str, &str) = ("198.51.100.1", "a@none.example");

pub(super) fn alice() -> Letter {
    Letter::from("Alice <alice@example.org>")
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [spf(), dkim(), keys(), dmarc(), authors(), arc()].into_iter().flatten().collect()
}

fn spf() -> Vec<Case> {
    let letter = || Letter::from("x@none.example");
    let sent = |ip, sender| (ip, sender);
    vec![
        case("an address that may send", GOOD, letter(), &["spf=pass smtp.mailfrom=a@example.org"]),
        case("one that may not", BAD, letter(), &["spf=fail smtp.mailfrom"]),
        case("softly", sent("192.0.2.1", "a@soft.example"), letter(), &["spf=softfail"]),
        case("neither", sent("192.0.2.1", "a@neutral.example"), letter(), &["spf=neutral"]),
        case("no record", sent("192.0.2.1", "a@none.example"), letter(), &["spf=none smtp.mailf"]),
        case("a broken one", sent("192.0.2.1", "a@broken.example"), letter(), &["spf=permerror"]),
        case("a silent one", sent("192.0.2.1", "a@quiet.example"), letter(), &["spf=temperror"]),
        case(
            "the null sender is judged by HELO",
            sent("192.0.2.1", ""),
            letter(),
            &["spf=pass smtp.helo=mail.example.org"],
        ),
        case(
            "an IDN domain",
            sent("192.0.2.1", "a@b\u{fc}cher.example"),
            letter(),
            &["spf=pass smtp.mailfrom=a@xn--bcher-kva.example"],
        ),
        case(
            "an IPv4 address in IPv6 clothes",
            sent("::ffff:192.0.2.1", "a@example.org"),
            letter(),
            &["spf=pass", "policy.iprev=192.0.2.1"],
        ),
    ]
}

fn dkim() -> Vec<Case> {
    let signed = |sign: Sign<'_>| alice().signed(&sign);
    let whole = |name, sign, want| case(name, ELSEWHERE, signed(sign), &[want]);
    vec![
        case("no signature", ELSEWHERE, alice(), &["dkim=none;"]),
        case(
            "a good one",
            ELSEWHERE,
            signed(SIGN),
            &["dkim=pass header.d=example.org header.s=ed header.a=ed25519-sha256"],
        ),
        whole("simple", Sign { canon: "simple/simple", ..SIGN }, "dkim=pass"),
        whole("simple header", Sign { canon: "simple/relaxed", ..SIGN }, "dkim=pass"),
        whole("simple body", Sign { canon: "relaxed/simple", ..SIGN }, "dkim=pass"),
        whole("one word", Sign { canon: "relaxed", ..SIGN }, "dkim=pass"),
        whole("an unknown form", Sign { canon: "nofws/relaxed", ..SIGN }, "dkim=permerror"),
        whole("From unsigned", Sign { names: "to:subject", ..SIGN }, "dkim=permerror"),
        whole("oversigned", Sign { names: "from:from:to:subject:cc", ..SIGN }, "dkim=pass"),
        whole("From in capitals", Sign { names: "FROM:To", ..SIGN }, "dkim=pass"),
        whole("another version", Sign { tags: " v=2;", ..SIGN }, "dkim=permerror"),
        whole("no version", Sign { tags: "", ..SIGN }, "dkim=permerror"),
        whole("SHA-1", Sign { algorithm: "rsa-sha1", ..SIGN }, "dkim=policy"),
        whole("unknown", Sign { algorithm: "rsa-sha512", ..SIGN }, "dkim=permerror"),
        whole("expired", Sign { tags: " v=1; t=1000; x=2000;", ..SIGN }, "dkim=permerror"),
        whole("not expired", Sign { tags: " v=1; t=1; x=4000000000;", ..SIGN }, "dkim=pass"),
        whole(
            "expired first",
            Sign { tags: " v=1; t=4000000001; x=4000000000;", ..SIGN },
            "dkim=permerror",
        ),
        whole("no number", Sign { tags: " v=1; x=soon;", ..SIGN }, "dkim=permerror"),
        whole("i= below d=", Sign { tags: " v=1; i=a@x.example.org;", ..SIGN }, "dkim=pass"),
        whole("i= elsewhere", Sign { tags: " v=1; i=@xexample.org;", ..SIGN }, "dkim=permerror"),
        whole("key elsewhere", Sign { tags: " v=1; q=http;", ..SIGN }, "dkim=permerror"),
        whole("a tag twice", Sign { tags: " v=1; z=a; z=b;", ..SIGN }, "dkim=permerror"),
        whole("unknown tags", Sign { tags: " v=1; xyz=a;", ..SIGN }, "dkim=pass"),
        whole("l= stops short", Sign { length: Some(14), ..SIGN }, "dkim=policy"),
        whole("l=0", Sign { length: Some(0), ..SIGN }, "dkim=policy"),
        whole("l= covers it all", Sign { length: Some(38), ..SIGN }, "dkim=pass"),
        case(
            "grown after l=",
            ELSEWHERE,
            Letter(signed(Sign { length: Some(38), ..SIGN }).0 + "Buy!\r\n"),
            &["dkim=policy", "dmarc=fail"],
        ),
        case(
            "shrunk before l=",
            ELSEWHERE,
            signed(Sign { length: Some(38), ..SIGN }).replace("how are you?", "how"),
            &["dkim=fail"],
        ),
        case("body changed", ELSEWHERE, signed(SIGN).replace("how", "who"), &["dkim=fail"]),
        case(
            "empty lines at the end",
            ELSEWHERE,
            Letter(signed(SIGN).0 + " \r\n\r\n"),
            &["dkim=pass"],
        ),
        case(
            "refolded",
            ELSEWHERE,
            signed(SIGN).replace("Hello  there\r\n\t", "Hello there "),
            &["dkim=pass"],
        ),
        case(
            "refolded in simple form",
            ELSEWHERE,
            signed(Sign { canon: "simple/simple", ..SIGN })
                .replace("Hello  there\r\n\t", "Hello there "),
            &["dkim=fail"],
        ),
        case("subject changed", ELSEWHERE, signed(SIGN).replace("there", "here"), &["dkim=fail"]),
        case(
            "unsigned field changed",
            ELSEWHERE,
            signed(SIGN).replace("<1@", "<2@"),
            &["dkim=pass"],
        ),
        case(
            "a second Subject",
            ELSEWHERE,
            signed(Sign { names: "from:subject", ..SIGN }).with("Subject: Buy!"),
            &["dkim=pass"],
        ),
        case(
            "a second Subject, oversigned",
            ELSEWHERE,
            signed(Sign { names: "from:subject:subject", ..SIGN }).with("Subject: Buy!"),
            &["dkim=fail"],
        ),
        case(
            "a field added that was signed missing",
            ELSEWHERE,
            signed(Sign { names: "from:reply-to", ..SIGN }).with("Reply-To: eve@evil.example"),
            &["dkim=fail"],
        ),
        case(
            "two signatures, one broken",
            ELSEWHERE,
            alice().signed(&SIGN).replace("b=", "b=AAAA").signed(&SIGN),
            &["dkim=pass", "dkim=fail", "dmarc=pass"],
        ),
        case(
            "no tags at all",
            ELSEWHERE,
            alice().with("DKIM-Signature: hello"),
            &["dkim=permerror"],
        ),
        case(
            "not ASCII",
            ELSEWHERE,
            alice().with("DKIM-Signature: v=1; d=\u{1f4a3}"),
            &["dkim=permerror"],
        ),
    ]
}

fn keys() -> Vec<Case> {
    let with = |name, selector, want| {
        case(name, ELSEWHERE, alice().signed(&Sign { selector, ..SIGN }), &[want])
    };
    vec![
        with("another key", "other", "dkim=fail"),
        with("no key", "missing", "dkim=permerror"),
        with("revoked", "gone", "dkim=permerror"),
        with("not a key", "junk", "dkim=permerror"),
        with("not a key and a key", "two", "dkim=pass"),
        with("an alias", "alias", "dkim=pass"),
        with("for SHA-1 only", "sha1", "dkim=permerror"),
        with("for reports only", "tls", "dkim=permerror"),
        with("for several things", "both", "dkim=pass"),
        with("of another kind", "norsa", "dkim=permerror"),
        case(
            "of 512 bits",
            ELSEWHERE,
            alice().signed(&Sign { selector: "weak", algorithm: "rsa-sha256", ..SIGN }),
            &["dkim=policy reason=\"the key is too short\""],
        ),
        with("silence", "silent", "dkim=temperror"),
        case(
            "silence is no failure of DMARC",
            ELSEWHERE,
            alice().signed(&Sign { selector: "silent", ..SIGN }),
            &["dmarc=temperror", "dis=none"],
        ),
        with("tried out", "test", "(testing)"),
        with("for the domain alone", "strict", "dkim=pass"),
        case(
            "for the domain alone, used for a part",
            ELSEWHERE,
            alice().signed(&Sign { selector: "strict", tags: " v=1; i=@a.example.org;", ..SIGN }),
            &["dkim=permerror"],
        ),
    ]
}

fn dmarc() -> Vec<Case> {
    let by = |from: &str, domain| Letter::from(from).signed(&Sign { domain, ..SIGN });
    let plain = |name, from: &str, want| case(name, ELSEWHERE, Letter::from(from), want);
    vec![
        case("SPF is enough", GOOD, alice(), &["dmarc=pass"]),
        case("a signature is enough", BAD, by("a@example.org", "example.org"), &["dmarc=pass"]),
        case("neither", BAD, alice(), &["dmarc=fail", "dis=reject", "header.from=example.org"]),
        case("somebody else's SPF", ELSEWHERE, alice(), &["dmarc=fail"]),
        case(
            "somebody else's signature",
            BAD,
            by("a@example.org", "fwd.example"),
            &["dkim=pass", "dmarc=fail"],
        ),
        case(
            "a sister's signature",
            BAD,
            by("a@x.example.org", "news.example.org"),
            &["dmarc=pass"],
        ),
        case("a sister's SPF", ("192.0.2.2", "a@news.example.org"), alice(), &["dmarc=pass"]),
        case("the parent's signature", BAD, by("a@x.example.org", "example.org"), &["dmarc=pass"]),
        case(
            "strict: the same",
            ("192.0.2.1", "a@strict.example"),
            Letter::from("a@strict.example"),
            &["dmarc=pass"],
        ),
        case(
            "strict: SPF of a part",
            ("192.0.2.1", "a@sub.strict.example"),
            Letter::from("a@strict.example"),
            &["spf=pass", "dmarc=fail", "dis=quarantine"],
        ),
        case(
            "strict: signature of a part",
            BAD,
            by("a@strict.example", "sub.strict.example"),
            &["dkim=pass", "dmarc=fail"],
        ),
        plain("p=none", "a@subs.example", &["dmarc=fail", "p=none dis=none"]),
        plain("sp=", "a@a.subs.example", &["dis=quarantine"]),
        plain("np=", "a@nothing.subs.example", &["dis=reject"]),
        plain("its own record", "a@own.subs.example", &["dis=reject"]),
        plain("t=y asks for one step less", "a@trial.example", &["p=reject dis=quarantine"]),
        plain("pct=0", "a@pct0.example", &["dis=none"]),
        plain("other shares mean all", "a@pct50.example", &["dis=reject"]),
        plain("two records", "a@twice.example", &["dmarc=none"]),
        plain("a record among others", "a@among.example", &["dis=reject"]),
        plain("slips", "a@slip.example", &["dis=reject"]),
        plain("only reports", "a@reports.example", &["dmarc=fail", "dis=none"]),
        plain("nothing at all", "a@empty.example", &["dmarc=none"]),
        plain("no record", "a@none.example", &["dmarc=none header.from=none.example"]),
        plain("silence", "a@silent.example", &["dmarc=temperror"]),
        case(
            "SPF that could not tell",
            ("192.0.2.1", "a@quiet.example"),
            Letter::from("a@quiet.example"),
            &["spf=temperror", "dmarc=temperror"],
        ),
        plain("the public suffix's wish", "a@shop.suffix", &["dmarc=fail", "dis=reject"]),
        case(
            "parts of one organisation below it",
            ("192.0.2.1", "a@www.shop.suffix"),
            Letter::from("a@shop.suffix"),
            &["dmarc=pass"],
        ),
        case(
            "two organisations below it",
            ("192.0.2.1", "a@bank.suffix"),
            Letter::from("a@shop.suffix"),
            &["spf=pass", "dmarc=fail"],
        ),
        plain(
            "nine labels: the walk jumps",
            "a@a.b.c.d.e.f.g.h.long.example",
            &["dmarc=fail", "p=none dis=none"],
        ),
        plain("an IDN author", "a@b\u{fc}cher.example", &["header.from=xn--bcher-kva.example"]),
        case("the null sender and HELO", ("192.0.2.1", ""), alice(), &["dmarc=pass"]),
        case(
            "a HELO that is not the sender's",
            ("192.0.2.1", "a@none.example"),
            alice(),
            &["spf=pass smtp.helo=mail.example.org", "dmarc=fail"],
        ),
    ]
}

fn authors() -> Vec<Case> {
    let error = |name, letter: Letter| case(name, GOOD, letter, &["dmarc=permerror"]);
    vec![
        error("two authors' fields", alice().with("From: eve@none.example")),
        error("two, one spaced", alice().with("From : eve@none.example")),
        error("no author", alice().replace("From:", "Form:")),
        error("two domains", Letter::from("a@example.org, e@none.example")),
        error("no address", Letter::from("Alice")),
        error("an empty group", Letter::from("nobody:;")),
        case(
            "a name like an address",
            GOOD,
            Letter::from("\"b@bank.suffix\" <a@example.org>"),
            &["dmarc=pass", "header.from=example.org"],
        ),
        case(
            "two of one domain",
            GOOD,
            Letter::from("a@example.org, b@example.org"),
            &["dmarc=pass"],
        ),
    ]
}

fn arc() -> Vec<Case> {
    let one = || alice().sealed(1, "none", "list.example");
    let two = || one().with("Received: by fwd.example").sealed(2, "pass", "fwd.example");
    let with = |name, letter: Letter, want| case(name, ELSEWHERE, letter, &[want]);
    vec![
        with("no chain", alice(), "arc=none"),
        with("one link", one(), "arc=pass"),
        with("two links", two(), "arc=pass"),
        with("a chain does not help DMARC", two(), "dmarc=fail"),
        with("changed after the last link", two().replace("how", "who"), "arc=fail"),
        with(
            "changed between the links",
            one().replace("how", "who").sealed(2, "pass", "fwd.example"),
            "arc=pass",
        ),
        with(
            "a word of the first changed",
            two().replace("list.example; arc=none", "x; arc=none"),
            "arc=fail",
        ),
        with("the first missing", Letter(one().0.replace("i=1;", "i=2;")), "arc=fail"),
        with("a link twice", one().sealed(1, "none", "fwd.example"), "arc=fail"),
        with("the first says pass", alice().sealed(1, "pass", "list.example"), "arc=fail"),
        with("the second says none", one().sealed(2, "none", "fwd.example"), "arc=fail"),
        with("the second says fail", one().sealed(2, "fail", "fwd.example"), "arc=fail"),
        with("no such key", alice().sealed(1, "none", "none.example"), "arc=fail"),
        with("a silent key", alice().sealed(1, "none", "silent.example"), "arc=fail"),
        with("a seal alone", alice().with("ARC-Seal: i=1; cv=none"), "arc=fail"),
        with("a number too high", one().replace("ARC-Seal: i=1", "ARC-Seal: i=51"), "arc=fail"),
        with("no number", one().replace("ARC-Seal: i=1", "ARC-Seal: i=x"), "arc=fail"),
        with("results without number", one().replace("Results: i=1;", "Results:"), "arc=fail"),
        with("more than was sealed", two().with("ARC-Seal: i=3; a=rsa-sha256"), "arc=fail"),
    ]
}
