"""The lab: the box on its real ports, a stranger's Postfix, and a real DNS between them.

  python3 tests/lab/run.py PILLARBOX

Needs root (network namespaces), and Debian's iproute2, libfaketime, nsd, postfix, rspamd, swaks
and PyPI's dkimpy.
"""
import email
import email.policy
import glob
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from email.message import EmailMessage
from email.utils import formatdate

from net import NSD, Net, run, wait
from stranger import Stranger
from verifier import MILTER, Verifier, findings

BOX4, BOX6 = "10.91.0.10", "fd91::10"
MX1, MX2 = "10.91.0.21", "10.91.0.22"
DNS = "10.91.0.53"
PASSWORD = "correct horse battery"

# The household, the stranger, and the reverse zones of both.
ZONES = {
    "home.test": """
@ IN MX 10 mail
mail IN A {box4}
mail IN AAAA {box6}
""",
    "far.test": """
@ IN MX 10 mx1
@ IN MX 20 mx2
mx1 IN A {mx1}
mx2 IN A {mx2}
@ IN TXT "v=spf1 mx ip6:fd91::21 -all"
_dmarc IN TXT "v=DMARC1; p=none; rua=mailto:reports@far.test"
_smtp._tls IN TXT "v=TLSRPTv1; rua=mailto:reports@far.test"
""",
    "91.10.in-addr.arpa": """
10.0 IN PTR mail.home.test.
21.0 IN PTR mx1.far.test.
22.0 IN PTR mx2.far.test.
""",
    "1.9.d.f.ip6.arpa": """
0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 IN PTR mail.home.test.
""",
}

ANSWERS = f"""\
[box]
hostname = "mail.home.test"
timezone = "Europe/Berlin"
[domain]
name = "home.test"
[owner]
address = "alice@home.test"
password = "{PASSWORD}"
[outbound]
mode = "direct"
[dns]
servers = ["{DNS}:53"]
"""

# At the stranger's: one that leads back to us.
ALIASES = "virtual_alias_maps = inline:{ circle@far.test=circle@home.test }\n"

# What others report about mail in our name (RFC 7489, appendix C).
REPORT = """\
<?xml version="1.0" encoding="UTF-8"?>
<feedback>
  <report_metadata>
    <org_name>{org}</org_name><email>reports@{org}</email><report_id>{begin}.{org}</report_id>
    <date_range><begin>{begin}</begin><end>{end}</end></date_range>
  </report_metadata>
  <policy_published><domain>home.test</domain><p>quarantine</p></policy_published>
  <record>
    <row>
      <source_ip>{box}</source_ip><count>{count}</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated>
    </row>
    <identifiers><header_from>home.test</header_from></identifiers>
    <auth_results>
      <dkim><domain>home.test</domain><result>pass</result></dkim>
      <spf><domain>home.test</domain><result>pass</result></spf>
    </auth_results>
  </record>
</feedback>
"""


