// npm's imapflow does its normal job; programs.py starts this and judges what it prints.
const { ImapFlow } = await import(process.env.IMAPFLOW);

const letter = (subject) =>
  `From: bob@home.test\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@home.test>\r\n` +
  "Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n";

const client = () =>
  new ImapFlow({
    host: "127.0.0.1",
    port: Number(process.env.PORT),
    secure: true,
    auth: { user: process.env.LOGIN, pass: process.env.PASSWORD },
    tls: { rejectUnauthorized: false },
    logger: false,
    qresync: true,
  });

const flow = client();
await flow.connect();
for (let n = 0; n < 10; n++) {
  await flow.append("INBOX", letter(`flow-${n}`), n % 2 ? ["\\Seen"] : [], new Date(2026, 1, n + 1));
}
let lock = await flow.getMailboxLock("INBOX");
const subjects = [];
for await (const message of flow.fetch("1:*", {
  uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true,
})) {
  subjects.push(message.envelope.subject);
  if (message.bodyStructure.parameters.charset !== "utf-8") throw new Error("no charset");
}
const found = await flow.search({ seen: false, since: new Date(2026, 0, 1) }, { uid: true });
if (found.length !== 5) throw new Error(`found ${found}`);
const { content } = await flow.download("1", "TEXT");
let text = "";
for await (const piece of content) text += piece;
if (!text.includes("Grüße")) throw new Error(`read ${text}`);
await flow.messageFlagsAdd(found.join(","), ["\\Flagged", "$Work"], { uid: true });
const flagged = await flow.search({ keyword: "$Work" });
if (flagged.length !== 5) throw new Error(`flagged ${flagged}`);
await flow.mailboxCreate(["Büro", "Rechnungen"]);
const moved = await flow.messageMove("1:2", "Büro/Rechnungen");
const status = await flow.status("Büro/Rechnungen", { messages: true, uidNext: true, unseen: true });
const left = flow.mailbox.exists;
lock.release();
if (!(await flow.list()).some((box) => box.specialUse === "\\Sent")) throw new Error("no Sent");
await flow.getQuota("INBOX");

// What another brings is told while this one waits.
const pushed = new Promise((resolve) => flow.once("exists", resolve));
lock = await flow.getMailboxLock("INBOX");
lock.release();
const waiting = flow.idle();
const other = client();
await other.connect();
await other.append("INBOX", letter("flow-pushed"));
const told = await Promise.race([
  pushed,
  new Promise((resolve) => setTimeout(resolve, 10000, false)),
]);
await other.logout();
await flow.noop();
await waiting;
const enabled = [...flow.enabled];
await flow.logout();
console.log(JSON.stringify({
  subjects, pushed: Boolean(told), moved: status.messages, left, enabled,
  uids: moved.uidMap ? [...moved.uidMap.values()] : [],
}));
