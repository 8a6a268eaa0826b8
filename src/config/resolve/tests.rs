//! Defaults, and the words of every complaint.
#![allow(clippy::unwrap_used, reason = "a failed step is the failed test")]

use crate::config::{
    Config, ConfigFile, OutboundMode, Part, RelayTls, TlsMode, Via, load, load_file, save,
};

const WHOLE: &str = r#"
[box]
hostname = "post.example.org"
timezone = "UTC"
[[domain]]
name = "example.org"
[[domain]]
name = "Bücher.example"
[owner]
address = "alice@example.org"
password = "open sesame"
[outbound]
mode = "relay"
relay = { host = "smtp.example.net", port = 587, user = "u", password = "relay secret" }
[outbound.ports]
mx = 2525
[wifi]
ssid = "Home"
psk = "wireless secret"
country = "de"
[tls]
mode = "files"
certificate = "/data/chain.pem"
key = "/data/key.pem"
[dns]
servers = ["192.0.2.53", "[2001:db8::53]:5353"]
[listen]
smtp = ["127.0.0.1:2525"]
pop3 = []
[limits]
per_address = 500
[board]
led = "none"
display = "ssd1306"
[store]
segment_size = 65536
"#;

fn resolve(text: &str) -> Result<Config, String> {
    ConfigFile::parse(text, "pillarbox.toml")
        .and_then(|file| file.resolve("pillarbox.toml"))
        .map_err(|error| error.to_string())
}

#[test]
fn every_table_is_understood() {
    let config = resolve(WHOLE).unwrap();
    let site = config.site.unwrap();
    assert_eq!(site.hostname.as_str(), "post.example.org");
    let domains: Vec<_> = site.domains.iter().map(ToString::to_string).collect();
    assert_eq!(domains, ["example.org", "xn--bcher-kva.example"]);
    let OutboundMode::Relay(relay) = config.outbound.mode else { panic!("not a relay") };
    assert_eq!((relay.port, relay.tls), (587, RelayTls::StartTls));
    assert_eq!(relay.login.unwrap().1.expose(), "relay secret");
    assert_eq!(config.outbound.mx_port, 2525);
    assert_eq!(config.segment_size, Some(65536));
    assert_eq!(config.wifi.unwrap().country, "DE");
    assert!(matches!(config.tls, TlsMode::Files { .. }));
    let servers: Vec<_> = config.dns.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:5353"]);
    assert_eq!(config.listen.smtp.len(), 1);
    assert!(config.listen.pop3.is_empty());
    assert_eq!(config.per_address, 500);
    assert_eq!(config.board.led, Part::None);
    assert_eq!(config.board.display, Part::Named("ssd1306".to_owned()));
    assert_eq!(config.board.button, Part::Auto);
}

#[test]
fn an_empty_file_is_a_new_box_on_the_usual_ports() {
    let config = resolve("").unwrap();
    assert!(config.site.is_none());
    assert!(matches!(config.outbound.mode, OutboundMode::Direct));
    let listen = config.listen;
    let lists = [
        (&listen.smtp, 25),
        (&listen.submission, 587),
        (&listen.submissions, 465),
        (&listen.imap, 143),
        (&listen.imaps, 993),
        (&listen.pop3, 110),
        (&listen.pop3s, 995),
        (&listen.http, 80),
        (&listen.https, 443),
    ];
    for (list, port) in lists {
        let texts: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [format!("0.0.0.0:{port}"), format!("[::]:{port}")]);
    }
}

#[test]
fn two_answers_are_enough() {
    let text = "[domain]\nname = \"example.org\"\n[owner]\naddress = \"alice@example.org\"\n";
    let site = resolve(text).unwrap().site.unwrap();
    assert_eq!(site.hostname.as_str(), "mail.example.org");
    assert_eq!(site.timezone, "UTC");
}

