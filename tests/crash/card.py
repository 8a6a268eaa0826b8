"""A card that remembers every write and every flush, so that the power can be cut afterwards, at any moment.

The card is a file behind FUSE, a loop device and a real file system. What reaches it is written down in order. `cut`
makes the card as it may be after a power cut at one moment: all that was written before the last flush is there; of
what came after it, each write is there, or is not, or is torn between sectors. It can be told to fail, too, as worn
cards do. Needs root, and nothing installed.
"""
import ctypes
import errno
import itertools
import mmap
import os
import shutil
import stat
import struct
import subprocess
import time
import traceback

SECTOR = 512
WRITE, FLUSH = 1, 2
RECORD = struct.Struct("<BQI")

# <linux/fuse.h>
IN, OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
GETATTR, SETATTR, OPEN, READ, PUT, STATFS, RELEASE, FSYNC = 3, 4, 14, 15, 16, 17, 18, 20
FORGET, FUSE_FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 2, 25, 26, 36, 38, 42
NO_ANSWER = (FORGET, INTERRUPT, BATCH_FORGET)
BIG_WRITES, DIRECT_IO = 1 << 5, 1
LARGEST = 128 << 10
BITS = {READ: 1, PUT: 2, FSYNC: 4}


class Card:
    """A formatted card of `size` bytes, mounted at `folder` until `close`."""

    def __init__(self, work, size):
        self.folder, self.size = f"{work}/card", size
        self.log_path, self.image = f"{work}/card.log", f"{work}/card.img"
        self.front = f"{work}/card.front"
        # The number of writes and flushes, and what fails now.
        self.count = mmap.mmap(-1, 9)
        os.makedirs(self.folder)
        for path in (self.log_path, self.image, self.front):
            open(path, "w").close()
        os.truncate(self.image, size)
        self.serve()
        self.loop = "none"
        try:
            self.loop = run("losetup", "--find", "--show", self.front)
            run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.loop)
            self.mount()
        except BaseException:
            self.close()
            raise

    def moment(self):
        """How many writes and flushes there were: a moment in the card's life."""
        return int.from_bytes(self.count[:8], "little")

    def fail(self, *what):
        """From now on reads, writes and flushes fail as far as they are among READ, PUT and FSYNC."""
        self.count[8] = sum(BITS[kind] for kind in what)

    def mount(self):
        run("mount", "-o", "noatime", self.loop, self.folder)

    def remount(self):
        """As after the card was taken out and put in again."""
        run("umount", self.folder)
        self.mount()

    def close(self):
        """Unmounts all of it."""
        for undo in (["umount", self.folder], ["losetup", "--detach", self.loop], ["umount", self.front]):
            # A program that was just killed may hold it a little longer.
            for _ in range(20):
                if subprocess.run(undo, stderr=subprocess.DEVNULL).returncode == 0:
                    break
                time.sleep(0.1)
        os.waitpid(self.server, 0)

    def serve(self):
        """Mounts the file behind FUSE, with a process that answers for it."""
        device = os.open("/dev/fuse", os.O_RDWR)
        how = f"fd={device},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"card", self.front.encode(), b"fuse", 0, how):
            raise OSError(ctypes.get_errno(), "cannot mount the card")
        self.server = os.fork()
        if self.server == 0:
            try:
                Server(device, self.image, self.log_path, self.size, self.count).run()
            except BaseException:   # noqa: BLE001 - nobody else could tell
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(device)


class Server:
    """Answers the kernel's requests about one file."""

    def __init__(self, device, image, log, size, count):
        self.device, self.size, self.count, self.done = device, size, count, 0
        self.image, self.log = os.open(image, os.O_RDWR), open(log, "ab", buffering=0)

    def run(self):
        while True:
            try:
                request = os.read(self.device, LARGEST + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return   # ENODEV: it was unmounted.
            _, what, unique, *_ = IN.unpack_from(request)
            answer = self.answer(what, memoryview(request)[IN.size:])
            if what in NO_ANSWER:
                continue
            failure, data = (-answer, b"") if isinstance(answer, int) else (0, answer)
            try:
                os.write(self.device, OUT.pack(OUT.size + len(data), failure, unique) + data)
            except FileNotFoundError:
                pass   # Whoever asked was killed and waits no more.
            if what == DESTROY:
                return

    def answer(self, what, body):
        if what == INIT:
            return struct.pack("<IIIIHHIIHHI7I", 7, 31, LARGEST, BIG_WRITES, 16, 12, LARGEST, 1, 0, 0, 0, *[0] * 7)
        if what in (GETATTR, SETATTR):
            return struct.pack("<QII6Q10I", 3600, 0, 0, 1, self.size, self.size // SECTOR, 0, 0, 0,
                               0, 0, 0, stat.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0)
        if self.count[8] & BITS.get(what, 0):
            return errno.EIO
        if what == OPEN:
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if what == READ:
            _, offset, length = struct.unpack_from("<QQI", body)
            return os.pread(self.image, length, offset)
        if what == PUT:
            _, offset, length = struct.unpack_from("<QQI", body)
            data = body[40:40 + length]
            os.pwrite(self.image, data, offset)
            self.note(RECORD.pack(WRITE, offset, length) + data)
            return struct.pack("<II", length, 0)
        if what == FSYNC:
            self.note(RECORD.pack(FLUSH, 0, 0))
            return b""
        if what in (RELEASE, FUSE_FLUSH, DESTROY):
            return b""
        if what == STATFS:
            return struct.pack("<5Q10I", *[0] * 15)
        return errno.ENOSYS

    def note(self, record):
        self.log.write(record)
        self.done += 1
        self.count[:8] = self.done.to_bytes(8, "little")


def life(path):
    """What the card saw: (offset, bytes) for a write, None for a flush."""
    with open(path, "rb") as log:
        while head := log.read(RECORD.size):
            kind, offset, length = RECORD.unpack(head)
            yield (offset, log.read(length)) if kind == WRITE else None


class Cuts:
    """Makes cards as they are after a power cut, at one moment after the other."""

    def __init__(self, work, size, log):
        self.safe, self.made = f"{work}/safe.img", f"{work}/cut.img"
        with open(self.safe, "wb") as file:
            file.truncate(size)
        self.events, self.moment, self.unsafe = life(log), 0, []

    def cut(self, moment, chance):
        """The card after a cut at `moment`, which is never before the last one; the path of its image."""
        with open(self.safe, "r+b") as safe:
            for event in itertools.islice(self.events, moment - self.moment):
                if event:
                    self.unsafe.append(event)
                    continue
                for offset, data in self.unsafe:
                    os.pwrite(safe.fileno(), data, offset)
                self.unsafe.clear()
        self.moment = moment
        run("cp", "--sparse=always", self.safe, self.made)
        # Some cards keep all they were given, some nothing, most something.
        kept = chance.choice((0, 1, 0.5, 0.5, 0.9, 0.1))
        with open(self.made, "r+b") as made:
            for offset, data in self.unsafe:
                torn = chance.random() < 0.3
                for at in range(0, len(data), SECTOR if torn else len(data)):
                    if chance.random() < kept:
                        os.pwrite(made.fileno(), data[at:at + SECTOR] if torn else data, offset + at)
        return self.made


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout.strip()


def is_possible():
    """Whether this computer can have such a card."""
    return os.geteuid() == 0 and os.path.exists("/dev/fuse") and shutil.which("mkfs.ext4") is not None