class Lab:
    def __init__(self, net, work, pillarbox):
        self.net, self.work, self.pillarbox = net, work, pillarbox
        self.data = f"{work}/box"
        self.dns = net.host("dns", f"{DNS}/24", resolver=DNS)
        self.box = net.host("box", f"{BOX4}/24", f"{BOX6}/64", resolver=DNS)
        self.far = net.host("far", f"{MX1}/24", f"{MX2}/24", "fd91::21/64", resolver=DNS)
        os.makedirs(f"{work}/far")
        # Everywhere, also at an address that is gone for a while.
        self.stranger = Stranger(self.far, f"{work}/far", ["all"], more=MILTER + ALIASES)
        self.named = None

    def publish(self, records=()):
        """Serves the zones; `records` are lines of zone text as `pillarbox dns` prints them."""
        if self.named:
            self.dns.kill(self.named)
        names = {"box4": BOX4, "box6": BOX6, "mx1": MX1, "mx2": MX2}
        conf = NSD.format(dns=DNS, work=self.work)
        for zone, text in ZONES.items():
            # `pillarbox dns` names the MX and addresses too, which stand above.
            more = [r for r in records if r.split()[0].endswith(zone + ".") and " TXT " in r]
            with open(f"{self.work}/{zone}.zone", "w") as file:
                file.write(f"$ORIGIN {zone}.\n$TTL 5\n@ IN SOA ns hostmaster 1 60 60 600 5\n"
                           f"@ IN NS ns.home.test.\n{text.format(**names)}\n"
                           + "\n".join(more) + "\n")
            if zone == "home.test":
                with open(f"{self.work}/{zone}.zone", "a") as file:
                    file.write(f"ns.home.test. IN A {DNS}\n")
            conf += f'zone:\n  name: "{zone}"\n  zonefile: "{zone}.zone"\n'
        with open(f"{self.work}/nsd.conf", "w") as file:
            file.write(conf)
        self.named = self.dns.start("nsd", "-d", "-c", f"{self.work}/nsd.conf", log="nsd.log")
        wait("the DNS server answers", lambda: self.dns.answers(DNS, 53))

    def start_box(self, *under):
        self.service = self.box.start(*under, self.pillarbox, "run", "--data", self.data, "--board",
                                      "none", log="box.log")
        for port in (25, 587, 465, 143, 993, 110, 995, 80):
            wait(f"the box answers on port {port}", lambda p=port: self.far.answers(BOX4, p))

    def cli(self, *args, check=True):
        return self.box.run(self.pillarbox, *args, "--data", self.data, check=check)

    def wait_log(self, log, words):
        def found():
            with open(f"{self.work}/{log}", encoding="latin-1") as file:
                return next((line for line in file if words in line), None)
        return wait(f"{words!r} in {log}", found, 60)

    def queue(self):
        return json.loads(self.cli("queue", "list", "--json").stdout)

    def submit(self, recipient, subject):
        """Sends as Alice's phone would."""
        self.box.run("swaks", "--server", BOX4, "--port", "465", "--tls-on-connect",
                     "--auth", "PLAIN", "--auth-user", "alice@home.test", "--auth-password", PASSWORD,
                     "--from", "alice@home.test", "--to", recipient,
                     "--header", f"Subject: {subject}", "--body", "Greetings from home.\n..dots\n")

    def inbox(self, folder="INBOX"):
        script = (
            "import imaplib, ssl, sys, json\n"
            "ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = 0\n"
            f"m = imaplib.IMAP4_SSL('{BOX4}', ssl_context=ctx)\n"
            f"m.login('alice@home.test', '{PASSWORD}'); m.select('{folder}', readonly=True)\n"
            "ids = m.search(None, 'ALL')[1][0].split()\n"
            "out = [m.fetch(i, '(BODY.PEEK[])')[1][0][1].decode('latin-1') for i in ids]\n"
            "print(json.dumps(out))\n")
        return json.loads(self.box.run(sys.executable, "-c", script).stdout)

    def wait_inbox(self, text, seconds=60):
        return wait(f"a message with {text!r} in Alice's inbox",
                    lambda: next((m for m in self.inbox() if text in m), None), seconds)


def letter(to, subject):
    """One of the stranger's, as mail programs write them: what lacks a field looks like junk."""
    return (f"From: stranger@far.test\nTo: {to}\nSubject: {subject}\nDate: {formatdate()}\n"
            f"Message-ID: <{subject}@far.test>\n\nHi.\n")


def test_mail_arrives_from_the_stranger(lab):
    lab.stranger.send("stranger@far.test", "alice@home.test", letter("alice@home.test", "hello-in"))
    message = lab.wait_inbox("hello-in")
    assert message.startswith("Return-Path: <stranger@far.test>"), message
    assert "with ESMTPS" in message, "the stranger offered TLS:\n" + message


def test_mail_leaves_signed_and_under_tls(lab):
    lab.submit("stranger@far.test", "hello-out")
    message = lab.stranger.wait_for("hello-out")
    assert message.count(b"DKIM-Signature:") == 2, message.decode("latin-1")
    assert b"using TLS" in message, "not sent under TLS:\n" + message.decode("latin-1")
    # Postfix's own trace fields stand on top and are not signed.
    for number in (0, 1):
        check = ("import sys, dkim; d = dkim.DKIM(sys.stdin.buffer.read()); "
                 f"sys.exit(0 if d.verify(idx={number}) else 1)")
        result = subprocess.run(lab.far.command(sys.executable, "-c", check), input=message,
                                capture_output=True)
        assert result.returncode == 0, (number, result.stderr.decode(), message.decode("latin-1"))
    verify = os.path.join(os.path.dirname(sys.executable), "dkimverify")
    result = subprocess.run(lab.far.command(verify), input=message, capture_output=True)
    assert b"signature ok" in result.stdout, result


