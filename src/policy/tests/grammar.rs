//! The grammar of RFC 8601 §2.2, read strictly: a second opinion on the fields we write.

/// What is left to read, without comments and folds.
struct Reader<'a>(&'a str);

/// What each method may say (RFC 8601 §2.7, RFC 8617 §10.2, RFC 9989 §11.1).
const WORDS: &[(&str, &[&str])] = &[
    ("iprev", &["pass", "fail", "temperror", "permerror"]),
    ("spf", &["none", "pass", "fail", "softfail", "neutral", "temperror", "permerror"]),
    ("dkim", &["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"]),
    ("dmarc", &["none", "pass", "fail", "temperror", "permerror"]),
    ("arc", &["none", "pass", "fail"]),
];
const PROPERTIES: &[&str] = &[
    "policy.iprev",
    "smtp.mailfrom",
    "smtp.helo",
    "header.d",
    "header.s",
    "header.a",
    "header.b",
    "header.from",
];

/// The methods of a whole field in their order, or where it is wrong.
pub(in crate::policy) fn methods(field: &str) -> Result<Vec<String>, String> {
    let value = field.strip_prefix("Authentication-Results: ").ok_or("no such field")?;
    let value = value.strip_suffix("\r\n").ok_or("no end of line")?.replace("\r\n\t", "\t");
    if let Some(odd) = value.bytes().find(|byte| !matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(format!("byte {odd}"));
    }
    let mut reader = Reader(&value);
    reader.token()?;
    let mut methods = Vec::new();
    loop {
        reader.space()?;
        if !reader.sign(";") {
            break;
        }
        reader.space()?;
        let method = reader.token()?;
        reader.expect("=")?;
        let result = reader.token()?;
        let known = WORDS.iter().find(|(name, _)| *name == method).ok_or(method.clone())?;
        if !known.1.contains(&result.as_str()) {
            return Err(format!("{method}={result}"));
        }
        methods.push(method);
        let mut first = true;
        loop {
            let spaced = reader.space()?;
            if reader.0.is_empty() || reader.0.starts_with(';') {
                break;
            }
            let name = reader.token()?;
            if !(spaced && (PROPERTIES.contains(&name.as_str()) || first && name == "reason")) {
                return Err(format!("{name} after {result}"));
            }
            first = false;
            reader.expect("=")?;
            reader.value()?;
        }
    }
    if methods.is_empty() || !reader.0.is_empty() { Err(reader.0.to_owned()) } else { Ok(methods) }
}

impl Reader<'_> {
    fn sign(&mut self, sign: &str) -> bool {
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(format!("no {sign} before {}", self.0)) }
    }

    /// White space and comments; whether there was any.
    fn space(&mut self) -> Result<bool, String> {
        let before = self.0.len();
        loop {
            self.0 = self.0.trim_start_matches([' ', '\t']);
            if !self.sign("(") {
                return Ok(self.0.len() < before);
            }
            // Ours hold no comments in them.
            let (inside, rest) = self.0.split_once(')').ok_or("an open comment")?;
            if inside.contains(['(', '\\']) {
                return Err(format!("comment {inside}"));
            }
            self.0 = rest;
        }
    }

    /// RFC 2045 §5.1, with the dot of a property.
    fn token(&mut self) -> Result<String, String> {
        let special = |c: char| c.is_ascii_whitespace() || "()<>@,;:\\\"/[]?=".contains(c);
        let end = self.0.find(special).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(format!("no word before {rest}")) } else { Ok(token.to_owned()) }
    }

    /// A token, an address, or a quoted string (RFC 5322 §3.2.4).
    fn value(&mut self) -> Result<(), String> {
        if self.sign("\"") {
            let (inside, rest) = self.0.split_once('"').ok_or("an open quotation")?;
            self.0 = rest;
            return if inside.contains('\\') { Err(inside.to_owned()) } else { Ok(()) };
        }
        self.token()?;
        if self.sign("@") { self.token().map(drop) } else { Ok(()) }
    }
}

#[test]
fn the_reader_of_the_grammar_sees_mistakes() {
    let read = |value: &str| methods(&format!("Authentication-Results: {value}\r\n"));
    assert_eq!(read("a.b;\r\n\tspf=pass smtp.helo=c; arc=none").unwrap(), ["spf", "arc"]);
    for wrong in [
        "a.b",
        "a.b; spf",
        "a.b; spf=maybe",
        "a.b; spf=pass smtp.helo=\"c",
        "a.b; spf=pass (c",
        "a.b; spf=pass smtp.helo=c reason=x",
        "a.b; spf=pass other.helo=c",
        "a.b; spf=pass smtp.helo=c@",
        "a.b; spf=pass smtp.helo=1:2",
        "a.b; spf=pass\r\nsmtp.helo=c",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
