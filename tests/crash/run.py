#!/usr/bin/env python3
"""The real program, killed again and again in the middle of its work: what it acknowledged is there.

  tests/crash/run.py PILLARBOX [--kills 200] [--cuts 80] [--seed 1] [--work DIR]
  tests/crash/run.py PILLARBOX --again DIR [--moment N]   the power cuts of a failed run, on what it kept
  tests/crash/run.py PILLARBOX --large [MESSAGES]         the start after a kill, with 100,000 messages

Strangers deliver over several connections while phones change flags, move, copy, append and expunge, and the store
is compacted. After every SIGKILL all mail is read and held against what was acknowledged: there, byte for byte,
once, with its flags and its UID.

Then the same on a card that remembers every write (see card.py), whose power is cut afterwards at as many moments
as one likes: what was not flushed is lost, reordered or torn, the file system is mounted as after a power cut, and
the program has to start and have all that it had acknowledged at that moment. That half needs root.
Nothing but Python's own library.
"""
import argparse
import bisect
import copy
import itertools
import os
import pickle
import random
import shutil
import sys
import tempfile
import time

import card
from house import OWNERS, PEOPLE, Imap, Phone, PostOffice, Sender, Tidier, Wrong
from model import Journal, Model, Op

SENDERS = 4
# Every so many kills all records are read too.
VERIFY = 20
# Of the card that remembers: its bytes, and how often the program is killed on it.
CARD, LIVES = 512 << 20, 4
STATE = Op(None, "state")


def main():
    options = argparse.ArgumentParser(description="Kills the real program in the middle of its work.")
    options.add_argument("pillarbox", help="the program")
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--cuts", type=int, default=80)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--again", metavar="DIR", help="only the cuts, on what a failed run kept there")
    options.add_argument("--moment", type=int, help="with --again: only the cut at this moment")
    options.add_argument("--work", help="folder on the disk to work in (default: the system's temporary one)")
    options.add_argument("--large", type=int, nargs="?", const=100_000, help="measure the start instead")
    options = options.parse_args()
    work = options.again or tempfile.mkdtemp(dir=options.work, prefix="pillarbox-crash-")
    try:
        if options.large:
            large(options, work)
        elif options.again:
            cuts(options, work)
        else:
            kills(options, work)
            if options.cuts and card.is_possible():
                live(options, work)
                cuts(options, work)
            elif options.cuts:
                print("no power is cut: that needs root, /dev/fuse and mkfs.ext4")
    except Wrong as wrong:
        print(f"\nFAILED: {wrong}\nkept: {work}", file=sys.stderr)
        sys.exit(1)
    except BaseException:
        print(f"kept: {work}", file=sys.stderr)
        raise
    if not options.again:
        shutil.rmtree(work)


def kills(options, work):
    chance = random.Random(options.seed)
    office = PostOffice(options.pillarbox, f"{work}/data", f"{work}/log", options.seed)
    if not office.compacts:
        print("this program has no `store compact`: it is not part of the trial")
    office.set_up()
    model, numbers, done, began = Model(OWNERS), itertools.count(1), 0, time.monotonic()
    pending = []
    again = f"repeat with: tests/crash/run.py {options.pillarbox} --kills {options.kills} --seed {options.seed}"
    try:
        while True:
            office.start()
            expect(model.check(office.everything(), pending), f"after kill {done}", again)
            if done % VERIFY == 0 or done >= options.kills:
                expect(office.damage(), f"after kill {done}: `store verify` names damage", again)
            if done >= options.kills:
                break
            journal = Journal()
            work_for_a_while(office, model, journal, numbers, chance)
            pending = model.fold(journal.entries)
            done += 1
            if chance.random() < 0.15:
                # The start itself is cut short too.
                office.start(wait=False)
                time.sleep(chance.uniform(0, 0.2))
                office.kill()
                done += 1
            if done % 20 == 0:
                print(f"{done} kills, {model.acknowledged} requests acknowledged, {size(office.data)}", flush=True)
        office.kill()
        office.command("store", "--data", office.data, "rebuild")
        office.start()
        expect(model.check(office.everything(), []), "after `store rebuild`", again)
    finally:
        office.kill()
    print(f"crash: {done} kills in {time.monotonic() - began:.0f} s, {model.acknowledged} requests acknowledged, "
          f"{next(numbers) - 1} letters, slowest start {office.slowest * 1000:.0f} ms; nothing lost, nothing twice")


def work_for_a_while(office, model, journal, numbers, chance, seconds=0.6, pause=0.0):
    """Everybody works, and a kill ends it."""
    seeded = lambda: random.Random(chance.random())
    phones = [Phone(office, owner, model.boxes, numbers, seeded(), journal) for owner in OWNERS]
    senders = [Sender(office, numbers, seeded(), journal, pause) for _ in range(SENDERS)]
    tidier = Tidier(office, seeded())
    threads = [*phones, *senders, tidier]
    for thread in threads:
        thread.start()
    if chance.random() < 0.8:
        # Most kills hit when all are at work, some while they still log in.
        for phone in phones:
            phone.logged_in.wait(60)
    time.sleep(chance.uniform(0.002, seconds))
    office.kill()
    tidier.stopped.set()
    for thread in threads:
        thread.join(60)
        if thread.failure:
            raise Wrong(f"{type(thread.failure).__name__}: {thread.failure}") from thread.failure


