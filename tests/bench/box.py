"""What the measuring programs of this folder share: a set-up box of its own, the disk it stands on,
and strangers who deliver to it. Nothing but Python's own library."""
import json
import mmap
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tests")
import empty_dns   # noqa: E402

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pillarbox")
SERVICES = ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "http", "https"]
MEBIBYTE = 1 << 20

# Everything is judged, and all of it filed in the INBOX, where it is looked for: a third of the
# lists is junk.
ANSWERS = """\
[domain]
name = "{domain}"
[owner]
address = "{owner}"
password = "{password}"
[outbound]
mode = "hold"
[dns]
servers = ["127.0.0.1:{dns}"]
[junk]
mark = 100000
refuse = 100000
[listen]
"""


def progress(text):
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def build():
    """The release program, made if it is not there or old; where it is."""
    progress("building the release program …")
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", f"{ROOT}/target"), "release/pillarbox")


def machine():
    with open("/proc/cpuinfo") as info:
        found = re.search(r"^model name\s*: (.*)$", info.read(), re.M)
    model = found[1] if found else "unknown"
    return f"a {os.cpu_count()}-core {os.uname().machine} machine ({model})"


def cell(values, unit=""):
    """The middle of these; the lowest and highest in brackets when there is more than one."""
    middle = f"{number(statistics.median(values))} {unit}".strip()
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def unit_environment():
    """What systemd gives the service on the card."""
    with open(f"{ROOT}/systemd/system/pillarbox.service") as unit:
        return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.read(), re.M))


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


# --- the box ---------------------------------------------------------------------------------------


