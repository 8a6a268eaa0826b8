"""A post office as its people use it: the program under test, and clients that never stop."""
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time

from letters import digest, is_whole, letter, number_of
from model import Box, Message, Op

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import empty_dns   # noqa: E402

SERVICES = ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "http", "https"]
PEOPLE = ("alice", "bob")
# Each client changes these mailboxes alone; the inboxes get mail besides.
OWNERS = {
    "alice's phone": [("alice", "INBOX"), ("alice", "Kept")],
    "alice's computer": [("alice", "Work"), ("alice", "Work/Old")],
    "bob's phone": [("bob", "INBOX"), ("bob", "Kept")],
}
# Small, so that many segments are begun, sealed and cleaned up.
SEGMENT = 256 << 10
# More than this in a mailbox, and its client tidies up.
CROWDED = 30
FLAGS = (r"\Seen", r"\Flagged", r"\Answered", "$Forwarded", "home")
TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE

ANSWERS = """\
[domain]
name = "example.org"
[owner]
address = "alice@example.org"
password = "correct horse battery"
[outbound]
mode = "hold"
[dns]
servers = ["127.0.0.1:{dns}"]
[store]
segment_size = {segment_size}
[listen]
"""


class Wrong(Exception):
    """A promise was broken."""


class PostOffice:
    """The real program on a data folder."""

    def __init__(self, binary, data, log, seed, segment_size=SEGMENT):
        self.binary, self.data, self.log, self.seed = os.path.abspath(binary), data, log, seed
        self.process, self.slowest = None, 0.0
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(len(SERVICES))]
        ports = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        self.port = dict(zip(SERVICES, ports))
        self.answers = ANSWERS.format(dns=empty_dns.start(), segment_size=segment_size) + "".join(
            f'{name} = [{"" if name == "pop3" else repr(f"127.0.0.1:{port}")}]\n'.replace("'", '"')
            for name, port in self.port.items())
        self.password = {}
        self.compacts = "compact" in self.command("store", "--help")

    def command(self, *arguments, **options):
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=120, **options)
        if done.returncode:
            raise Wrong(f"pillarbox {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def set_up(self):
        subprocess.run([self.binary, "setup", "--data", self.data, "--answers", "/dev/stdin"],
                       input=self.answers, text=True, check=True, stdout=subprocess.DEVNULL)
        self.command("account", "--data", self.data, "add", "bob@example.org", "--password-stdin",
                     input="correct horse battery\n")
        for person in PEOPLE:
            # A device's password costs no time at each log-in.
            made = self.command("account", "--data", self.data, "--json", "device", "add",
                                f"{person}@example.org", "phone")
            self.password[person] = json.loads(made)["password"]
        self.start()
        for boxes in OWNERS.values():
            for person, name in boxes:
                if name != "INBOX":
                    with Imap(self, person) as imap:
                        imap.do(f'CREATE "{name}"')
        self.kill()

    def start(self, wait=True):
        with open(self.log, "ab") as log:
            begin = time.monotonic()
            self.process = subprocess.Popen(
                [self.binary, "run", "--data", self.data, "--board", "none"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, "PILLARBOX_LOG": "warn"})
        while wait and not self.greets():
            if self.process.poll() is not None:
                raise Wrong(f"the post office does not start; see {self.log}")
            if time.monotonic() - begin > 60:
                raise Wrong("the post office does not greet within 60 s")
            time.sleep(0.003)
        if wait:
            self.slowest = max(self.slowest, time.monotonic() - begin)

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port["imap"]), 30) as one:
                return one.recv(4) == b"* OK"
        except ConnectionError:
            return False

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None

    def damage(self):
        """What `store verify` names, as one text; empty when all is well."""
        found = json.loads(self.command("store", "--data", self.data, "--json", "verify"))
        return str(found) if found["damage"] or found["messages"] else ""

    def everything(self):
        """All mailboxes as they are, each message read and held against what was sent."""
        found = {}
        for person in PEOPLE:
            with Imap(self, person) as imap:
                for name in sorted({box for boxes in OWNERS.values() for box in boxes if box[0] == person}):
                    box = imap.select(name[1])
                    box.messages = imap.fetch("1:*")
                    found[name] = box
        return found


