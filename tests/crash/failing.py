#!/usr/bin/env python3
"""A card that fails under the real program: what it says of it, and what is there afterwards.

  tests/crash/failing.py PILLARBOX [--rounds 3] [--work DIR]

The data folder is on a card that answers with an input/output error when it is told to (see card.py): to reads, to
flushes, to writes, to all. While it does so, mail must be refused with a word that makes its sender try again, and
the self-check must say what is the matter. When the card works again, everything acknowledged has
to be there, once. Needs root; nothing but Python's own library.
"""
import argparse
import itertools
import json
import os
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time

import card
from house import Imap, PostOffice, Wrong
from letters import letter

SIZE = 256 << 20
SEED = 7
TROUBLES = {"reads": (card.READ,), "flushes": (card.FSYNC,), "writes": (card.PUT,),
            "writes and flushes": (card.PUT, card.FSYNC), "everything": (card.READ, card.PUT, card.FSYNC)}


def main():
    options = argparse.ArgumentParser(description="Lets the card fail under the real program.")
    options.add_argument("pillarbox", help="the program")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--work", help="folder on the disk to work in (default: the system's temporary one)")
    options = options.parse_args()
    if not card.is_possible():
        print("no card fails: that needs root, /dev/fuse and mkfs.ext4")
        return
    work = tempfile.mkdtemp(dir=options.work, prefix="pillarbox-failing-")
    kept = card.Card(work, SIZE)
    trial = Trial(kept, PostOffice(options.pillarbox, f"{kept.folder}/data", f"{work}/log", SEED))
    began = time.monotonic()
    try:
        trial.office.set_up()
        trial.office.start()
        for _ in range(options.rounds):
            for name, kinds in TROUBLES.items():
                try:
                    trial.go(kinds)
                except Wrong as wrong:
                    raise Wrong(f"while {name} failed: {wrong}") from wrong
    except Wrong as wrong:
        print(f"\nFAILED: {wrong}\nsee {work}/log", file=sys.stderr)
        sys.exit(1)
    finally:
        kept.fail()
        trial.office.kill()
        kept.close()
    shutil.rmtree(work)
    print(f"failing: {options.rounds * len(TROUBLES)} failures of a card in {time.monotonic() - began:.0f} s, "
          f"{len(trial.acknowledged)} letters acknowledged, {trial.refused} refused; nothing lost, nothing twice")


class Trial:
    def __init__(self, kept, office):
        self.card, self.office, self.numbers = kept, office, itertools.count(1)
        self.acknowledged, self.tried, self.refused = set(), set(), 0

    def go(self, kinds):
        """Good times, a time of failures, good times again."""
        for _ in range(8):
            if not self.deliver():
                raise Wrong("mail is refused by a card that works")
        self.check(broken=False)
        # What was read lately is not asked of the card.
        for file in os.listdir(self.office.data):
            if file.endswith(".seg"):
                descriptor = os.open(f"{self.office.data}/{file}", os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
        self.card.fail(*kinds)
        if card.READ in kinds:
            self.read_what_can_be_read()
        if card.PUT in kinds or card.FSYNC in kinds:
            # The first one may still be written beside the failure; then nothing is taken any more.
            taken = [self.deliver() for _ in range(8)]
            if taken[-1]:
                raise Wrong("mail is accepted and cannot be kept")
        self.check(broken=True)
        self.card.fail()
        self.office.kill()
        self.card.remount()
        self.office.start()
        self.compare()

    def deliver(self):
        """One letter from a stranger; whether it was acknowledged."""
        number = next(self.numbers)
        self.tried.add(number)
        try:
            with smtplib.SMTP("127.0.0.1", self.office.port["smtp"], "stranger.example", 60) as smtp:
                smtp.sendmail("s@stranger.example", ["alice@example.org"], letter(SEED, number))
        except smtplib.SMTPRecipientsRefused as refused:
            code, text = next(iter(refused.recipients.values()))
        except smtplib.SMTPResponseException as refused:
            code, text = refused.smtp_code, refused.smtp_error
        except (smtplib.SMTPServerDisconnected, ConnectionError):
            raise Wrong("the connection ends without a word") from None
        else:
            self.acknowledged.add(number)
            return True
        if not 400 <= code < 500:
            raise Wrong(f"mail is refused for ever: {code} {text!r}")
        self.refused += 1
        return False

    def read_what_can_be_read(self):
        """A phone that reads everything gets an answer, and no connection ends."""
        with Imap(self.office, "alice") as imap:
            imap.select("INBOX")
            try:
                imap.fetch("1:*")
            except Wrong as wrong:
                if "[CORRUPTION]" not in str(wrong):
                    raise
            else:
                raise Wrong("no read failed: the trial is worth nothing")

    def check(self, broken):
        """What `check` says of the card."""
        done = subprocess.run([self.office.binary, "check", "--data", self.office.data, "--json", "--only", "storage.card"],
                              capture_output=True, text=True, timeout=120)
        if not done.stdout:
            raise Wrong(f"`check` says nothing: {done.stderr}")
        if done.returncode != (2 if broken else 0):
            raise Wrong(f"`check` exits with {done.returncode}: {done.stdout}")
        if broken and "the card fails to read or write" not in json.dumps(json.loads(done.stdout)):
            raise Wrong(f"`check` says {done.stdout}")

    def compare(self):
        there = [message.number for message in self.office.everything()["alice", "INBOX"].messages.values()]
        if twice := {number for number in there if there.count(number) > 1}:
            raise Wrong(f"letters are there twice: {sorted(twice)}")
        if lost := self.acknowledged - set(there):
            raise Wrong(f"acknowledged letters are lost: {sorted(lost)}")
        if strange := set(there) - self.tried:
            raise Wrong(f"letters that nobody sent: {sorted(strange)}")
        if wrong := self.office.damage():
            raise Wrong(f"`store verify` names damage: {wrong}")


if __name__ == "__main__":
    main()
