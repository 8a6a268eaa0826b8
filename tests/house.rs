//! The rules of the house, read from the source: what may import what, and who alone may use
//! which crate. A border that moves is moved here, on purpose.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up: a unit may import only units of lower floors.
/// `smtp::client` is a unit of its own: the queue stands on it, the SMTP server stands on the queue.
const FLOORS: &[&[&str]] = &[
    &["mail", "clock", "files"],
    &["net", "dns", "store"],
    &["summary"],
    &["search"],
    &["accounts"],
    &["config", "deliver", "archive", "smtp::client"],
    &["policy"],
    &["queue"],
    &["reports"],
    &["smtp", "imap", "pop3", "selfcheck"],
    &["setup", "panel"],
    &["web"],
    &["office"],
    &["control"],
    &["appliance"],
    &["demo"],
    &["cli"],
];

/// Crates that only one place may know, so that a new major version touches one place.
const HIDDEN: &[(&str, &[&str])] = &[
    ("hickory_", &["dns"]),
    ("icu_normalizer", &["mail", "accounts"]),
    ("mail_parser", &["mail"]),
    ("mail_auth", &["policy"]),
    ("redb", &["store", "search", "policy"]),
    ("flate2", &["net", "reports"]),
    ("quick_xml", &["reports"]),
    ("zstd", &["store", "search", "summary"]),
    ("maud", &["web"]),
    ("axum", &["web"]),
    ("board", &["panel", "appliance", "demo", "cli"]),
];

#[test]
fn imports_point_downwards_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let Some(unit) = unit_of(&path) else { continue };
        for (number, line) in code_lines(&text) {
            for import in imports(line) {
                let target =
                    if import.starts_with("smtp::client") { "smtp::client" } else { top(import) };
                if target == unit || !is_unit(target) {
                    continue;
                }
                if floor(target) >= floor(&unit) {
                    wrong.push(format!("{}:{number}: {unit} imports {target}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point downwards:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.len() > 10, "the modules of lib.rs were not found");
    for module in modules {
        assert!(is_unit(module), "{module} has no floor in tests/house.rs");
    }
}

#[test]
fn sessions_know_no_socket_and_no_clock() {
    let forbidden =
        ["tokio", "std::net::Tcp", "SystemTime", "Instant::now", "Timestamp::now", "std::fs"];
    let mut seen = 0;
    for (path, text) in sources("src") {
        if path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let sans_io = path.file_name().is_some_and(|name| name == "session.rs")
            || path.components().any(|part| part.as_os_str() == "session")
            || path.ends_with("web/wizard.rs");
        if !sans_io {
            continue;
        }
        seen += 1;
        for (number, line) in code_lines(&text) {
            for word in forbidden {
                assert!(!line.contains(word), "{}:{number} names {word}", path.display());
            }
        }
    }
    assert!(seen >= 4, "only {seen} sans-IO files were found");
}

#[test]
fn some_crates_have_one_door() {
    for (path, text) in sources("src") {
        let Some(unit) = unit_of(&path) else { continue };
        for (number, line) in code_lines(&text) {
            for (name, doors) in HIDDEN {
                let used = [format!("use {name}"), format!(" {name}"), format!("({name}")]
                    .iter()
                    .any(|start| {
                        line.contains(&format!("{start}::"))
                            || line.contains(start.as_str()) && name.ends_with('_')
                    });
                assert!(
                    !used || doors.contains(&top(&unit)),
                    "{}:{number}: only {doors:?} may use {name}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_board_knows_no_mail() {
    for (path, text) in sources("board/src") {
        for (number, line) in code_lines(&text) {
            for word in ["pillarbox::", "mail_parser", "smtp", "imap"] {
                assert!(
                    !line.to_lowercase().contains(word),
                    "{}:{number} names {word}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    for folder in ["src", "board/src", "tests"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= 800, "{} has {lines} lines: split it", path.display());
        }
    }
}

#[test]
fn the_readme_shows_the_lights_as_they_are() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let table = board::pattern::vocabulary_table();
    assert!(readme.contains(table.trim()), "README.md must hold this table:\n{table}");
}

#[test]
fn the_readme_shows_a_file_that_the_box_understands() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let start = readme.find("```toml").expect("the file in README.md") + "```toml".len();
    let text = readme[start..].split("```").next().expect("the end of the file");
    let file = pillarbox::config::ConfigFile::parse(text, "README.md");
    let config = file.and_then(|file| file.resolve("README.md"));
    let site = config.expect("a file without mistakes").site.expect("a box that is set up");
    assert_eq!(site.owner.to_string(), "alice@example.org");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a source folder") {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    assert!(!paths.is_empty(), "no source in {folder}");
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            (path.strip_prefix(root()).expect("below the root").to_owned(), text)
        })
        .collect()
}

/// `src/smtp/session.rs` belongs to `smtp`; `main.rs` and `lib.rs` to nothing.
fn unit_of(path: &Path) -> Option<String> {
    let inner = path.strip_prefix("src").ok()?;
    let first = inner.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    if inner.starts_with("smtp/client") || inner.starts_with("smtp/client.rs") {
        return Some("smtp::client".to_owned());
    }
    (!matches!(name, "main" | "lib")).then(|| name.to_owned())
}

/// Lines of code with their numbers; comments and the tests at the end of a file left out.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("mod tests"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(|(at, word)| {
        let before = line[..at].chars().next_back();
        let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        whole.then(|| &line[at + word.len()..])
    })
}

fn top(import: &str) -> &str {
    let end = import.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(import.len());
    &import[..end]
}

fn is_unit(name: &str) -> bool {
    FLOORS.iter().any(|units| units.contains(&name))
}

fn floor(name: &str) -> usize {
    FLOORS.iter().position(|units| units.contains(&name)).unwrap_or(usize::MAX)
}