def test_an_independent_verifier_passes_what_leaves(lab):
    found = findings(lab.stranger.wait_for("hello-out"), "mx1.far.test")
    signed = [about for word, about in found if word == "dkim=pass"]
    assert len(signed) == 2 and all("header.d=home.test" in about for about in signed), found
    # One is the RSA key, the other the Ed25519 key.
    assert {re.search(r"header.s=pb\d+(.)", about)[1] for about in signed} == {"r", "e"}, found
    words = [word for word, _ in found]
    assert "spf=pass" in words and "dmarc=pass" in words, found


def test_what_an_alias_passes_on_is_believed_for_its_seal(lab):
    """SPF of the first sender fails at the next host, so the seal is what tells."""
    lab.cli("account", "alias", "add", "away@home.test", "stranger@far.test")
    lab.stranger.send("stranger@far.test", "away@home.test", letter("away@home.test", "passed-on"))
    message = lab.stranger.wait_for("passed-on")
    assert b"\nDelivered-To: away@home.test" in message, message.decode("latin-1")
    found = findings(message, "mx1.far.test")
    assert any(word == "arc=pass" for word, _ in found), (found, message.decode("latin-1"))
    said = re.search(rb"ARC-Authentication-Results: i=1; (.*(?:\n[ \t].*)*)", message)[1]
    assert said.startswith(b"mail.home.test") and b"spf=pass" in said, message.decode("latin-1")
    check = "import sys, dkim; v = dkim.ARC(sys.stdin.buffer.read()).verify(); print(v[0]); " \
            "sys.exit(v[0] != dkim.CV_Pass)"
    result = subprocess.run(lab.far.command(sys.executable, "-c", check), input=message,
                            capture_output=True)
    assert result.returncode == 0, (result, message.decode("latin-1"))


def test_what_goes_in_a_circle_is_refused(lab):
    """An alias here leads there, and one there leads back here."""
    lab.cli("account", "alias", "add", "circle@home.test", "circle@far.test")
    lab.stranger.send("stranger@far.test", "circle@home.test", letter("circle@home.test", "circle"))
    lab.wait_log("postfix.log", "5.4.6")
    wait("the queue is empty", lambda: lab.queue() == [])


def test_a_changed_message_does_not_verify(lab):
    """The check above can fail."""
    message = lab.stranger.wait_for("hello-out").replace(b"Greetings", b"Gratings")
    verify = os.path.join(os.path.dirname(sys.executable), "dkimverify")
    result = subprocess.run(lab.far.command(verify), input=message, capture_output=True)
    assert b"signature ok" not in result.stdout, result


def test_first_mx_down_second_gets_it(lab):
    lab.far.del_address(f"{MX1}/24")
    lab.far.add_address(f"{MX2}/24") if not lab.far.answers(MX2, 25) else None
    try:
        lab.submit("stranger@far.test", "to-the-second")
        lab.stranger.wait_for("to-the-second", 90)
    finally:
        lab.far.add_address(f"{MX1}/24")


def test_both_mx_down_it_waits_and_leaves_later(lab):
    lab.stranger.stop()
    lab.submit("stranger@far.test", "later")
    waiting = wait("the message waits with a reason",
                   lambda: [i for i in lab.queue() if i["recipients"][0][1]], 60)
    assert len(waiting) == 1, waiting
    # What waits survives a restart of the box.
    lab.box.kill(lab.service)
    lab.start_box()
    assert len(lab.queue()) == 1, lab.queue()
    lab.stranger.start()
    wait("the stranger is back", lambda: lab.box.answers(MX1, 25))
    lab.cli("queue", "retry")
    lab.stranger.wait_for("later")
    wait("the queue is empty", lambda: lab.queue() == [])


def test_unknown_user_comes_back_with_a_reason(lab):
    lab.submit("nobody@far.test", "to-nobody")
    bounce = lab.wait_inbox("Content-Type: multipart/report")
    assert "nobody@far.test" in bounce and "Status: 5.1.1" in bounce, bounce
    assert "Auto-Submitted: auto-replied" in bounce, bounce
    wait("the queue is empty", lambda: lab.queue() == [])


def test_no_relay_for_strangers(lab):
    result = lab.far.run("swaks", "--server", BOX4, "--from", "a@far.test", "--to", "b@elsewhere.test",
                         check=False)
    assert " 550 5.7.1 " in result.stdout, result.stdout


def test_ipv6_is_served(lab):
    send = "import smtplib, sys; smtplib.SMTP(sys.argv[1]).sendmail(sys.argv[2], [sys.argv[3]], sys.argv[4])"
    lab.far.run(sys.executable, "-c", send, BOX6, "stranger@far.test", "alice@home.test",
                letter("alice@home.test", "over-six").replace("\n", "\r\n"))
    message = lab.wait_inbox("over-six")
    assert "fd91::21" in message, message


