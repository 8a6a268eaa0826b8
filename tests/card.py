#!/usr/bin/env python3
"""Mail through a booted card, as its owner and the world see it. tests/image calls this, a promise at a time.

  card.py COMMAND --ports N --work DIR

  set-up FILE   goes through the set-up as a browser does; FILE is the serial line, where the claim code stands
  deliver       swaks brings 200 letters to port 25; each has to be answered 250
  read          all mail that was answered 250 is there over IMAPS, byte for byte below the trace fields
  mbsync        mbsync takes as many letters as that
  storm NAME    delivers until the card no longer answers, and notes each 250; ends well when the power goes

The card's port P answers at N + P of this computer. DIR keeps what the commands have to know of each other. The letters
are the set `lists` of ../shared/bench/corpus.py, kept in $PILLARBOX_CACHE/corpus. Needs swaks, isync and, once, npm.
"""
import argparse
import collections
import concurrent.futures
import html.parser
import http.cookiejar
import imaplib
import json
import os
import pathlib
import re
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

LETTERS = 200
AT_ONCE = 4
DOMAIN = "vogelsang.example"
OWNER = f"alice@{DOMAIN}"
PASSWORD = "four random words here"
SENDER = "news@lists.example"
# What a delivery may put on top of a letter, in this order.
TRACE = [b"Return-Path:", b"Delivered-To:", b"X-Pillarbox-Junk:", b"Authentication-Results:", b"Received:"]
# What a network hears that connects too often; it may come again.
BUSY = 421
TRIES = 200
REPO = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["set-up", "deliver", "read", "mbsync", "storm"])
    parser.add_argument("argument", nargs="?", default="")
    parser.add_argument("--ports", type=int, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    card = Card(options.ports, options.work)
    match options.command:
        case "set-up":
            set_up(card, pathlib.Path(options.argument))
        case "deliver":
            deliver(card)
        case "read":
            read(card)
        case "mbsync":
            mbsync(card)
        case "storm":
            storm(card, options.argument)


class Card:
    """Where the card answers, which letters it has answered 250 so far, and which only the power cut kept it from."""

    def __init__(self, ports, work):
        self.ports, self.work = ports, work
        self.answered, self.under_way = Names(work / "answered"), Names(work / "under-way")

    def port(self, number):
        return self.ports + number


class Names:
    """Names of letters (see `letter`) in a file, so that the next command knows them."""

    def __init__(self, path):
        self.path = path

    def add(self, name):
        with self.path.open("a") as file:
            file.write(f"{name}\n")

    def names(self):
        return self.path.read_text().split() if self.path.exists() else []


# --- letters -------------------------------------------------------------------------------------------------------------

def letters():
    """The corpus: made once, outside of the repository, since its texts may not be passed on."""
    cache = os.environ.get("PILLARBOX_CACHE") or pathlib.Path.home() / ".cache/pillarbox"
    corpus = pathlib.Path(cache) / "corpus"
    found = wanted(corpus)
    if len(found) < LETTERS:
        maker = REPO.parent / "shared/bench/corpus.py"
        if not maker.exists():
            sys.exit(f"{maker} is missing: it makes the letters for this test. Put the folder `shared` beside the "
                     f"repository, or a corpus made elsewhere into {corpus}.")
        corpus.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, maker, "--fetch", corpus / "source", "--out", corpus,
                        "--lists", str(2 * LETTERS), "--family", "1"], check=True)
        found = wanted(corpus)
    assert len(found) >= LETTERS, f"{corpus} holds {len(found)} letters for this test"
    return found[:LETTERS]


def wanted(corpus):
    """What people wanted, and may travel as it is: the card refuses junk, and heeds no other filter."""
    index = corpus / "lists/index.jsonl"
    if not index.exists():
        return []
    found = []
    with index.open() as rows, (corpus / "lists/msgs.bin").open("rb") as texts:
        for row in map(json.loads, rows):
            texts.seek(row["off"])
            text = texts.read(row["len"])
            if row["strict"] and row["kind"].startswith("easy-ham") and b"\nX-Spam" not in text:
                found.append(text)
    return found


def letter(corpus, name):
    """`letter-N` is the corpus' N-th as it is; any other `NAME-N` carries its name in a field on top."""
    kind, number = name.rsplit("-", 1)
    text = corpus[int(number) % len(corpus)]
    return text if kind == "letter" else f"X-Name: {name}\r\n".encode() + text


