"""Other people's mail programs do their normal job against `pillarbox demo`.

  python3 tests/clients.py PILLARBOX

mbsync, fetchmail, mutt, msmtp and gsasl from Debian, curl, and Python's own imaplib, poplib, smtplib and
mailbox.
No root needed.
"""
import imaplib
import json
import mailbox as archives
import os
import poplib
import re
import shlex
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

BASE = int(os.environ.get("PILLARBOX_TEST_PORTS", "21000"))
PORT = {name: BASE + number for name, number in dict(
    smtp=25, submission=587, submissions=465, imap=143, imaps=993, pop3=110, pop3s=995, http=80,
).items()}
ALICE, BOB, CAROL = "alice@home.test", "bob@home.test", "carol@home.test"
PASSWORD = {ALICE: "demo-alice", BOB: "demo-bob", CAROL: "demo-carol"}
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE


def message(subject, sender=BOB, recipient=ALICE, text="A line.\r\n.A line with a dot.\r\n"):
    return (f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\n"
            f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject}@home.test>\r\n"
            f"\r\n{text}")


class Demo:
    def __init__(self, pillarbox, work):
        self.pillarbox, self.work = pillarbox, work
        self.data = f"{work}/demo"

    def start(self):
        self.log = open(f"{self.work}/demo.log", "ab")
        self.process = subprocess.Popen(
            [self.pillarbox, "demo", "--data", self.data, "--ports", str(BASE)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        for name, port in PORT.items():
            self.wait_port(name, port)

    def wait_port(self, name, port):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, "the demo ended; see its log"
            try:
                socket.create_connection(("127.0.0.1", port), 2).close()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"the demo does not answer on {name} ({port})")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0, "Ctrl-C must stop the demo cleanly"

    def run(self, *args, check=True, **options):
        options.setdefault("capture_output", True)
        options.setdefault("text", True)
        options.setdefault("timeout", 120)
        options.setdefault("env", {**os.environ, "HOME": self.work})
        result = subprocess.run(args, **options)
        if check:
            assert result.returncode == 0, (args, result.returncode, result.stdout, result.stderr)
        return result

    def carry(self, *args):
        """An import or export while the box runs; what it did."""
        done = self.run(self.pillarbox, *args, "--data", f"{self.data}/home", "--json")
        return json.loads(done.stdout)

    def file(self, name, text, mode=0o600):
        path = f"{self.work}/{name}"
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path


def imap(login=ALICE, mailbox="INBOX"):
    client = imaplib.IMAP4_SSL("127.0.0.1", PORT["imaps"], ssl_context=TLS)
    client.login(login, PASSWORD[login])
    client.select(mailbox)
    return client


def subjects(login=ALICE, mailbox="INBOX"):
    client = imap(login, mailbox)
    numbers = client.search(None, "ALL")[1][0].split()
    found = [client.fetch(n, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1].decode().strip()
             for n in numbers]
    client.logout()
    return [s.removeprefix("Subject: ") for s in found]


def test_smtplib_delivers_and_submits(demo):
    with smtplib.SMTP("127.0.0.1", PORT["smtp"]) as client:
        client.sendmail("stranger@far.test", [ALICE], message("smtplib-in", "stranger@far.test"))
    with smtplib.SMTP("127.0.0.1", PORT["submission"]) as client:
        client.starttls(context=TLS)
        client.login(BOB, PASSWORD[BOB])
        client.sendmail(BOB, [ALICE], message("smtplib-587"))
    with smtplib.SMTP_SSL("127.0.0.1", PORT["submissions"], context=TLS) as client:
        client.login(BOB, PASSWORD[BOB])
        client.sendmail(BOB, [ALICE], message("smtplib-465"))
    assert {"smtplib-in", "smtplib-587", "smtplib-465"} <= set(subjects())


def test_imaplib_does_its_job(demo):
    client = imap()
    done, uid = client.append("INBOX", r"(\Seen)", None, message("appended").encode())
    assert done == "OK" and b"APPENDUID" in uid[0], uid
    number = client.search(None, "SUBJECT", "appended")[1][0].split()[0]
    body = client.fetch(number, "(RFC822)")[1][0][1]
    assert body == message("appended").encode(), body
    part = client.fetch(number, "(BODY.PEEK[TEXT]<2.4>)")[1][0][1]
    assert part == b"line", part
    assert client.store(number, "+FLAGS", r"(\Flagged $Work)")[0] == "OK"
    assert client.copy(number, "Archive")[0] == "OK"
    assert client.store(number, "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert client.expunge()[0] == "OK"
    assert client.search(None, "SUBJECT", "appended")[1][0] == b""
    client.logout()
    assert subjects(mailbox="Archive") == ["appended"]
    with imaplib.IMAP4("127.0.0.1", PORT["imap"]) as client:
        try:
            client.login(ALICE, PASSWORD[ALICE])
            raise AssertionError("a login in the clear was taken")
        except imaplib.IMAP4.error:
            pass
        client.starttls(TLS)
        client.login(ALICE, PASSWORD[ALICE])


def test_poplib_does_its_job(demo):
    client = poplib.POP3_SSL("127.0.0.1", PORT["pop3s"], context=TLS)
    client.user(ALICE)
    client.pass_(PASSWORD[ALICE])
    count, size = client.stat()
    assert count >= 3 and size > 0
    text = b"\n".join(client.retr(1)[1])
    assert b"\n.A line with a dot." in text, text
    assert len(client.uidl()[1]) == count
    client.dele(1)
    client.rset()
    client.quit()
    client = poplib.POP3("127.0.0.1", PORT["pop3"])
    client.stls(context=TLS)
    client.user(ALICE)
    client.pass_(PASSWORD[ALICE])
    assert client.stat()[0] == count, "RSET must bring the message back"
    client.quit()


def test_msmtp_sends(demo):
    config = demo.file("msmtprc", f"""\
account demo
host 127.0.0.1
port {PORT["submission"]}
tls on
tls_starttls on
tls_certcheck off
auth on
user {BOB}
password {PASSWORD[BOB]}
from {BOB}
account default : demo
""")
    demo.run("msmtp", "-C", config, ALICE, input=message("msmtp").replace("\r\n", "\n"))
    assert "msmtp" in subjects()


def test_gsasl_proves_its_password(demo):
    """SCRAM by an implementation that knows nothing of ours; it checks the server's proof, too."""
    def login(mechanism, password, *options, port="submission"):
        done = demo.run("gsasl", "--client", "--smtp", f"--connect=127.0.0.1:{PORT[port]}",
                        "--x509-ca-file=", f"--mechanism={mechanism}", f"--authentication-id={BOB}",
                        f"--password={password}", *options, check=False, stdin=subprocess.DEVNULL,
                        env={**os.environ, "HOME": demo.work, "LC_ALL": "C.UTF-8"})
        return done.returncode == 0 and "server trusted" in done.stdout + done.stderr, done

    def taken(*args):
        good, done = login(*args)
        assert good, (args, done)

    old_tls = "--priority=NORMAL:-VERS-TLS1.3"
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256-PLUS"]:
        taken(mechanism, PASSWORD[BOB])
    taken("SCRAM-SHA-256", PASSWORD[BOB], "--no-cb")
    # Under TLS 1.2 its kind of binding is not to be had, and so none is offered.
    taken("SCRAM-SHA-256", PASSWORD[BOB], "--no-cb", old_tls)
    assert "AUTH SCRAM-SHA-256 PLAIN LOGIN" in login("PLAIN", "x", old_tls)[1].stdout
    for mechanism in ["PLAIN", "SCRAM-SHA-256-PLUS"]:
        good, done = login(mechanism, "demo-bobby")
        assert not good and "535 5.7.8" in done.stdout + done.stderr, done
    # It prepares passwords as RFC 4013 says, whatever form they were set in and are typed in.
    composed, apart = "gr\u00fcne Wiese \u2168", "gru\u0308ne\u00a0Wiese IX"
    data = ["--data", f"{demo.data}/home"]
    for password in [apart.replace("IX", "\u2168"), composed]:
        demo.run(demo.pillarbox, "account", "passwd", BOB, "--password-stdin", *data,
                 input=f"{password}\n")
        for typed in [composed, apart]:
            taken("SCRAM-SHA-256-PLUS", typed)
        taken("PLAIN", composed)
    demo.run(demo.pillarbox, "account", "passwd", BOB, "--password-stdin", *data,
             input=f"{PASSWORD[BOB]}\n")


def test_curl_sends_and_reads(demo):
    mail = demo.file("curl.eml", message("curl"))
    demo.run("curl", "-sS", "-k", f"smtps://127.0.0.1:{PORT['submissions']}/curl",
             "--user", f"{BOB}:{PASSWORD[BOB]}", "--mail-from", BOB, "--mail-rcpt", ALICE,
             "--upload-file", mail)
    number = demo.run("curl", "-sS", "-k", f"imaps://127.0.0.1:{PORT['imaps']}/INBOX",
                      "--user", f"{ALICE}:{PASSWORD[ALICE]}", "-X", "SEARCH SUBJECT curl"
                      ).stdout.split()[-1]
    read = demo.run("curl", "-sS", "-k",
                    f"imaps://127.0.0.1:{PORT['imaps']}/INBOX;MAILINDEX={number}",
                    "--user", f"{ALICE}:{PASSWORD[ALICE]}", text=False).stdout
    assert read.endswith(message("curl").encode()), read
    listed = demo.run("curl", "-sS", "-k", f"pop3s://127.0.0.1:{PORT['pop3s']}/",
                      "--user", f"{ALICE}:{PASSWORD[ALICE]}").stdout
    assert len(listed.splitlines()) == len(subjects()), listed


def test_mbsync_synchronises_both_ways(demo):
    config = demo.file("mbsyncrc", f"""\
IMAPAccount demo
Host 127.0.0.1
Port {PORT["imaps"]}
User {ALICE}
Pass {PASSWORD[ALICE]}
SSLType IMAPS
CertificateFile {demo.data}/home/tls/mail.home.test/certificate.pem

IMAPStore far
Account demo

MaildirStore near
Path {demo.work}/maildir/
Inbox {demo.work}/maildir/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
    os.makedirs(f"{demo.work}/maildir")
    demo.run("mbsync", "-c", config, "-a")

    def near():
        folder = f"{demo.work}/maildir/INBOX"
        return [f"{folder}/{kind}/{name}" for kind in ("cur", "new")
                for name in os.listdir(f"{folder}/{kind}")]

    assert len(near()) == len(subjects()), near()
    for folder in ("Drafts", "Sent", "Junk", "Trash", "Archive"):
        assert os.path.isdir(f"{demo.work}/maildir/{folder}"), folder
    # What is written here arrives there, what is removed here goes there.
    with open(f"{demo.work}/maildir/INBOX/new/1.here", "w") as file:
        file.write(message("from-mbsync").replace("\r\n", "\n"))
    victim = next(path for path in near() if "Subject: msmtp\n" in open(path).read())
    os.remove(victim)
    demo.run("mbsync", "-c", config, "-a")
    assert "from-mbsync" in subjects() and "msmtp" not in subjects()
    quiet = demo.run("mbsync", "-c", config, "-a", "-V")
    assert len(near()) == len(subjects()), quiet.stdout


def test_fetchmail_takes_mail_over_pop3(demo):
    with smtplib.SMTP("127.0.0.1", PORT["smtp"]) as client:
        client.sendmail("stranger@far.test", [BOB], message("for-fetchmail", "stranger@far.test", BOB))
    spool = f"{demo.work}/fetched"
    config = demo.file("fetchmailrc", f"""\
poll 127.0.0.1 protocol pop3 port {PORT["pop3s"]}
  user "{BOB}" password "{PASSWORD[BOB]}" ssl no sslcertck
  mda "cat >> {spool}" fetchall no keep
""")
    env = {**os.environ, "HOME": demo.work, "FETCHMAILHOME": demo.work}
    result = demo.run("fetchmail", "-f", config, "--nosyslog", "-v", check=False, env=env)
    assert result.returncode == 0, result
    assert "Subject: for-fetchmail" in open(spool).read()
    assert "for-fetchmail" not in subjects(BOB), "fetchmail deletes what it took"
    empty = demo.run("fetchmail", "-f", config, "--nosyslog", check=False, env=env)
    assert empty.returncode == 1, "1 means: no mail"


def test_mutt_reads_and_files(demo):
    config = demo.file("muttrc", f"""\
set folder = "imaps://127.0.0.1:{PORT["imaps"]}/"
set imap_user = "{ALICE}"
set imap_pass = "{PASSWORD[ALICE]}"
set ssl_verify_host = no
set ssl_verify_dates = no
set certificate_file = "{demo.data}/home/tls/mail.home.test/certificate.pem"
set spoolfile = "+INBOX"
set quit = yes
set confirmappend = no
set delete = yes
set header_cache = ""
set wait_key = no
set mbox = "+Archive"
set move = no
""")
    before = len(subjects(mailbox="Archive"))
    keys = "<search>from-mbsync<enter><save-message>=Archive<enter><sync-mailbox><quit>"
    # mutt wants a terminal, which script(1) gives it.
    command = shlex.join(["mutt", "-n", "-F", config, "-e", f'push "{keys}"'])
    demo.run("script", "-qec", command, "/dev/null", stdin=subprocess.DEVNULL,
             env={**os.environ, "HOME": demo.work, "TERM": "xterm"})
    assert len(subjects(mailbox="Archive")) == before + 1
    assert "from-mbsync" not in subjects()


def contents(login, mailbox):
    """Flags, date and bytes of every message."""
    client = imap(login, f'"{mailbox}"')
    found = []
    for number in client.search(None, "ALL")[1][0].split():
        head, body = client.fetch(number, "(FLAGS INTERNALDATE BODY.PEEK[])")[1][0]
        flags = {f.decode() for f in imaplib.ParseFlags(head)} - {r"\Recent"}
        date = time.mktime(imaplib.Internaldate2tuple(head))
        found.append((frozenset(flags), int(date), body))
    client.logout()
    return sorted(found, key=lambda message: message[2])


def test_archives_of_others_come_in(demo):
    demo.run(demo.pillarbox, "account", "add", CAROL, "--password-stdin",
             "--data", f"{demo.data}/home", input=PASSWORD[CAROL])
    # What mbsync wrote is what it got, but for a field of its own.
    done = demo.carry("import", CAROL, f"{demo.work}/maildir")
    assert done["failed"] == 0 and done["added"] > 0, done
    theirs, ours = ({re.sub(rb"X-TUID: \S+\r\n", b"", body) for mailbox in ("INBOX", "Archive")
                     for _, _, body in contents(login, mailbox)} for login in (CAROL, ALICE))
    assert theirs <= ours, theirs - ours
    assert demo.carry("import", CAROL, f"{demo.work}/maildir")["added"] == 0

    # Python's.
    box = archives.Maildir(f"{demo.work}/python", create=True)
    folder = box.add_folder("Work.Bills")
    for number, flags in enumerate(["", "S", "FRS", "DT"]):
        letter = archives.MaildirMessage(message(f"python-{number}").replace("\r\n", "\n"))
        letter.set_flags(flags)
        letter.set_subdir("cur" if flags else "new")
        letter.set_date(1_000_000_000 + number)
        folder.add(letter)
    box.close()
    assert demo.carry("import", CAROL, f"{demo.work}/python")["added"] == 4
    names = {"": set(), "S": {r"\Seen"}, "FRS": {r"\Flagged", r"\Answered", r"\Seen"},
             "DT": {r"\Draft", r"\Deleted"}}
    for number, found in enumerate(contents(CAROL, "Work/Bills")):
        flags = list(names)[number]
        assert found == (frozenset(names[flags]), 1_000_000_000 + number,
                         message(f"python-{number}").encode()), found

    box = archives.mbox(f"{demo.work}/python.mbox")
    text = "From here to there.\n>From there.\n\nFrom the end.\n"
    letter = archives.mboxMessage(message("python-mbox", text=text).replace("\r\n", "\n"))
    letter.set_flags("RAF")
    letter.set_from("somebody@far.test", time.gmtime(1_000_000_000))
    box.add(letter)
    box.close()
    assert demo.carry("import", CAROL, f"{demo.work}/python.mbox")["added"] == 1
    (flags, date, body), = contents(CAROL, "python")
    assert flags == {r"\Seen", r"\Answered", r"\Flagged"} and date == 1_000_000_000, (flags, date)
    # Python quotes `From ` and not `>From `, as mbox did at first: one `>` is lost for ever.
    assert body.endswith(b"\r\nFrom here to there.\r\nFrom there.\r\n\r\nFrom the end.\r\n"), body

    # mutt's, which knows where a message ends by its Content-Length.
    config = demo.file("muttrc-mbox", """\
set mbox_type = mbox
set folder = "."
set confirmappend = no
set confirmcreate = no
set delete = yes
set quit = yes
set copy = no
set wait_key = no
""")
    keys = f"<tag-pattern>.<enter><tag-prefix><copy-message>{demo.work}/mutt.mbox<enter><exit>"
    command = shlex.join(["mutt", "-n", "-F", config, "-f", f"{demo.work}/python/.Work.Bills",
                          "-e", f'push "{keys}"'])
    demo.run("script", "-qec", command, "/dev/null", stdin=subprocess.DEVNULL,
             env={**os.environ, "HOME": demo.work, "TERM": "xterm"})
    assert demo.carry("import", CAROL, f"{demo.work}/mutt.mbox")["added"] == 4
    for number, (_, _, body) in enumerate(contents(CAROL, "mutt")):
        assert b"\r\nA line.\r\n.A line with a dot.\r\n" in body, body
        assert f"Subject: python-{number}\r\n".encode() in body, body


def test_others_read_what_is_written(demo):
    kept = {mailbox: contents(CAROL, mailbox) for mailbox in ("INBOX", "Work/Bills", "mutt")}
    total = demo.carry("export", CAROL, f"{demo.work}/out")["added"]
    assert demo.carry("export", CAROL, f"{demo.work}/out.mboxes", "--format", "mbox")["added"] == total
    letters = {r"\Seen": "S", r"\Flagged": "F", r"\Answered": "R", r"\Draft": "D", r"\Deleted": "T"}
    box = archives.Maildir(f"{demo.work}/out", create=False)
    for mailbox, messages in kept.items():
        folder = box if mailbox == "INBOX" else box.get_folder(mailbox.replace("/", "."))
        found = sorted((letter.as_bytes().replace(b"\n", b"\r\n"), set(letter.get_flags()),
                        int(letter.get_date())) for letter in folder)
        expected = sorted((body, {letters[f] for f in flags if f in letters}, date)
                          for flags, date, body in messages)
        assert found == expected, (mailbox, found, expected)
    for mailbox, messages in kept.items():
        box = archives.mbox(f"{demo.work}/out.mboxes/{mailbox}.mbox", create=False)
        assert len(box) == len(messages), mailbox
        seen = sum("R" in letter.get_flags() for letter in box)
        assert seen == sum(r"\Seen" in flags for flags, _, _ in messages), mailbox
        box.close()
    # mutt sees every message of both and changes neither.
    for path in (f"{demo.work}/out/.Work.Bills", f"{demo.work}/out.mboxes/Work/Bills.mbox"):
        copy = f"{demo.work}/seen-by-mutt"
        keys = f"<tag-pattern>.<enter><tag-prefix><copy-message>{copy}<enter><exit>"
        command = shlex.join(["mutt", "-n", "-F", f"{demo.work}/muttrc-mbox", "-R", "-f", path,
                              "-e", f'push "{keys}"'])
        demo.run("script", "-qec", command, "/dev/null", stdin=subprocess.DEVNULL,
                 env={**os.environ, "HOME": demo.work, "TERM": "xterm"})
        assert len(archives.mbox(copy)) == 4, path
        os.remove(copy)
    demo.run(demo.pillarbox, "account", "remove", CAROL, "--yes", "--data", f"{demo.data}/home")


def test_a_second_start_finds_everything(demo):
    before = (sorted(subjects()), sorted(subjects(mailbox="Archive")))
    demo.stop()
    demo.start()
    assert (sorted(subjects()), sorted(subjects(mailbox="Archive"))) == before


def play(demo, tests):
    """Runs the tests in order against one demo."""
    passed = 0
    try:
        demo.start()
        for name, test in tests:
            test(demo)
            passed += 1
            print(f"  ok  {name.removeprefix('test_').replace('_', ' ')}", flush=True)
        demo.stop()
    except BaseException:
        print("--- demo.log", open(f"{demo.work}/demo.log").read()[-4000:], sep="\n")
        if demo.process.poll() is None:
            demo.process.kill()
        raise
    shutil.rmtree(demo.work)
    print(f"clients: {passed} passed")


def main():
    work = tempfile.mkdtemp(prefix="pillarbox-clients-")
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    play(Demo(os.path.abspath(sys.argv[1]), work), tests)


if __name__ == "__main__":
    main()