#[test]
fn each_complaint_names_its_place_and_the_way_out() {
    let site = |rest: &str| {
        format!("[domain]\nname = \"example.org\"\n[owner]\naddress = \"a@example.org\"\n{rest}")
    };
    let cases = [
        (
            "[domain]\nname = \"example.org\"\n[owner]\naddress = \"alice\"\n".to_owned(),
            "[owner] address: an address has the form name@domain",
        ),
        ("[domain]\nname = \"example.org\"\n".to_owned(), "[owner] address: is missing"),
        ("[owner]\naddress = \"a@b.org\"\n".to_owned(), "[domain] name: is missing"),
        (
            site("[[outbound.routes]]\nmode = \"direct\"\n"),
            "[[outbound.routes]]: fits all mail; say which",
        ),
        (
            site("[[outbound.routes]]\nwhen = \"refused\"\nmode = \"direct\"\n"),
            "needs a relay: the direct way is the one refused",
        ),
        (
            site("[[outbound.routes]]\nto = \"b.org\"\nrelay = { preset = \"nobody\" }\n"),
            "\"nobody\" is not known; write host and port instead, or one of brevo, ",
        ),
        (
            site("[outbound]\nrelay = { preset = \"sendgrid\", password = \"x\" }\n"),
            "[outbound] relay user: is missing; write for example \"the word apikey\"",
        ),
        (
            site("[outbound]\nrelay = { preset = \"sendgrid\", host = \"a.org\" }\n"),
            "[outbound] relay: has both preset and host",
        ),
        ("[domain]\n".to_owned(), "[domain] name: is missing; write for example \"example.org\""),
        (
            "[domain]\nname = \"b.org\"\n[owner]\naddress = \"a@c.org\"\n".to_owned(),
            "[owner] address: a@c.org does not belong to this box",
        ),
        ("[domain]\nname = \"localhost\"\n".to_owned(), "[domain] name: \"localhost\" has no dot"),
        ("[[domain]]\nname = \"b.org\"\n[[domain]]\nname = \"B.org\"\n".to_owned(), "named twice"),
        ("[box]\nhostname = \"a b\"\n".to_owned(), "[box] hostname: \"a b\" is not a domain name"),
        ("[box]\ntimezone = \"../etc\"\n".to_owned(), "[box] timezone: \"../etc\" is not"),
        (
            site("[store]\nsegment_size = 4096\n"),
            "[store] segment_size: write a number of bytes from 65536 to 1073741824",
        ),
        (site("[junk]\nmark = 0\n"), "[junk] mark: files nearly all mail in Junk"),
        (site("[junk]\nmark = 60\nrefuse = 50\n"), "[junk] refuse: is less than the mark of 60"),
        (site("[junk]\nrefuse = 40\n"), "[junk] refuse: is less than the mark of 50"),
        (site("[junk]\nlists = [\"zen\"]\n"), "[junk] lists: \"zen\" has no dot"),
        (site("[outbound]\nmode = \"pigeon\"\n"), "[outbound] mode: \"pigeon\" is no way out"),
        (site("[outbound]\nmode = \"relay\"\n"), "[outbound] relay: is missing"),
        (
            site("[outbound]\nrelay = { host = \"h.net\", user = \"u\" }\n"),
            "[outbound] relay password: is missing",
        ),
        (
            site(
                "[outbound]\nrelay = { host = \"h.net\", user = \"u\", password = \"p\", \
                 tls = \"none\" }\n",
            ),
            "[outbound] relay tls: \"none\" would send the relay's password in the clear",
        ),
        (site("[outbound.ports]\nmx = 0\n"), "[outbound.ports] mx: 0 is not a port"),
        ("[tls]\nmode = \"acme\"\n".to_owned(), "is not built yet"),
        ("[tls]\nmode = \"files\"\n".to_owned(), "[tls] certificate: is missing"),
        ("[dns]\nservers = [\"dns.example\"]\n".to_owned(), "[dns] servers: \"dns.example\""),
        ("[listen]\nimaps = [\"993\"]\n".to_owned(), "[listen] imaps: \"993\" is not address:port"),
        ("[limits]\nper_address = 0\n".to_owned(), "[limits] per_address: 0 is out of range"),
        ("[limits]\nper_address = 1001\n".to_owned(), "write 1 to 1000"),
        ("[wifi]\nssid = \"\"\n".to_owned(), "[wifi] ssid: the name of the wireless network"),
        ("[wifi]\nssid = \"x\"\npsk = \"short\"\n".to_owned(), "[wifi] psk: a Wi-Fi password has"),
        ("[wifi]\nssid = \"x\"\n".to_owned(), "[wifi] country: is missing"),
        ("[board]\nled = \"\"\n".to_owned(), "[board] led: is empty"),
        ("[box]\n\nhostnam = \"x\"\n".to_owned(), "line 3: unknown field `hostnam`"),
        ("[domain]\nnmae = \"x\"\n".to_owned(), "line 2: unknown field `nmae`"),
        (site("[tls]\nmta_sts = \"enforce\"\n"), "needs a certificate that others trust"),
        (site("[tls]\nmta_sts = \"maybe\"\n"), "\"maybe\" is not known"),
        ("domain = 3\n".to_owned(), "line 1: invalid type: integer `3`"),
        ("[box\n".to_owned(), "line 1: "),
    ];
    for (text, expected) in cases {
        let said = resolve(&text).unwrap_err();
        assert!(said.starts_with("pillarbox.toml, "), "{said}");
        assert!(said.contains(expected), "{said:?} does not hold {expected:?}");
    }
}