class Imap:
    """One connection of a phone."""

    def __init__(self, office, person):
        self.socket = TRUSTING.wrap_socket(socket.create_connection(("127.0.0.1", office.port["imaps"]), 60))
        self.file, self.count, self.seed = self.socket.makefile("rb"), 0, office.seed
        self.line()
        self.do(f'LOGIN {person}@example.org "{office.password[person]}"')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def line(self):
        """One line with its literals: the pieces in a list."""
        pieces = []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("closed")
            pieces.append(line.rstrip(b"\r\n"))
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return pieces
            content = self.file.read(int(literal[1]))
            if len(content) != int(literal[1]):
                raise ConnectionError("closed")
            pieces.append(content)

    def do(self, command, literal=None):
        """Sends a command and gives the untagged answers and the last one."""
        self.count += 1
        tag = f"a{self.count}".encode()
        data = tag + b" " + command.encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self.socket.sendall(data + b"\r\n")
        answers = []
        while True:
            pieces = self.line()
            answers.append(pieces)
            if pieces[0].startswith(tag + b" "):
                if not pieces[0].startswith(tag + b" OK"):
                    raise Wrong(f"{command}: {pieces[0].decode()}")
                return answers

    def select(self, name):
        text = b"\n".join(pieces[0] for pieces in self.do(f'SELECT "{name}"'))
        validity, following = (re.search(rb"\[%s (\d+)\]" % key, text) for key in (b"UIDVALIDITY", b"UIDNEXT"))
        return Box(int(validity[1]), int(following[1]))

    def fetch(self, uids):
        """The messages with these UIDs: {uid: Message}."""
        found = {}
        for pieces in self.do(f"UID FETCH {uids} (UID FLAGS BODY.PEEK[])"):
            if len(pieces) < 3 or b" FETCH (" not in pieces[0]:
                continue
            frame, content = b" ".join(pieces[::2]), pieces[1]
            uid = int(re.search(rb"UID (\d+)", frame)[1])
            flags = re.search(rb"FLAGS \(([^)]*)\)", frame)[1].decode().split()
            if not is_whole(self.seed, content):
                raise Wrong(f"UID {uid} is not what was sent: {len(content)} bytes, {content[:400]!r}…")
            if uid in found:
                raise Wrong(f"UID {uid} is told twice")
            found[uid] = Message(number_of(content), digest(content), frozenset(flags) - {r"\Recent"})
        return found


def uid_set(text):
    """`3:5,9` as a list."""
    uids = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        uids += range(int(first), int(last or first) + 1)
    return uids


def copied(answers):
    text = b"\n".join(pieces[0] for pieces in answers)
    found = re.search(rb"\[COPYUID \d+ (\S+) (\S+)\]", text)
    if not found:
        return {}
    return dict(zip(uid_set(found[1].decode()), uid_set(found[2].decode()), strict=True))