class Box:
    """A box of its own on free ports, whose DNS server knows no name. `users` are its accounts, the
    first of them the owner; `work` takes what is not measured: answers and log."""

    def __init__(self, binary, data, work, users=("alice@example.org",),
                 password="correct horse battery", extra=""):
        self.binary, self.data, self.users, self.password = binary, data, list(users), password
        ports = free_ports(len(SERVICES))
        self.port = dict(zip(SERVICES, ports))
        self.answers, self.log = f"{work}/pillarbox.toml", f"{work}/log"
        with open(self.answers, "w") as file:
            file.write(ANSWERS.format(domain=users[0].partition("@")[2], owner=users[0],
                                      password=password, dns=empty_dns.start()))
            for name, port in self.port.items():
                file.write(f'{name} = ["127.0.0.1:{port}"]\n')
            file.write(extra)
        self.process = None

    def __enter__(self):
        self.set_up()
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def set_up(self):
        self.run("setup", "--answers", self.answers)
        for user in self.users[1:]:
            self.run("account", "add", user, "--password-stdin", given=self.password + "\n")

    def run(self, *arguments, given=""):
        """One subcommand on this box's data; what it printed."""
        done = subprocess.run([self.binary, *arguments, "--data", self.data], input=given, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"pillarbox {' '.join(arguments[:2])} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        """Starts, and gives the seconds until SMTP greets."""
        begin = time.monotonic()
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [self.binary, "run", "--data", self.data, "--board", "none"],
                stderr=log, env={**os.environ, **unit_environment()})
        while not self.greets():
            if self.process.poll() is not None:
                with open(self.log) as log:
                    sys.exit(f"the box ended:\n{log.read()}")
            time.sleep(0.005)
        self.seconds = time.monotonic() - begin
        return self.seconds

    def stop(self, with_signal=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(with_signal)
            self.process.wait(60)

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port["smtp"]), 5) as one:
                return one.recv(3) == b"220"
        except ConnectionRefusedError:
            return False

    def memory(self):
        """Resident and proportional memory, in MiB."""
        text = self.proc("smaps_rollup")
        return [int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1]) / 1024 for name in ("Rss", "Pss")]

    def peak(self):
        """Most resident memory since `forget_peak`, in MiB."""
        return int(re.search(r"^VmHWM:\s+(\d+) kB", self.proc("status"), re.M)[1]) / 1024

    def forget_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")

    def cpu(self):
        """CPU seconds used so far, in all threads."""
        fields = self.proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def proc(self, name):
        with open(f"/proc/{self.process.pid}/{name}") as file:
            return file.read()


# --- the disk --------------------------------------------------------------------------------------


class Disk:
    """An ext4 file system in a file of its own, mounted on `folder`. The loop device counts what is
    really written, journal included: direct I/O, so nothing hides in a second cache. Needs root."""

    def __init__(self, image, folder, gibibytes=8):
        self.image, self.folder, self.gibibytes, self.device = image, folder, gibibytes, None

    def __enter__(self):
        os.makedirs(self.folder, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(self.gibibytes << 30)
        command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        self.device = command("losetup", "--find", "--show", "--direct-io=on", self.image)
        self.mount()
        return self

    def __exit__(self, *_):
        command("umount", self.folder)
        command("losetup", "-d", self.device)
        os.unlink(self.image)

    def mount(self):
        command("mount", "-o", "noatime", self.device, self.folder)

    def forget_cache(self):
        """Nothing of this file system stays in memory, without touching the rest of the machine."""
        command("umount", self.folder)
        self.mount()

    def counters(self):
        """Bytes written and flushes so far, after everything waiting has been written."""
        command("sync", "-f", self.folder)
        with open(f"/sys/block/{os.path.basename(self.device)}/stat") as file:
            fields = [int(field) for field in file.read().split()]
        return fields[6] * 512, fields[15]


def command(*words):
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def allocated(folder, leave_out=()):
    """Bytes of disk the files below `folder` take."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            if name not in leave_out:
                try:
                    total += os.lstat(os.path.join(where, name)).st_blocks * 512
                except FileNotFoundError:
                    pass
    return total


# --- mail ------------------------------------------------------------------------------------------


class Corpus:
    """One set of messages as the corpus builder writes it: the bytes, and where each lies."""

    def __init__(self, folder):
        with open(f"{folder}/index.jsonl") as file:
            self.rows = [json.loads(line) for line in file]
        with open(f"{folder}/msgs.bin", "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        row = self.rows[number]
        return self.bytes[row["off"]:row["off"] + row["len"]]

    def recipients(self, number):
        return self.rows[number]["rcpt"]


def find_corpus(folder, harness, work):
    """The folder of the corpora; built once by the harness's corpus.py when it is not there."""
    folder = os.path.abspath(folder or f"{work}/corpus")
    if not os.path.exists(f"{folder}/lists/index.jsonl"):
        builder = os.path.join(os.path.realpath(harness), "corpus.py")
        if not os.path.exists(builder):
            sys.exit(f"there is no corpus in {folder} and no {builder} to build it with; name the "
                     "folder of one or the other with --corpus or --harness")
        progress(f"building the corpus in {folder} …")
        subprocess.run([sys.executable, builder, "--fetch", f"{work}/source", "--out", folder],
                       check=True)
    return folder


def corpus_options(parser):
    """The options that say where the corpora are, and where to work."""
    parser.add_argument("--harness", default=f"{ROOT}/../shared/bench",
                        help="folder of the harness that builds the corpora (default: %(default)s)")
    parser.add_argument("--corpus", help="folder of the corpora (default: in the work folder)")
    parser.add_argument("--work", default=f"{CACHE}/bench", help="default: %(default)s")
    parser.add_argument("--binary", help="measure this program instead of building it")


class Stranger:
    """A sending server that knows PIPELINING, lean enough not to be what is measured."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.expect(b"220")
        self.say(b"EHLO stranger.example\r\n", b"250")

    def expect(self, code):
        while True:
            line = self.file.readline()
            if not line.startswith(code):
                raise OSError(f"wanted {code.decode()}, heard {line!r}")
            if line[3:4] != b"-":
                return

    def say(self, line, code):
        self.socket.sendall(line)
        self.expect(code)

    def send(self, recipients, message):
        lines = [b"MAIL FROM:<s@stranger.example>\r\n"]
        lines += [b"RCPT TO:<%s>\r\n" % address.encode() for address in recipients]
        self.socket.sendall(b"".join(lines) + b"DATA\r\n")
        for _ in lines:
            self.expect(b"250")
        self.expect(b"354")
        self.say(stuffed(message), b"250")

    def quit(self):
        self.say(b"QUIT\r\n", b"221")
        self.file.close()
        self.socket.close()


def stuffed(message):
    """A message as DATA carries it (RFC 5321 section 4.5.2)."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def deliver(port, mail, connections, each=None):
    """Delivers pairs of recipients and message, in order, over `connections` at once that carry
    `each` messages before they end (all of theirs if not given); gives the seconds it took."""
    waiting, lock, errors = iter(mail), threading.Lock(), []

    def stranger():
        try:
            server, carried = None, 0
            while True:
                with lock:
                    one = next(waiting, None)
                if one is None:
                    break
                server = server or Stranger(port)
                server.send(*one)
                carried += 1
                if carried == each:
                    server.quit()
                    server, carried = None, 0
            if server:
                server.quit()
        except OSError as error:
            errors.append(error)

    seconds = at_once(stranger, connections)
    if errors:
        sys.exit(f"mail was not taken: {errors[0]}")
    return seconds


def at_once(work, count):
    """Runs `work` in `count` threads; gives the seconds until the last has ended."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - begin
