"""What a post office acknowledged, and whether it kept it.

Clients write what they begin and what was answered into a journal. Folding the journal up to any moment gives what
must be there then, and what may be. Every mailbox has one client that changes it; deliveries come into the
inboxes besides. So a client's unanswered command either happened or did not, and nothing else may differ."""
import copy
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    number: int
    digest: str
    flags: frozenset


@dataclass
class Box:
    """A mailbox as far as it is known."""
    validity: int = 0
    next: int = 1
    messages: dict = field(default_factory=dict)

    def take(self, uid, message):
        self.messages[uid] = message
        self.next = max(self.next, uid + 1)


@dataclass
class Op:
    """One request of a client. `owner` is None for a delivery."""
    owner: str | None
    kind: str
    box: tuple = ()
    to: tuple = ()
    uids: tuple = ()
    flags: frozenset = frozenset()
    number: int = 0
    digest: str = ""
    people: tuple = ()


class Journal:
    """What was begun and what was answered, in order, each with the moment that `now` tells."""

    def __init__(self, now=lambda: 0):
        self.now, self.lock, self.entries = now, threading.Lock(), []

    def write(self, answered, op, result=None):
        with self.lock:
            self.entries.append((self.now(), answered, op, result))


class Model:
    def __init__(self, owners):
        """`owners`: for each client the mailboxes that it alone changes."""
        self.owners = owners
        self.boxes = {box: Box() for boxes in owners.values() for box in boxes}
        self.waiting = set()   # (person, number): acknowledged, and nobody has seen its UID
        self.located = set()   # (person, number): seen in the inbox
        self.acknowledged = 0

    def fold(self, entries, pending=()):
        """Takes in what was answered; gives back what was not, and of `pending` is not yet."""
        pending = list(pending)
        for _, answered, op, result in entries:
            if op.kind == "state":
                pending.clear()
                self.learn(result)
                continue
            if not answered:
                pending.append(op)
                continue
            if op in pending:
                pending.remove(op)
            self.acknowledged += 1
            self.apply(op, result)
        return pending

    def apply(self, op, result):
        """`result`: the UIDs that were told; a made-up one stands for each that was not."""
        box = self.boxes.get(op.box)
        if op.kind == "deliver":
            self.waiting |= {(person, op.number) for person in op.people} - self.located
        elif op.kind == "look":
            for uid, message in result.items():
                box.take(uid, message)
                self.found(op.box[0], message.number)
        elif op.kind == "append":
            box.take(result[0], Message(op.number, op.digest, op.flags))
        elif op.kind == "flags":
            for uid in op.uids:
                old = box.messages[uid]
                box.messages[uid] = Message(old.number, old.digest, op.flags)
        elif op.kind == "expunge":
            for uid in op.uids:
                del box.messages[uid]
        elif op.kind in ("copy", "move"):
            for old, new in zip(op.uids, result, strict=True):
                self.boxes[op.to].take(new, box.messages[old])
                if op.kind == "move":
                    del box.messages[old]

    def found(self, person, number):
        """Who finds a letter in one inbox knows that it is in all that it was sent to, but not which."""
        self.waiting.discard((person, number))
        self.located.add((person, number))

    def check(self, observed, pending):
        """Holds what is there (boxes by name) against all this; gives the complaints, and learns what is there."""
        wrong = []
        deliveries = [op for op in pending if op.kind == "deliver"]
        for owner, names in self.owners.items():
            mine = [op for op in pending if op.owner == owner and op.kind != "look"]
            assert len(mine) <= 1, "a client waits for one answer at a time"
            complaints = [self.compare(names, observed, deliveries)]
            if mine and complaints[0]:
                complaints.append(self.after(mine[0]).compare(names, observed, deliveries))
            if all(complaints):
                wrong += [f"{owner}, unanswered {[(op.kind, op.box, op.to, op.uids) for op in mine]}:"]
                wrong += [f"  {'had it been done' if at else 'as acknowledged'}: {text}"
                          for at, texts in enumerate(complaints) for text in texts[:20]]
        for op in deliveries:
            there = [any(message.number == op.number for message in observed[person, "INBOX"].messages.values())
                     or (person, op.number) in self.located for person in op.people]
            if any(there) != all(there):
                wrong.append(f"letter {op.number} reached some of {op.people} only")
        self.learn(observed)
        return wrong

    def learn(self, observed):
        """Takes what is there for what was acknowledged."""
        for name, box in observed.items():
            for message in box.messages.values():
                self.found(name[0], message.number)
        self.boxes = {name: Box(box.validity, box.next, dict(box.messages)) for name, box in observed.items()}
        self.waiting = set()

    def after(self, op):
        """This model with `op` done; UIDs that nobody was told are negative."""
        other = copy.copy(self)
        other.boxes = {name: Box(box.validity, box.next, dict(box.messages)) for name, box in self.boxes.items()}
        other.waiting, other.located = set(self.waiting), set(self.located)
        other.apply(op, range(-max(len(op.uids), 1), 0))
        return other

    def compare(self, names, observed, deliveries):
        wrong = []
        for name in names:
            known, there = self.boxes[name], observed[name]
            if known.validity and known.validity != there.validity:
                wrong.append(f"{name}: UIDVALIDITY {known.validity} became {there.validity}")
            if there.next < known.next:
                wrong.append(f"{name}: UIDNEXT fell from {known.next} to {there.next}")
            for uid, message in known.messages.items():
                if uid > 0 and there.messages.get(uid) != message:
                    wrong.append(f"{name}: UID {uid} was {message}, is {there.messages.get(uid)}")
            new = [there.messages[uid] for uid in sorted(there.messages) if uid not in known.messages]
            wrong += [f"{name}: UID {uid} was used before or is new below UIDNEXT {known.next}"
                      for uid in there.messages if uid not in known.messages and uid < known.next]
            wrong += [f"{name}: UID {uid} is not below UIDNEXT {there.next}"
                      for uid in there.messages if uid >= there.next]
            untold = [known.messages[uid] for uid in sorted(known.messages) if uid < 0]
            if name[1] == "INBOX":
                wrong += self.compare_deliveries(name[0], new, deliveries)
            elif new != untold:
                wrong.append(f"{name}: expected {untold} with new UIDs, found {new}")
        return wrong

    def compare_deliveries(self, person, new, deliveries):
        numbers = [message.number for message in new]
        must = {number for who, number in self.waiting if who == person}
        may = {op.number for op in deliveries if person in op.people} - {
            number for who, number in self.located if who == person}
        wrong = [f"{person}: letter {number} is lost" for number in must - set(numbers)]
        wrong += [f"{person}: letter {number} is there and should not be"
                  for number in set(numbers) - must - may]
        wrong += [f"{person}: letter {number} is there twice"
                  for number in set(numbers) if numbers.count(number) > 1]
        wrong += [f"{person}: letter {message.number} has flags" for message in new if message.flags]
        return wrong