class Phone(threading.Thread):
    """A client that changes its two mailboxes for ever. `boxes` is what it knows of them."""

    def __init__(self, office, owner, known, numbers, chance, journal):
        super().__init__(daemon=True)
        self.office, self.owner, self.numbers = office, owner, numbers
        self.chance, self.journal = chance, journal
        self.boxes = {name: Box(known[name].validity, known[name].next, dict(known[name].messages))
                      for name in OWNERS[owner]}
        self.logged_in, self.failure = threading.Event(), None

    def run(self):
        try:
            with Imap(self.office, self.owner.split("'")[0]) as imap:
                self.logged_in.set()
                while True:
                    self.step(imap)
        except OSError:
            pass   # The post office is gone.
        except Exception as failure:   # noqa: BLE001 - told by whoever waits for this thread
            self.failure = failure
        finally:
            self.logged_in.set()

    def step(self, imap):
        name = self.chance.choice(list(self.boxes))
        box, other = self.boxes[name], next(one for one in self.boxes if one != name)
        fresh = imap.select(name[1])
        if name[1] == "INBOX" and fresh.next > box.next:
            # `n:*` would tell the last one even if it is not new.
            new = imap.fetch(f"{box.next}:{fresh.next - 1}")
            self.journal.write(True, Op(self.owner, "look", name), new)
            for uid, message in new.items():
                box.take(uid, message)
        for _ in range(3):
            some = sorted(self.chance.sample(sorted(box.messages), min(len(box.messages), self.chance.randint(1, 4))))
            if len(box.messages) > CROWDED:
                # The oldest ones go, half of them elsewhere.
                crowd = tuple(sorted(box.messages)[:CROWDED // 2])
                full = len(self.boxes[other].messages) > CROWDED or self.chance.random() < 0.5
                self.change(imap, "expunge" if full else "move", name, other, crowd)
            elif some:
                kinds = ("append", "flags", "flags", "flags", "move", "copy", "expunge")
                self.change(imap, self.chance.choice(kinds), name, other, tuple(some))
            elif name[1] != "INBOX":
                self.change(imap, "append", name, other, ())

    def change(self, imap, kind, name, other, uids):
        if kind in ("copy", "move") and other[1] == "INBOX" or kind == "append" and name[1] == "INBOX":
            return
        flags = frozenset(self.chance.sample(FLAGS, self.chance.randint(0, 2)))
        op = Op(self.owner, kind, name, other, uids, flags)
        if kind == "append":
            number = next(self.numbers)
            op = Op(self.owner, kind, name, flags=flags, number=number,
                    digest=digest(letter(self.office.seed, number)))
        if kind == "expunge":
            self.request(imap, Op(self.owner, "flags", name, uids=uids, flags=frozenset({r"\Deleted"})))
        self.request(imap, op)

    def request(self, imap, op):
        """One command, in the journal before and after."""
        self.journal.write(False, op)
        told, flags, result = ",".join(map(str, op.uids)), " ".join(op.flags), None
        if op.kind == "append":
            content = letter(self.office.seed, op.number)
            done = imap.do(f'APPEND "{op.box[1]}" ({flags})', content)
            result = [int(re.search(rb"\[APPENDUID \d+ (\d+)\]", done[-1][0])[1])]
        elif op.kind == "flags":
            imap.do(f"UID STORE {told} FLAGS.SILENT ({flags})")
        elif op.kind == "expunge":
            imap.do(f"UID EXPUNGE {told}")
        else:
            pairs = copied(imap.do(f'UID {op.kind.upper()} {told} "{op.to[1]}"'))
            if set(pairs) != set(op.uids):
                raise Wrong(f"{op.kind} of {told} from {op.box} told {pairs}")
            result = [pairs[uid] for uid in op.uids]
        self.journal.write(True, op, result)
        self.remember(op, result)

    def remember(self, op, result):
        box = self.boxes[op.box]
        if op.kind == "append":
            box.take(result[0], Message(op.number, op.digest, op.flags))
        for at, uid in enumerate(op.uids):
            old = box.messages[uid]
            if op.kind == "flags":
                box.messages[uid] = Message(old.number, old.digest, op.flags)
            if op.kind in ("copy", "move"):
                self.boxes[op.to].take(result[at], old)
            if op.kind in ("expunge", "move"):
                del box.messages[uid]


class Sender(threading.Thread):
    """A stranger's server that delivers letter after letter, most of them to one, some to both."""

    def __init__(self, office, numbers, chance, journal, pause=0.0):
        super().__init__(daemon=True)
        self.office, self.numbers, self.chance, self.journal = office, numbers, chance, journal
        self.pause, self.failure = pause, None

    def run(self):
        try:
            with smtplib.SMTP("127.0.0.1", self.office.port["smtp"], "stranger.example", 60) as smtp:
                while True:
                    number = next(self.numbers)
                    people = self.chance.choice((("alice",), ("alice",), ("bob",), PEOPLE))
                    op = Op(None, "deliver", number=number, people=people)
                    self.journal.write(False, op)
                    smtp.sendmail("s@stranger.example", [f"{person}@example.org" for person in people],
                                  letter(self.office.seed, number))
                    self.journal.write(True, op)
                    time.sleep(self.pause)
        except smtplib.SMTPServerDisconnected:
            pass
        except smtplib.SMTPException as failure:
            self.failure = failure
        except OSError:
            pass
        except Exception as failure:   # noqa: BLE001
            self.failure = failure


class Tidier(threading.Thread):
    """Compacts the store now and then, while the others go on."""

    def __init__(self, office, chance):
        super().__init__(daemon=True)
        self.office, self.chance, self.stopped, self.failure = office, chance, threading.Event(), None

    def run(self):
        while not self.stopped.wait(self.chance.uniform(0, 0.4)):
            try:
                if self.office.compacts:
                    self.office.command("store", "--data", self.office.data, "compact")
            except Wrong as failure:
                # A post office that is killed under it cannot answer; one that lives on has to.
                if not self.stopped.wait(0.5):
                    self.failure = failure
            except Exception as failure:   # noqa: BLE001
                self.failure = failure