# --- the set-up ----------------------------------------------------------------------------------------------------------

def set_up(card, serial):
    codes = re.findall(r"asks for this code:\s+(\d{4}-\d{4})", serial.read_text(errors="replace"))
    assert codes, f"no claim code on the serial line {serial}"
    browser = Browser(f"http://127.0.0.1:{card.port(80)}")
    browser.open("/")
    browser.send({"code": codes[-1]}, title="Which domain is yours?")
    browser.send({"domain.name": DOMAIN, "box.timezone": "Europe/Berlin"}, title="Your account")
    browser.send({"owner.address": "alice", "owner.password": PASSWORD, "owner.again": PASSWORD}, title="Sending")
    browser.send({"outbound.mode": "direct"}, title="Tell the world")
    assert f"mail.{DOMAIN}" in browser.text, "the records to publish do not name the box"
    browser.send({}, title="Your phone")
    assert OWNER in browser.text, "the settings for the phone do not name the account"
    browser.send({}, title=None)
    browser.open("/setup")
    assert urllib.parse.urlsplit(browser.url).path == "/", "the set-up is still open"


class Browser:
    """Keeps cookies, follows redirects, and sends a page's form the way the page says."""

    def __init__(self, base):
        self.base, self.url, self.text, self.form = base, base, "", Form()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, path, fields=None):
        url = urllib.parse.urljoin(self.url, path)
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(url, data)
        request.add_header("Sec-Fetch-Site", "same-origin")
        if data is not None:
            request.add_header("Origin", self.base)
        try:
            with self.opener.open(request, timeout=120) as answer:
                self.url, self.text = answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error.code}\n{error.read().decode()}") from None
        self.form = Form()
        self.form.feed(self.text)

    def send(self, fields, title):
        """Fills these fields of the page's form, presses its first button, and expects the page of this title."""
        unknown = set(fields) - set(self.form.fields)
        assert not unknown, f"{self.url} has no fields {unknown}, but {set(self.form.fields)}"
        self.open(self.form.action, self.form.filled() | self.form.button | fields)
        assert title is None or title in self.text, f"not the page '{title}':\n{self.text}"


class Form(html.parser.HTMLParser):
    """The page's form: where it goes, its fields with what they hold, its first button."""

    def __init__(self):
        super().__init__()
        self.action, self.fields, self.button = "", {}, {}

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag == "form":
            self.action = has["action"]
        elif tag == "input" and "name" in has:
            chosen = has.get("type") not in ("radio", "checkbox") or "checked" in has
            if chosen or has["name"] not in self.fields:
                self.fields[has["name"]] = has.get("value", "") if chosen else None
        elif tag == "button" and "name" in has and not self.button:
            self.button = {has["name"]: has["value"]}

    def filled(self):
        return {name: value for name, value in self.fields.items() if value is not None}


# --- delivery ------------------------------------------------------------------------------------------------------------

def deliver(card):
    corpus = letters()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda number: swaks(card, corpus, f"letter-{number}"), range(LETTERS)))
    print(f"figure: {LETTERS} letters by swaks in {time.monotonic() - began:.0f} s")


def swaks(card, corpus, name):
    # As it goes over the line: swaks would replace words between per cent signs, and backslashes.
    text = re.sub(rb"(?m)^\.", b"..", letter(corpus, name)) + b"."
    file = card.work / f"{name}.data"
    file.write_bytes(text)
    command = ["swaks", "--server", "127.0.0.1", "--port", str(card.port(25)), "--helo", "mx.lists.example",
               "--from", SENDER, "--to", OWNER, "--no-data-fixup", "--data", f"@{file}", "--suppress-data",
               "--timeout", "120"]
    for _ in range(TRIES):
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                                check=False)
        if f"<** {BUSY} " not in result.stdout:
            break
        time.sleep(1)
    file.unlink()
    # Two stars mark what swaks did not expect.
    accepted = re.search(r"lines sent\n<-  250 ", result.stdout) and "<**" not in result.stdout
    assert result.returncode == 0 and accepted, f"{name}:\n{result.stdout}{result.stderr}"
    card.answered.add(name)


