"""More of other people's mail programs do their normal job against `pillarbox demo`.

  python3 tests/programs.py PILLARBOX

mbsync, offlineimap, neomutt, getmail, fetchmail, mpop and curl from Debian, IMAPClient from PyPI,
imapflow from npm. No root needed. Each has an account of its own, so that none sees another's traces.
"""
import contextlib
import hashlib
import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import tempfile
import time

import clients
from clients import PASSWORD, PORT, TLS, Demo, imap, message, subjects

MANY = 5000
NODE = os.path.join(os.environ.get("PILLARBOX_CACHE", os.path.expanduser("~/.cache/pillarbox")), "node")


def account(demo, name):
    """A new account and its password."""
    address, password = f"{name}@home.test", f"secret-{name}"
    demo.run(demo.pillarbox, "account", "add", address, "--password-stdin",
             "--data", f"{demo.data}/home", input=f"{password}\n")
    PASSWORD[address] = password
    return address


def certificate(demo):
    return f"{demo.data}/home/tls/mail.home.test/certificate.pem"


def fingerprint(demo):
    with open(certificate(demo)) as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


def unix(text):
    return text.replace("\r\n", "\n")


def maildir(path, letters):
    """A Maildir folder with these messages, read ones."""
    for part in ("cur", "new", "tmp"):
        os.makedirs(f"{path}/{part}", exist_ok=True)
    for number, letter in enumerate(letters):
        with open(f"{path}/cur/{1_000_000_000 + number}.{number}.here:2,S", "w") as file:
            file.write(unix(letter))


def files(folder):
    return sorted(f"{part}/{name}" for part in ("cur", "new") for name in os.listdir(f"{folder}/{part}"))


def messages_of(login, mailbox="INBOX"):
    """UID, flags and bytes of all messages."""
    client = imap(login, mailbox)
    found = {}
    for item in client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            uid = int(re.search(rb"UID (\d+)", item[0])[1])
            found[uid] = (re.search(rb"FLAGS \(([^)]*)\)", item[0])[1].decode(), item[1])
    client.logout()
    return found