def test_the_self_check_sees_this_world(lab):
    result = lab.cli("check", "--json", "--only", "dns.mx", "--only", "dns.address",
                     "--only", "rdns", "--only", "auth.spf", "--only", "auth.dkim",
                     "--only", "auth.dmarc", "--only", "dns.works", check=False)
    findings = {f["id"]: f for f in json.loads(result.stdout)["findings"]}
    outcomes = {name: f["outcome"]["outcome"] for name, f in findings.items()}
    assert set(outcomes.values()) == {"ok"} and len(outcomes) >= 6, findings
    assert result.returncode == 0, result


def test_our_policy_for_tls_is_served(lab):
    url = "https://mta-sts.home.test/.well-known/mta-sts.txt"
    policy = lab.far.run("curl", "-sSk", "--resolve", f"mta-sts.home.test:443:{BOX4}", url).stdout
    assert policy.startswith("version: STSv1\n") and "mx: mail.home.test\n" in policy, policy


def test_reports_about_our_mail_are_read_and_shown(lab):
    """One in gzip, one in zip, as a stranger's Postfix delivers them."""
    began = int(time.time()) // 86400 * 86400
    for number, form in enumerate(("gzip", "zip")):
        name = f"far{number}.test!home.test!{began}!{began + 86399}"
        report = REPORT.format(org=f"far{number}.test", begin=began, end=began + 86399, count=number + 3,
                               box=BOX4).encode()
        packed = io.BytesIO()
        if form == "gzip":
            packed.write(gzip.compress(report))
        else:
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{name}.xml", report)
        enclosing = EmailMessage()
        enclosing["From"], enclosing["To"] = "stranger@far.test", "postmaster@home.test"
        enclosing["Subject"] = f"Report Domain: home.test Submitter: far{number}.test"
        enclosing["Date"], enclosing["Message-ID"] = formatdate(), f"<report{number}@far.test>"
        enclosing.add_attachment(packed.getvalue(), maintype="application", subtype=form,
                                 filename=f"{name}.xml.gz" if form == "gzip" else f"{name}.zip")
        lab.stranger.send("stranger@far.test", "postmaster@home.test", enclosing.as_string())

    def shown():
        days = json.loads(lab.cli("reports", "--json").stdout)["dmarc"]
        return days and sum(day["messages"] for day in days) == 3 + 4 and days
    days = wait("both reports are shown", shown, 60)
    assert {name for day in days for name in day["reporters"]} == {"far0.test", "far1.test"}, days