def connected(card):
    for _ in range(TRIES):
        try:
            return smtplib.SMTP("127.0.0.1", card.port(25), "mx.lists.example", timeout=60)
        except smtplib.SMTPConnectError as error:
            if error.smtp_code != BUSY:
                raise
            time.sleep(1)
    raise TimeoutError("the card does not take a connection")


def storm(card, name):
    """Several senders at once. One whose connection breaks stops; that all of them stop is the power cut."""
    corpus = letters()
    lock = threading.Lock()
    names = (f"{name}-{number}" for number in range(100_000))
    under_way = set()

    def sender():
        try:
            with connected(card) as client:
                while True:
                    with lock:
                        mine = next(names)
                        under_way.add(mine)
                    client.sendmail(SENDER, [OWNER], letter(corpus, mine))
                    with lock:
                        card.answered.add(mine)
                        under_way.remove(mine)
        except (ConnectionError, TimeoutError, smtplib.SMTPServerDisconnected):
            return

    before = len(card.answered.names())
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for ended in [pool.submit(sender) for _ in range(AT_ONCE)]:
            ended.result()
    for mine in under_way:
        card.under_way.add(mine)
    answered = len(card.answered.names()) - before
    print(f"figure: the power went after {answered} letters, with {len(under_way)} under way")
    assert under_way, "nothing was under way when the power went"


# --- reading -------------------------------------------------------------------------------------------------------------

def read(card):
    corpus = letters()
    answered = card.answered.names()
    # What was under way may be there, whole, or not at all.
    sent = {letter(corpus, name): name for name in answered + card.under_way.names()}
    there, strangers = collections.Counter(), []
    for stored in fetch_all(card):
        name = next(filter(None, (sent.get(text) for text in without_trace(stored))), None)
        if name is None:
            strangers.append(stored[:300])
        there[name] += 1
    missing = [name for name in answered if not there[name]]
    twice = [name for name, count in there.items() if count > 1]
    assert not missing, f"{len(missing)} of {len(answered)} letters answered 250 are not there: {missing[:20]}"
    assert not strangers, f"{len(strangers)} letters are not what was sent, such as {strangers[0]}"
    assert not twice, f"there more than once: {twice[:20]}"
    print(f"figure: {len(answered)} letters answered 250, all there byte for byte")


def fetch_all(card):
    """Every letter of every mailbox as it comes over the line."""
    client = imaplib.IMAP4_SSL("127.0.0.1", card.port(993), ssl_context=anyone(), timeout=120)
    client.login(OWNER, PASSWORD)
    for row in client.list()[1]:
        mailbox = re.search(rb'(?:"([^"]+)"|(\S+))$', row)
        mailbox = (mailbox[1] or mailbox[2]).decode()
        status, count = client.select(f'"{mailbox}"', readonly=True)
        assert status == "OK", count
        if count != [b"0"]:
            _, rows = client.fetch("1:*", "(BODY.PEEK[])")
            yield from (row[1] for row in rows if isinstance(row, tuple))
    client.logout()


def without_trace(stored):
    """What may be the letter: the text below the trace fields. A letter may begin with such fields of its own, so each
    place where the delivery's could end counts."""
    rest = stored
    for field in TRACE:
        first = re.match(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", rest)
        if not first or not rest.startswith(field):
            break
        rest = rest[first.end():]
        yield rest


def mbsync(card):
    certificate = card.work / "certificate.pem"
    certificate.write_text(ssl.get_server_certificate(("127.0.0.1", card.port(993))))
    maildir = card.work / "maildir"
    maildir.mkdir()
    config = card.work / "mbsyncrc"
    config.write_text(f"""\
IMAPStore card
Host 127.0.0.1
Port {card.port(993)}
User {OWNER}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {certificate}

MaildirStore here
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :card:
Near :here:
Patterns *
Create Near
Sync Pull
SyncState *
""")
    subprocess.run(["mbsync", "-c", config, "-a"], check=True)
    count = sum(1 for folder in ("cur", "new") for _ in maildir.glob(f"*/{folder}/*"))
    assert count == len(card.answered.names()), f"mbsync took {count} letters, {len(card.answered.names())} were answered 250"


def anyone():
    """The card's certificate is its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


if __name__ == "__main__":
    main()