def counters(login):
    """What a change of anything changes."""
    client = imap(login)
    names = [re.search(r'"/" "?([^"]+)"?$', line.decode())[1] for line in client.list()[1]]
    told = [client.status(f'"{name}"', "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[1][0] for name in names]
    client.logout()
    return told


def test_mbsync_moves_five_thousand_both_ways_and_then_nothing(demo):
    login = account(demo, "mbsync")
    half = MANY // 2
    maildir(f"{demo.work}/seed", [message(f"there-{n}") for n in range(half)])
    added = demo.carry("import", login, f"{demo.work}/seed")["added"]
    assert added == half, added
    near = f"{demo.work}/mbsync"
    maildir(f"{near}/INBOX", [message(f"here-{n}") for n in range(half)])
    config = demo.file("mbsyncrc-many", f"""\
IMAPAccount demo
Host 127.0.0.1
Port {PORT["imaps"]}
User {login}
Pass {PASSWORD[login]}
SSLType IMAPS
CertificateFile {certificate(demo)}

IMAPStore far
Account demo

MaildirStore near
Path {near}/
Inbox {near}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")

    def sync():
        began = time.monotonic()
        demo.run("mbsync", "-c", config, "-a", timeout=600)
        return time.monotonic() - began

    first = sync()
    there = messages_of(login)
    assert len(there) == MANY == len(files(f"{near}/INBOX")), (len(there), len(files(f"{near}/INBOX")))
    assert len({body for _, body in there.values()}) == MANY
    before = counters(login), files(f"{near}/INBOX")
    second = sync()
    assert (counters(login), files(f"{near}/INBOX")) == before, "the second run moved something"
    # What happens on either side arrives on the other.
    client = imap(login)
    client.store("1", "+FLAGS", r"(\Flagged)")
    client.store("2", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.logout()
    os.remove(f"{near}/INBOX/" + next(n for n in files(f"{near}/INBOX") if ".5.here" in n))
    sync()
    assert len(messages_of(login)) == MANY - 2 == len(files(f"{near}/INBOX"))
    assert sum(n.split(":2,")[1].startswith("F") for n in files(f"{near}/INBOX")) == 1
    print(f"      first run {first:.1f} s, second {second:.1f} s")


def test_offlineimap_keeps_a_copy(demo):
    login = account(demo, "offline")
    maildir(f"{demo.work}/offline-seed", [message(f"offline-{n}") for n in range(200)])
    demo.carry("import", login, f"{demo.work}/offline-seed")
    near = f"{demo.work}/offline"
    config = demo.file("offlineimaprc", f"""\
[general]
accounts = demo
metadata = {demo.work}/offline-state
ui = basic
[Account demo]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {near}
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {PORT["imaps"]}
remoteuser = {login}
remotepass = {PASSWORD[login]}
ssl = yes
cert_fingerprint = {fingerprint(demo)}
folderfilter = lambda name: name in ('INBOX', 'Archive')
""")

    def sync():
        done = demo.run("offlineimap", "-c", config, "-o", timeout=300)
        assert "ERROR" not in done.stdout + done.stderr, done

    sync()
    assert len(files(f"{near}/INBOX")) == 200
    before = counters(login), files(f"{near}/INBOX")
    sync()
    assert (counters(login), files(f"{near}/INBOX")) == before
    with open(f"{near}/INBOX/new/9.written", "w") as file:
        file.write(unix(message("offline-written")))
    os.remove(f"{near}/INBOX/{files(f'{near}/INBOX')[0]}")
    sync()
    assert "offline-written" in subjects(login) and len(subjects(login)) == 200


def test_neomutt_reads_flags_and_files(demo):
    login = account(demo, "neomutt")
    maildir(f"{demo.work}/neomutt-seed", [message(f"neo-{n}") for n in range(5)])
    demo.carry("import", login, f"{demo.work}/neomutt-seed")
    config = demo.file("neomuttrc", f"""\
set folder = "imaps://127.0.0.1:{PORT["imaps"]}/"
set imap_user = "{login}"
set imap_pass = "{PASSWORD[login]}"
set imap_qresync = yes
set imap_condstore = yes
set ssl_verify_host = no
set ssl_verify_dates = no
set certificate_file = "{certificate(demo)}"
set spoolfile = "+INBOX"
set header_cache = "{demo.work}/neomutt-cache"
set quit = yes
set confirmappend = no
set delete = yes
set wait_key = no
set mbox = "+Archive"
set move = no
""")

    def keys(pressed):
        command = shlex.join(["neomutt", "-n", "-F", config, "-e", f'push "{pressed}"'])
        demo.run("script", "-qec", command, "/dev/null", stdin=subprocess.DEVNULL,
                 env={**os.environ, "HOME": demo.work, "TERM": "xterm"})

    keys("<search>neo-3<enter><save-message>=Archive<enter><search>neo-1<enter><flag-message>"
         "<sync-mailbox><quit>")
    assert sorted(subjects(login)) == ["neo-0", "neo-1", "neo-2", "neo-4"], subjects(login)
    assert subjects(login, "Archive") == ["neo-3"]
    flagged = [body for flags, body in messages_of(login).values() if r"\Flagged" in flags]
    assert len(flagged) == 1 and b"Subject: neo-1\r\n" in flagged[0], flagged
    # Again, out of its cache, and with what changed meanwhile.
    client = imap(login)
    client.store("1", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.logout()
    keys("<search>neo-2<enter><delete-message><sync-mailbox><quit>")
    assert sorted(subjects(login)) == ["neo-1", "neo-4"], subjects(login)


def test_getmail_takes_mail_over_imap_and_pop3(demo):
    login = account(demo, "getmail")
    for kind, port in (("SimpleIMAPSSLRetriever", "imaps"), ("SimplePOP3SSLRetriever", "pop3s")):
        maildir(f"{demo.work}/getmail-seed-{port}", [message(f"get-{port}-{n}") for n in range(20)])
        demo.carry("import", login, f"{demo.work}/getmail-seed-{port}")
        spool = f"{demo.work}/getmail-{port}"
        config = demo.file(f"getmailrc-{port}", f"""\
[retriever]
type = {kind}
server = 127.0.0.1
port = {PORT[port]}
username = {login}
password = {PASSWORD[login]}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> {spool}")
allow_root_commands = true
[options]
read_all = false
delete = true
delivered_to = false
received = false
""")
        for _ in range(2):
            demo.run("getmail", "--rcfile", config, "--getmaildir", f"{demo.work}")
        with open(spool) as file:
            taken = re.findall(r"^Subject: (\S+)$", file.read(), re.MULTILINE)
        assert sorted(taken) == sorted(f"get-{port}-{n}" for n in range(20)), taken
        assert subjects(login) == [], "getmail deletes what it took"


def test_fetchmail_takes_mail_over_imap(demo):
    login = account(demo, "fetchmail")
    maildir(f"{demo.work}/fetchmail-seed", [message(f"fetch-{n}") for n in range(20)])
    demo.carry("import", login, f"{demo.work}/fetchmail-seed")
    spool = f"{demo.work}/fetchmail-spool"
    config = demo.file("fetchmailrc-imap", f"""\
poll 127.0.0.1 protocol imap port {PORT["imaps"]}
  user "{login}" password "{PASSWORD[login]}" ssl no sslcertck
  mda "cat >> {spool}" fetchall no keep
""")
    env = {**os.environ, "HOME": demo.work, "FETCHMAILHOME": demo.work}
    demo.run("fetchmail", "-f", config, "--nosyslog", env=env)
    assert open(spool).read().count("Subject: fetch-") == 20 and subjects(login) == []


def test_mpop_leaves_mail_and_takes_each_once(demo):
    login = account(demo, "mpop")
    maildir(f"{demo.work}/mpop-seed", [message(f"mpop-{n}") for n in range(20)])
    demo.carry("import", login, f"{demo.work}/mpop-seed")
    target = f"{demo.work}/mpop"
    maildir(target, [])
    config = demo.file("mpoprc", f"""\
account demo
host 127.0.0.1
port {PORT["pop3s"]}
tls on
tls_starttls off
tls_certcheck off
user {login}
password {PASSWORD[login]}
delivery maildir {target}
uidls_file {demo.work}/mpop-uidls
keep on
account default : demo
""")
    for _ in range(2):
        demo.run("mpop", "-C", config)
        assert len(files(target)) == 20 == len(subjects(login))


def test_curl_uploads_lists_and_searches(demo):
    login = account(demo, "curl")
    box = f"imaps://127.0.0.1:{PORT['imaps']}"
    curl = ["curl", "-sS", "-k", "--user", f"{login}:{PASSWORD[login]}"]
    mail = demo.file("curl-up.eml", message("curl-up"))
    demo.run(*curl, "-T", mail, f"{box}/INBOX")
    demo.run(*curl, f"{box}/INBOX", "-X", "UID STORE 1 +FLAGS (\\Seen $Forwarded)")
    assert demo.run(*curl, f"{box}/INBOX?SUBJECT%20curl-up").stdout.split() == ["*", "SEARCH", "1"]
    read = demo.run(*curl, f"{box}/INBOX;UID=1", text=False).stdout
    assert read == message("curl-up").encode(), read
    part = demo.run(*curl, f"{box}/INBOX;UID=1;SECTION=TEXT", text=False).stdout
    assert part == b"A line.\r\n.A line with a dot.\r\n", part
    listed = demo.run(*curl, f"{box}/").stdout
    assert '"Archive"' in listed and "INBOX" in listed, listed
    demo.run(*curl, box, "-X", "CREATE Curled")
    assert "Curled" in demo.run(*curl, box, "-X", 'LIST "" *').stdout
    read = demo.run(*curl, f"pop3s://127.0.0.1:{PORT['pop3s']}/1", text=False).stdout
    assert read == message("curl-up").encode(), read


def test_imapclient_does_its_job(demo):
    import imapclient
    login = account(demo, "imapclient")
    with imapclient.IMAPClient("127.0.0.1", PORT["imaps"], ssl_context=TLS) as client:
        client.login(login, PASSWORD[login])
        if client.has_capability("ID"):
            assert client.id_({"name": "IMAPClient", "version": "4"})
        client.namespace()
        client.create_folder("Büro/Rechnungen")
        assert "Büro/Rechnungen" in [name for _, _, name in client.list_folders()]
        assert client.find_special_folder(rb"\Sent") == "Sent"
        client.select_folder("INBOX")
        for number in range(10):
            client.append("INBOX", message(f"ic-{9 - number}").encode(), (r"\Seen",))
        uids = client.search("ALL")
        assert len(uids) == 10
        data = client.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "RFC822.SIZE"])
        assert {data[uid][b"ENVELOPE"].subject for uid in uids} == {b"ic-%d" % n for n in range(10)}
        if client.has_capability("SORT"):
            found = [data[uid][b"ENVELOPE"].subject for uid in client.sort("SUBJECT")]
            assert found == [b"ic-%d" % n for n in range(10)], found
        if client.has_capability("THREAD=REFERENCES"):
            assert len(client.thread("REFERENCES")) == 10
        if client.has_capability("CONDSTORE"):
            assert client.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"] > 0
        if client.has_capability("QUOTA"):
            client.get_quota()
        client.add_flags(uids[:2], [r"\Flagged", "$Work"])
        assert client.search(["KEYWORD", "$Work"]) == uids[:2]
        client.move(uids[2:4], "Büro/Rechnungen")
        client.copy(uids[4:5], "Archive")
        client.delete_messages(uids[5:6])
        client.expunge(uids[5:6])
        assert client.folder_status("Büro/Rechnungen", ["MESSAGES"])[b"MESSAGES"] == 2
        assert len(client.search()) == 7
        client.idle()
        with contextlib.closing(imap(login)) as other:
            other.append("INBOX", None, None, message("ic-pushed").encode())
        told = client.idle_check(timeout=10)
        client.idle_done()
        assert any(item[1] == b"EXISTS" for item in told), told
        client.rename_folder("Büro", "Office")
        assert client.folder_exists("Office/Rechnungen")


def test_imapflow_does_its_job(demo):
    login = account(demo, "imapflow")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "imapflow.mjs")
    done = demo.run("node", script, env={
        **os.environ, "IMAPFLOW": f"{NODE}/node_modules/imapflow/dist/esm/imap-flow.js",
        "PORT": str(PORT["imaps"]), "LOGIN": login, "PASSWORD": PASSWORD[login]})
    told = json.loads(done.stdout)
    assert told["subjects"] == [f"flow-{n}" for n in range(10)], told
    assert told["pushed"] and told["moved"] == 2 and told["left"] == 8, told
    print(f"      it uses {' '.join(sorted(told['enabled'])) or 'nothing that is switched on'}")


def main():
    work = tempfile.mkdtemp(prefix="pillarbox-programs-")
    wanted = sys.argv[2:]
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")
             and (not wanted or any(word in name for word in wanted))]
    clients.play(Demo(os.path.abspath(sys.argv[1]), work), tests)


if __name__ == "__main__":
    main()