def test_reports_about_others_leave_the_day_after(lab):
    """The box wakes up at noon of the next day, and tells the stranger what it saw of his mail and of
    his hosts."""
    lab.box.kill(lab.service)
    now = int(time.time())
    later = (now // 86400 + 1) * 86400 + 43200 - now
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0]
    tomorrow = ("env", f"LD_PRELOAD={library}", f"FAKETIME=+{later}", "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "DONT_FAKE_MONOTONIC=1")
    lab.start_box(*tomorrow)
    try:
        tls = lab.stranger.wait_for("TLS-Report-Domain: far.test")
        policy = json.loads(gzip.decompress(attachment(tls)))["policies"][0]
        assert policy["policy"]["policy-domain"] == "far.test", policy
        assert policy["summary"]["total-successful-session-count"] > 0, policy
        dmarc = lab.stranger.wait_for(".xml.gz")
        text = gzip.decompress(attachment(dmarc)).decode()
        assert "<domain>far.test</domain>" in text and f"<source_ip>{MX1}</source_ip>" in text, text
        verify = os.path.join(os.path.dirname(sys.executable), "dkimverify")
        for message in (tls, dmarc):
            result = subprocess.run(lab.far.command(*tomorrow, verify), input=message, capture_output=True)
            assert b"signature ok" in result.stdout, result
    finally:
        lab.box.kill(lab.service)
        lab.start_box()


def attachment(message):
    parts = email.message_from_bytes(message, policy=email.policy.default).walk()
    return next(part.get_content() for part in parts if part.get_content_type().endswith("gzip"))


def test_a_crowd_at_the_door_is_served(lab):
    """Postfix's own load generator: ten at once, each connection one letter after the other."""
    before = len(lab.inbox())
    lab.far.run("smtp-source", "-d", "-s", "10", "-m", "200", "-l", "4096", "-f", "stranger@far.test",
                "-t", "alice@home.test", f"inet:{BOX4}:25")
    assert len(lab.inbox()) + len(lab.inbox("Junk")) >= before + 200, lab.inbox()[-1]


def test_a_full_card_refuses_mail_and_loses_none(lab):
    """A second box on a file system of 110 MB: mail is refused in time, reading and deleting go on."""
    small = f"{lab.work}/small"
    os.makedirs(small)
    lab.box.kill(lab.service)
    run("mount", "-t", "tmpfs", "-o", "size=110M", "tmpfs", small)
    data, lab.data = lab.data, f"{small}/data"
    try:
        lab.box.run(lab.pillarbox, "setup", "--data", lab.data, "--answers", f"{lab.work}/answers.toml")
        lab.start_box()
        # Letters that do not compress, until the box says no.
        fill = (
            "import base64, os, smtplib\n"
            "from email.utils import formatdate\n"
            f"s = smtplib.SMTP('{BOX4}')\n"
            "taken = 0\n"
            "for n in range(200):\n"
            "    text = base64.encodebytes(os.urandom(750000)).decode().replace('\\n', '\\r\\n')\n"
            "    try:\n"
            "        head = ('From: stranger@far.test\\r\\nTo: alice@home.test\\r\\n'\n"
            "                f'Subject: fill-{n}\\r\\nDate: {formatdate()}\\r\\nMessage-ID: <{n}@far.test>\\r\\n'\n"
            "                'MIME-Version: 1.0\\r\\nContent-Type: application/octet-stream\\r\\n'\n"
            "                'Content-Transfer-Encoding: base64\\r\\n')\n"
            "        s.sendmail('stranger@far.test', ['alice@home.test'], f'{head}\\r\\n{text}')\n"
            "    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as e:\n"
            "        print(taken, e); break\n"
            "    taken += 1\n"
        )
        said = lab.far.run(sys.executable, "-c", fill).stdout
        taken = int(said.split()[0])
        assert taken >= 10 and "452" in said and "4.3.1" in said, said
        assert len(lab.inbox()) == taken, (taken, len(lab.inbox()))
        script = (
            "import imaplib, ssl\n"
            "ctx = ssl.create_default_context(); ctx.check_hostname = False; ctx.verify_mode = 0\n"
            f"m = imaplib.IMAP4_SSL('{BOX4}', ssl_context=ctx)\n"
            f"m.login('alice@home.test', '{PASSWORD}'); m.select('INBOX')\n"
            "assert m.store('1', '+FLAGS', r'(\\Deleted)')[0] == 'OK'\n"
            "assert m.expunge()[0] == 'OK'\n")
        lab.box.run(sys.executable, "-c", script)
        assert len(lab.inbox()) == taken - 1
        # The power goes on the full card, and comes back.
        lab.box.kill(lab.service, signal.SIGKILL)
        lab.start_box()
        assert len(lab.inbox()) == taken - 1
    finally:
        lab.box.kill(lab.service)
        run("umount", "-l", small)
        lab.data = data


def main():
    pillarbox = os.path.abspath(sys.argv[1])
    work = tempfile.mkdtemp(prefix="pillarbox-lab-")
    os.chmod(work, 0o755)
    passed = 0
    try:
        with Net(work) as net:
            lab = Lab(net, work, pillarbox)
            lab.publish()
            Verifier(lab.far, f"{work}/rspamd")
            lab.stranger.start()
            answers = f"{work}/answers.toml"
            with open(answers, "w") as file:
                file.write(ANSWERS)
            lab.box.run(pillarbox, "setup", "--data", lab.data, "--answers", answers)
            lab.publish(lab.cli("dns", "--format", "zone").stdout.splitlines())
            lab.start_box()
            wait("the stranger answers", lambda: lab.box.answers(MX1, 25))
            for name, test in list(globals().items()):
                if name.startswith("test_"):
                    test(lab)
                    passed += 1
                    print(f"  ok  {name.removeprefix('test_').replace('_', ' ')}", flush=True)
        print(f"lab: {passed} passed")
        shutil.rmtree(work)
    except BaseException:
        for log in ("box.log", "postfix.log", "nsd.log", "rspamd.log"):
            if os.path.exists(f"{work}/{log}"):
                print(f"--- {log}", run("tail", "-30", f"{work}/{log}").stdout, sep="\n")
        print(f"lab: the rest of the logs is in {work}")
        raise


if __name__ == "__main__":
    main()
