//! Old mail in and all mail out by the command line, with the box running and without, and with
//! one of the two killed in between.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::trouble::{PostOffice, pillarbox, text};

const ALICE: &str = "alice@home.test";

#[test]
fn mail_goes_in_and_out_whether_the_box_runs_or_not() {
    let post = PostOffice::start();
    let work = tempfile::tempdir().unwrap();
    let old = mails(work.path(), 300);
    fs::write(old.join("large.eml"), format!("Subject: large\n\n{}", "a line\n".repeat(500_000)))
        .unwrap();
    let done = import(post.data(), &old);
    assert_eq!((done["added"].as_u64(), done["present"].as_u64()), (Some(301), Some(0)), "{done}");
    assert!(post.memory_kib() < 64 * 1024, "{} KiB", post.memory_kib());
    assert!(post.imap().hello().starts_with("* OK"));
    let (running, closed) = (work.path().join("running"), work.path().join("closed"));
    assert_eq!(export(post.data(), &running)["added"], 301);

    let folder = post.stop();
    let data = folder.display().to_string();
    assert_eq!(import(&data, &old)["present"], 301);
    assert_eq!(export(&data, &closed)["added"], 301);
    assert_eq!(import(&data, &running)["added"], 0);
    assert_eq!(files(&running), files(&closed));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_killed_import_is_run_again_and_each_message_is_there_once() {
    const MAILS: usize = 10_000;
    let mut post = PostOffice::start();
    let work = tempfile::tempdir().unwrap();
    let old = mbox(work.path(), MAILS);
    let mut broken_off = 0;
    // First whoever imports is killed, then the box, then the box is stopped.
    for round in 0..3 {
        let before = messages(post.data());
        let mut importing = importing(post.data(), &old);
        while messages(post.data()) == before && importing.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if round == 0 {
            importing.kill().unwrap();
            broken_off += u32::from(!importing.wait().unwrap().success());
        } else {
            post = if round == 1 { post.kill_and_restart() } else { post.stop_and_restart() };
            let done = importing.wait_with_output().unwrap();
            let said = text(&done.stderr);
            if !done.status.success() {
                assert!(said.contains("run the same command again"), "{said}");
                broken_off += 1;
            }
        }
        let now = messages(post.data());
        assert!(now > before || now == MAILS as u64, "{before} became {now}");
    }
    assert!(broken_off > 0, "every import was faster than its end");
    let left = import(post.data(), &old);
    assert_eq!(left["failed"], 0, "{left}");
    assert_eq!(messages(post.data()), MAILS as u64);
    let out = work.path().join("out").display().to_string();
    carry(&["export", ALICE, &out, "--format", "mbox", "--json", "--data", post.data()]);
    let all = fs::read_to_string(Path::new(&out).join("INBOX.mbox")).unwrap();
    let subjects: Vec<&str> = all.lines().filter(|line| line.starts_with("Subject: ")).collect();
    let different: BTreeSet<&str> = subjects.iter().copied().collect();
    assert_eq!((subjects.len(), different.len()), (MAILS, MAILS));
}

#[test]
fn ctrl_c_ends_after_a_batch_and_says_how_to_go_on() {
    let post = PostOffice::start();
    let work = tempfile::tempdir().unwrap();
    let old = mbox(work.path(), 10_000);
    let importing = importing(post.data(), &old);
    while messages(post.data()) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = nix::unistd::Pid::from_raw(importing.id().try_into().unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    let done = importing.wait_with_output().unwrap();
    let (told, said) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("run the same command again"), "{said}");
    let added = messages(post.data());
    assert!(added < 10_000 && told.contains(&format!("{added} messages added")), "{told}");
}

#[test]
fn what_cannot_be_carried_is_said_in_one_line() {
    let post = PostOffice::start();
    let work = tempfile::tempdir().unwrap();
    let empty = work.path().display().to_string();
    for (args, word) in [
        (["import", "nobody@home.test", &empty], "there is no account nobody@home.test"),
        (["import", ALICE, &empty], "there is no mail in"),
        (["import", ALICE, "/nowhere/mail"], "cannot read /nowhere/mail"),
        (["export", ALICE, "/proc/mail"], "cannot write /proc/mail"),
    ] {
        let refused = pillarbox(&[&args[..], &["--data", post.data()]].concat());
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(said.contains(word) && said.lines().count() == 1, "{args:?}: {said}");
    }
}

fn mails(work: &Path, count: usize) -> PathBuf {
    let folder = work.join("old");
    fs::create_dir(&folder).unwrap();
    for number in 0..count {
        let message = format!("Subject: {number}\n\nA line.\nFrom here on another one.\n");
        fs::write(folder.join(format!("{number}.eml")), message).unwrap();
    }
    folder
}

/// One file: ten thousand take long to remove.
fn mbox(work: &Path, count: usize) -> PathBuf {
    let message = |number| {
        let separator = "From a@far.test Sun Nov 22 10:00:00 2026";
        format!("{separator}\nSubject: {number}\n\nA line.\n>From here on another one.\n\n")
    };
    let path = work.join("INBOX");
    fs::write(&path, (0..count).map(message).collect::<String>()).unwrap();
    path
}

fn import(data: &str, path: &Path) -> serde_json::Value {
    carry(&["import", ALICE, &path.display().to_string(), "--json", "--data", data])
}

fn importing(data: &str, path: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(["import", ALICE, "--data", data])
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn export(data: &str, path: &Path) -> serde_json::Value {
    carry(&["export", ALICE, &path.display().to_string(), "--json", "--data", data])
}

fn carry(args: &[&str]) -> serde_json::Value {
    let done = pillarbox(args);
    assert!(done.status.success(), "{args:?}: {}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn messages(data: &str) -> u64 {
    let stats = pillarbox(&["store", "stats", "--json", "--data", data]);
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    stats["messages"].as_u64().unwrap()
}

/// Names and bytes of all files below.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            all.push((name, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}