def live(options, work):
    """A life on a card that remembers it, with a few kills: kept in the folder, for cuts of its power."""
    chance = random.Random(options.seed)
    kept = card.Card(work, CARD)
    try:
        office = PostOffice(options.pillarbox, f"{kept.folder}/data", f"{work}/log", options.seed)
        office.set_up()
        model, numbers = Model(OWNERS), itertools.count(1)
        journal, pending, begin = Journal(kept.moment), [], None
        for _ in range(LIVES):
            office.start()
            there = office.everything()
            expect(model.check(there, pending), "on the card, after a kill")
            if begin is None:
                os.sync()
                begin = kept.moment()
            journal.write(True, STATE, there)
            before = len(journal.entries)
            work_for_a_while(office, model, journal, numbers, chance, seconds=6, pause=0.05)
            pending = model.fold(journal.entries[before:])
        end = kept.moment()
        with open(f"{work}/life", "wb") as file:
            pickle.dump((options.seed, office.port, office.password, journal.entries, begin, end), file)
    finally:
        office.kill()
        kept.close()


def cuts(options, work):
    """Cuts the power of the card at many moments of that life."""
    with open(f"{work}/life", "rb") as file:
        seed, port, password, entries, begin, end = pickle.load(file)
    office = PostOffice(options.pillarbox, f"{work}/card/data", f"{work}/log", seed)
    office.port, office.password = port, password
    chance = random.Random(seed)
    # Right after something was acknowledged is when there is most to lose.
    acknowledged = [moment for moment, answered, _, _ in entries if answered and moment > begin]
    moments = sorted([chance.choice(acknowledged) if at % 2 else chance.randint(begin, end)
                      for at in range(options.cuts)])
    moments = moments if options.moment is None else [options.moment]
    cards, model, pending, taken = card.Cuts(work, CARD, f"{work}/card.log"), Model(OWNERS), [], 0
    began = time.monotonic()
    for done, moment in enumerate(moments):
        upto = bisect.bisect_right(entries, moment, key=lambda entry: entry[0])
        pending, taken = model.fold(entries[taken:upto], pending), upto
        image = cards.cut(moment, random.Random(f"{seed}/{moment}"))
        again = f"repeat with: tests/crash/run.py {options.pillarbox} --again {work} --moment {moment}"
        card.run("mount", "-o", "loop,noatime", image, f"{work}/card")
        try:
            office.start()
            # Folding goes on from what was acknowledged, not from what is found here.
            expect(copy.deepcopy(model).check(office.everything(), pending), f"power cut at {moment}", again)
            expect(office.damage(), f"power cut at {moment}: `store verify` names damage", again)
        except Wrong as wrong:
            raise Wrong(f"power cut at {moment}: {wrong}") from wrong
        finally:
            office.kill()
            card.run("umount", f"{work}/card")
        if done % 20 == 19:
            print(f"{done + 1} power cuts, {model.acknowledged} requests acknowledged", flush=True)
    print(f"power: {len(moments)} cuts in {time.monotonic() - began:.0f} s among {end - begin} writes and flushes, "
          f"{model.acknowledged} requests acknowledged, slowest start {office.slowest * 1000:.0f} ms; "
          "nothing lost, nothing twice")


def expect(wrong, when, again=""):
    if wrong:
        raise Wrong(f"{when}:\n  " + (wrong if isinstance(wrong, str) else "\n  ".join(wrong)) + f"\n\n{again}")


def size(data):
    files = [f"{data}/{name}" for name in os.listdir(data) if name.endswith(".seg")]
    return f"{len(files)} segments of {sum(map(os.path.getsize, files)) >> 20} MiB"


def large(options, work):
    """How long the start takes when there is much mail and the last run was killed."""
    office = PostOffice(options.pillarbox, f"{work}/data", f"{work}/log", options.seed, segment_size=64 << 20)
    chance, numbers, journal, starts = random.Random(options.seed), itertools.count(1), Journal(), []
    office.set_up()
    try:
        office.start()
        while len(starts) < 5:
            senders = [Sender(office, numbers, random.Random(chance.random()), journal) for _ in range(8)]
            for sender in senders:
                sender.start()
            goal, told = options.large if not starts else 0, time.monotonic()
            while (delivered := sum(answered for _, answered, _, _ in list(journal.entries))) < goal:
                expect([str(sender.failure) for sender in senders if sender.failure], "while mail came in")
                print(f"{delivered} messages, {size(office.data)}, {time.monotonic() - told:.0f} s", flush=True)
                time.sleep(10)
            time.sleep(chance.uniform(0.2, 2))
            office.kill()
            for sender in senders:
                sender.join()
            office.slowest = 0
            office.start()
            starts.append(office.slowest)
            print(f"start {len(starts)}: {office.slowest * 1000:.0f} ms", flush=True)
        office.kill()
        os.remove(f"{office.data}/index.redb")
        office.slowest = 0
        office.start()
        anew = office.slowest
        there = 0
        for person in PEOPLE:
            with Imap(office, person) as imap:
                there += imap.select("INBOX").next - 1
        must = sum(len(op.people) for _, answered, op, _ in journal.entries if answered)
        may = sum(len(op.people) for _, answered, op, _ in journal.entries if not answered)
        expect([] if must <= there <= may else f"{there} messages, not {must} to {may}", "after the kills")
    finally:
        office.kill()
    print(f"crash: {there} messages, {size(office.data)}; starts after a kill took "
          f"{min(starts) * 1000:.0f} to {max(starts) * 1000:.0f} ms, with the index made anew {anew:.1f} s")


if __name__ == "__main__":
    main()
