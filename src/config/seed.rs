//! The seed: a `pillarbox.toml` that the owner put on the card's boot partition. It is applied
//! once, then rewritten without secrets, since anyone who holds the card can read it. A seed that
//! was applied and not touched since is left alone, so that later changes made on the box stay.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{ConfigError, ConfigFile, FILE_NAME};
use crate::files::write_private;

/// A seed that waits to be applied.
#[derive(Debug)]
pub struct Seed {
    /// The answers, secrets included.
    pub answers: ConfigFile,
    /// What to write back in place of the file.
    pub without_secrets: String,
}

impl Seed {
    /// Reads a seed file, unless it is missing or was applied before. `data` is the data folder,
    /// where [`Seed::applied`] leaves its mark.
    pub fn read(path: &Path, data: &Path) -> Result<Option<Self>, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        // Some editors begin a file with a byte order mark; Windows ends lines in its own way.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let blank = without_secrets(text)?;
        let known = fs::read_to_string(data.join(MARK)).unwrap_or_default();
        if text == blank && known == fingerprint(&blank) {
            return Ok(None);
        }
        let answers = ConfigFile::parse(text, FILE_NAME)?;
        Ok(Some(Self { answers, without_secrets: blank }))
    }

    /// Notes that this seed was applied. Call it after the answers took effect; the caller also
    /// writes [`Seed::without_secrets`] back to the boot partition.
    pub fn applied(&self, data: &Path) -> Result<(), ConfigError> {
        let path = data.join(MARK);
        write_private(&path, fingerprint(&self.without_secrets).as_bytes())
            .map_err(|source| ConfigError::Unsaved { path, source })
    }
}

/// The text with every password blanked and all else, comments included, as it was.
pub fn without_secrets(text: &str) -> Result<String, ConfigError> {
    // The types first: their complaint is the better one.
    ConfigFile::parse(text, FILE_NAME)?;
    let table = DeTable::parse(text).map_err(|error| ConfigError::Grammar {
        file: FILE_NAME.to_owned(),
        line: 1,
        reason: error.message().to_owned(),
    })?;
    let mut spans = Vec::new();
    collect(table.get_ref(), &mut spans);
    spans.sort_by_key(|span| span.start);
    let mut output = String::with_capacity(text.len());
    let mut rest = 0;
    for span in spans {
        output.push_str(text.get(rest..span.start).unwrap_or_default());
        output.push_str("\"\"");
        rest = span.end;
    }
    output.push_str(text.get(rest..).unwrap_or_default());
    Ok(output.split_inclusive('\n').map(blank_comment).collect())
}

/// Mark of the last seed applied, in the data folder.
const MARK: &str = "seed-applied";

/// Keys whose values are secret, wherever they stand.
const SECRETS: [&str; 2] = ["password", "psk"];

fn fingerprint(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn collect(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if SECRETS.contains(&key.get_ref().as_ref()) {
            spans.push(value.span());
        } else {
            descend(value.get_ref(), spans);
        }
    }
}

fn descend(value: &DeValue<'_>, spans: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Table(table) => collect(table, spans),
        DeValue::Array(array) => {
            for value in array {
                descend(value.get_ref(), spans);
            }
        }
        _ => {}
    }
}

/// A password that was commented out is one all the same.
fn blank_comment(line: &str) -> String {
    let commented = line.trim_start().strip_prefix('#').map(str::trim_start);
    let secret = commented
        .and_then(|rest| SECRETS.iter().find_map(|key| rest.strip_prefix(key)))
        .is_some_and(|rest| rest.trim_start().starts_with('='));
    match line.split_once('=') {
        Some((key, value)) if secret => {
            let end = if value.ends_with("\r\n") {
                "\r\n"
            } else if value.ends_with('\n') {
                "\n"
            } else {
                ""
            };
            format!("{key}= \"\"{end}")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    const SEED: &str = r#"# my box
[box]
hostname = "mail.example.org"   # the name
[domain]
name = "example.org"
[owner]
address = "alice@example.org"
password = "correct horse # battery"  # change me
# password = "the old one"
[outbound]
mode = "relay"
relay = { host = "smtp.example.net", port = 465, user = "alice", password = 'pass"word', tls = "implicit" }
[wifi]
ssid = "password"
psk = """
secret phrase"""
country = "DE"
"#;

    #[test]
    fn secrets_go_and_the_rest_stays_as_it_was_written() {
        let blank = without_secrets(SEED).unwrap();
        let expected = SEED
            .replace("\"correct horse # battery\"", "\"\"")
            .replace("# password = \"the old one\"", "# password = \"\"")
            .replace("'pass\"word'", "\"\"")
            .replace("\"\"\"\nsecret phrase\"\"\"", "\"\"");
        assert_eq!(blank, expected);
        assert_eq!(without_secrets(&blank).unwrap(), blank);
    }

    #[test]
    fn a_seed_is_applied_once_and_again_only_when_the_owner_touched_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, data) = (folder.path().join("seed.toml"), folder.path());
        assert!(Seed::read(&path, data).unwrap().is_none());

        fs::write(&path, SEED).unwrap();
        let seed = Seed::read(&path, data).unwrap().unwrap();
        let owner = seed.answers.owner.as_ref().unwrap();
        assert_eq!(owner.password.as_ref().unwrap().expose(), "correct horse # battery");
        // A power cut before the file was rewritten: it is applied again, which is harmless.
        seed.applied(data).unwrap();
        assert!(Seed::read(&path, data).unwrap().is_some());
        fs::write(&path, &seed.without_secrets).unwrap();
        assert!(Seed::read(&path, data).unwrap().is_none());

        // A forgotten password, set anew on the card.
        let again = seed.without_secrets.replacen("password = \"\"", "password = \"new one\"", 1);
        fs::write(&path, again).unwrap();
        assert!(Seed::read(&path, data).unwrap().is_some());
        // A changed setting without any secret.
        fs::write(&path, seed.without_secrets.replace("DE", "FR")).unwrap();
        assert!(Seed::read(&path, data).unwrap().is_some());
    }

    #[test]
    fn a_file_from_a_windows_editor_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.toml");
        let text = "\u{feff}[owner]\r\n# password = \"old\"\r\naddress = \"a@b.org\"\r\n";
        fs::write(&path, text).unwrap();
        let seed = Seed::read(&path, folder.path()).unwrap().unwrap();
        assert_eq!(
            seed.without_secrets,
            "[owner]\r\n# password = \"\"\r\naddress = \"a@b.org\"\r\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_not_rewritten() {
        let error = without_secrets("[owner]\npassword = \"x\"\nadress = \"y\"\n").unwrap_err();
        assert!(error.to_string().starts_with("pillarbox.toml, line 3: unknown field"), "{error}");
    }
}