#[test]
fn the_written_file_reads_the_same_and_holds_no_account_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pillarbox.toml");
    let file = ConfigFile::parse(WHOLE, "pillarbox.toml").unwrap();
    save(&path, &file).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("open sesame"));
    assert!(text.contains("relay secret") && text.contains("wireless secret"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let (before, after) = (file.resolve("x").unwrap(), load(&path).unwrap());
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(load_file(&path).unwrap().to_text().unwrap(), text);
}

#[test]
fn a_wrong_configuration_never_replaces_a_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pillarbox.toml");
    save(&path, &ConfigFile::parse(WHOLE, "x").unwrap()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let wrong = ConfigFile::parse("[domain]\nname = \"x\"\n", "x").unwrap();
    assert!(save(&path, &wrong).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn an_unreadable_file_is_said_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let said = load(folder.path()).unwrap_err().to_string();
    assert!(said.starts_with(&format!("cannot read {}", folder.path().display())), "{said}");
}

#[test]
fn a_route_keeps_its_secret_when_the_seed_lost_it() {
    let text = "[[outbound.routes]]\nwhen = \"refused\"\n\
        relay = { preset = \"postmark\", user = \"token\", password = \"token secret\" }\n";
    let before = ConfigFile::parse(text, "x").unwrap();
    let mut seed = ConfigFile::parse(&crate::config::without_secrets(text).unwrap(), "x").unwrap();
    assert!(seed.resolve("x").is_err());
    seed.keep_secrets_of(&before);
    let config = seed.resolve("x").unwrap();
    let [route] = &config.outbound.routes[..] else { panic!("{:?}", config.outbound) };
    let Via::Relay(relay) = &route.via else { panic!("{route:?}") };
    assert_eq!((relay.host.as_str(), relay.port), ("smtp.postmarkapp.com", 587));
    assert_eq!(relay.login.as_ref().unwrap().1.expose(), "token secret");
    assert!(route.if_refused && relay.spf == Some("spf.mtasv.net"));
}

#[test]
fn blank_secrets_keep_what_the_box_knows() {
    let before = ConfigFile::parse(WHOLE, "x").unwrap();
    let mut seed = ConfigFile::parse(&crate::config::without_secrets(WHOLE).unwrap(), "x").unwrap();
    assert!(seed.resolve("x").is_err());
    seed.keep_secrets_of(&before);
    let config = seed.resolve("x").unwrap();
    assert_eq!(config.wifi.unwrap().psk.unwrap().expose(), "wireless secret");

    // Another relay must not be shown the password of the former one.
    let text = crate::config::without_secrets(WHOLE).unwrap().replace("smtp.example", "evil");
    let mut other = ConfigFile::parse(&text, "x").unwrap();
    other.keep_secrets_of(&before);
    assert!(other.outbound.unwrap().relay.unwrap().password.is_none());
}
