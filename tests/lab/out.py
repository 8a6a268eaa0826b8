"""The way out, among other people's hosts: a signed DNS tree with DANE, a domain with an MTA-STS
policy, a relay that wants a password, aliases that lead elsewhere.

  python3 tests/lab/out.py PILLARBOX

Needs root (network namespaces), and Debian's iproute2, nsd, ldnsutils, postfix, openssl and swaks. Exim
cannot be installed beside Postfix: `tests/run install` unpacks it into the cache.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from net import NSD, Net, run, wait
from stranger import Stranger

EXIM_PROGRAM = os.path.join(
    os.environ.get("PILLARBOX_CACHE", os.path.expanduser("~/.cache/pillarbox")), "exim/usr/sbin/exim4")

# Addresses that are not those of a house: a policy is never fetched from there.
BOX, DANE, EXIM, POLICY, DNS = (f"198.51.100.{n}" for n in (10, 21, 31, 41, 53))
PASSWORD = "correct horse battery"

# One signed tree; the others are cut off from it without a DS record.
ROOT = """\
$ORIGIN .
$TTL 5
@ IN SOA ns.test. hostmaster.test. 1 60 60 600 5
@ IN NS ns.test.
ns.test. IN A {dns}
dane.test. IN MX 10 mx1.dane.test.
mx1.dane.test. IN A {dane}
alias.test. IN MX 10 mail.alias.test.
mail.alias.test. IN CNAME mx1.dane.test.
{tlsa}
home.test. IN NS ns.test.
sts.test. IN NS ns.test.
100.51.198.in-addr.arpa. IN NS ns.test.
"""
ZONES = {
    "home.test": "@ IN MX 10 mail\nmail IN A {box}\n",
    "sts.test": """\
@ IN MX 10 mx
mx IN A {exim}
_mta-sts IN TXT "v=STSv1; id={sts_id};"
mta-sts IN A {policy}
""",
    "100.51.198.in-addr.arpa": "10 IN PTR mail.home.test.\n21 IN PTR mx1.dane.test.\n31 IN PTR mx.sts.test.\n",
}

ANSWERS = """\
[box]
hostname = "mail.home.test"
[domain]
name = "home.test"
[owner]
address = "alice@home.test"
password = "{password}"
[outbound]
mode = "direct"
ca = "{work}/ca.pem"
[[outbound.routes]]
to = "relayed.test"
relay = {{ host = "mx.sts.test", port = 465, user = "me", password = "relay secret" }}
[[outbound.routes]]
when = "refused"
relay = {{ host = "mx.sts.test", port = 465, user = "me", password = "relay secret" }}
[dns]
servers = ["{dns}:53"]
trust_anchor = "{work}/root.anchor"
"""

EXIM_CONF = """\
primary_hostname = mx.sts.test
exim_path = {program}
keep_environment =
local_interfaces = {exim}
daemon_smtp_ports = 25 : 465
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = {work}/exim/cert.pem
tls_privatekey = {work}/exim/key.pem
spool_directory = {work}/exim/spool
log_file_path = {work}/exim/%slog
pid_file_path = {work}/exim/pid
acl_smtp_rcpt = rcpt
host_lookup =
rfc1413_query_timeout = 0s
smtp_enforce_sync = true
begin acl
rcpt:
  accept domains = sts.test
  accept authenticated = *
  deny message = relay not permitted
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  directory = {work}/exim/mail
  maildir_format
  create_directory
  user = Debian-exim
  return_path_add
  envelope_to_add
begin retry
begin rewrite
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{me}}}}{{eq{{$auth3}}{{relay secret}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""

POLICY_HOST = """\
import http.server, ssl, sys
policy, cert, key, address = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == '/.well-known/mta-sts.txt'
        body = open(policy, 'rb').read() if found else b''
        self.send_response(200 if found else 404)
        self.send_header('Content-Type', 'text/plain')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer((address, 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


class Lab:
    def __init__(self, net, work, pillarbox):
        self.net, self.work, self.pillarbox = net, work, pillarbox
        self.data = f"{work}/box"
        self.dns = net.host("dns", f"{DNS}/24", resolver=DNS)
        self.box = net.host("box", f"{BOX}/24", resolver=DNS)
        self.dane = net.host("dane", f"{DANE}/24", resolver=DNS)
        self.exim = net.host("exim", f"{EXIM}/24", resolver=DNS)
        self.policy = net.host("policy", f"{POLICY}/24", resolver=DNS)
        self.named = None
        self.tlsa = ""
        self.sts_id = 1
        self.make_authority()
        os.makedirs(f"{work}/dane")
        refusal = "554 5.7.1 Client host blocked using zen.spamhaus.org; https://www.spamhaus.org/query/pbl"
        self.stranger = Stranger(
            self.dane, f"{work}/dane", [DANE], domain="dane.test",
            more="smtpd_recipient_restrictions = check_recipient_access "
                 "inline:{ { home@dane.test = " + refusal + " } }\n"
                 "virtual_alias_domains = alias.test\n"
                 "virtual_alias_maps = inline:{ @alias.test=stranger@dane.test }\n")
        self.start_exim("mx.sts.test")
        self.set_policy("enforce", "mx.sts.test")
        self.serve_policy()
        key = run("ldns-keygen", "-a", "ED25519", "-k", ".", cwd=work).stdout.strip()
        self.key = f"{work}/{key}"
        with open(f"{self.key}.key") as made, open(f"{work}/root.anchor", "w") as anchor:
            # Without the comment after it.
            anchor.write(made.read().split(";")[0].strip() + "\n")

    def make_authority(self):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=lab",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", f"{self.work}/ca.key", "-out", f"{self.work}/ca.pem")

    def certificate(self, name, folder):
        """A certificate for this name that the authority of the lab signed."""
        os.makedirs(folder, exist_ok=True)
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{folder}/key.pem", "-out", f"{folder}/request.pem")
        with open(f"{folder}/names", "w") as names:
            names.write(f"subjectAltName=DNS:{name}\n")
        run("openssl", "x509", "-req", "-days", "9", "-in", f"{folder}/request.pem", "-extfile",
            f"{folder}/names", "-CA", f"{self.work}/ca.pem", "-CAkey", f"{self.work}/ca.key",
            "-CAcreateserial", "-out", f"{folder}/cert.pem")

    def publish(self):
        """Signs the tree and serves all zones."""
        if self.named:
            self.dns.kill(self.named)
        names = {"box": BOX, "dane": DANE, "exim": EXIM, "policy": POLICY, "dns": DNS,
                 "tlsa": self.tlsa, "sts_id": self.sts_id}
        with open(f"{self.work}/root.zone", "w") as file:
            file.write(ROOT.format(**names))
        run("ldns-signzone", "-o", ".", "-f", f"{self.work}/root.signed", f"{self.work}/root.zone", self.key)
        conf = NSD.format(dns=DNS, work=self.work) + 'zone:\n  name: "."\n  zonefile: "root.signed"\n'
        for zone, text in ZONES.items():
            with open(f"{self.work}/{zone}.zone", "w") as file:
                file.write(f"$ORIGIN {zone}.\n$TTL 5\n@ IN SOA ns.test. hostmaster.test. 1 60 60 600 5\n"
                           f"@ IN NS ns.test.\n{text.format(**names)}")
            conf += f'zone:\n  name: "{zone}"\n  zonefile: "{zone}.zone"\n'
        with open(f"{self.work}/nsd.conf", "w") as file:
            file.write(conf)
        self.named = self.dns.start("nsd", "-d", "-c", f"{self.work}/nsd.conf", log="nsd.log")
        wait("the DNS server answers", lambda: self.dns.answers(DNS, 53))

    def publish_tlsa(self, usage, data):
        self.tlsa = f"_25._tcp.mx1.dane.test. IN TLSA {usage} 1 1 {hashlib.sha256(data).hexdigest()}"
        self.publish()
        # What the box knows of before is forgotten after the five seconds the zone allows.
        self.restart_box()

    def dane_key(self):
        """The public key in the certificate of the DANE host."""
        pem = run("openssl", "x509", "-in", f"{self.work}/dane/cert.pem", "-noout", "-pubkey").stdout
        return subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem.encode(),
                              capture_output=True, check=True).stdout

    def start_exim(self, name):
        self.certificate(name, f"{self.work}/exim")
        # It starts itself again as its own user, who may not look into root's folders.
        program = f"{self.work}/exim4"
        if not os.path.exists(program):
            shutil.copy(EXIM_PROGRAM, program)
        uid = int(run("id", "-u", "Debian-exim").stdout)
        gid = int(run("id", "-g", "Debian-exim").stdout)
        for folder in ("spool", "mail"):
            os.makedirs(f"{self.work}/exim/{folder}", exist_ok=True)
        for folder in ("", "spool", "mail", "key.pem", "cert.pem"):
            os.chown(f"{self.work}/exim/{folder}", uid, gid)
        # In its namespace this stands in the place of /etc/exim4, which has to be there for that.
        os.makedirs("/etc/exim4", exist_ok=True)
        conf = f"/etc/netns/{self.exim.space}/exim4"
        os.makedirs(conf, exist_ok=True)
        with open(f"{conf}/exim4.conf", "w") as file:
            file.write(EXIM_CONF.format(work=self.work, exim=EXIM, program=program))
        self.mta = self.exim.start(program, "-bdf", "-q1m", log="exim.log")
        wait("Exim answers", lambda: self.exim.answers(EXIM, 25))

    def set_policy(self, mode, host):
        with open(f"{self.work}/policy.txt", "w") as file:
            file.write(f"version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 86400\r\n")

    def serve_policy(self):
        self.certificate("mta-sts.sts.test", f"{self.work}/policy")
        with open(f"{self.work}/policy.py", "w") as file:
            file.write(POLICY_HOST)
        self.policy.start("python3", f"{self.work}/policy.py", f"{self.work}/policy.txt",
                          f"{self.work}/policy/cert.pem", f"{self.work}/policy/key.pem", POLICY,
                          log="policy.log")
        wait("the policy host answers", lambda: self.policy.answers(POLICY, 443))

    def start_box(self):
        self.service = self.box.start(self.pillarbox, "run", "--data", self.data, "--board", "none",
                                      log="box.log")
        wait("the box answers", lambda: self.dane.answers(BOX, 25) and self.dane.answers(BOX, 465))

    def restart_box(self):
        self.box.kill(self.service)
        self.start_box()

    def cli(self, *args):
        return self.box.run(self.pillarbox, *args, "--data", self.data)

    def queue(self):
        return json.loads(self.cli("queue", "list", "--json").stdout)

    def submit(self, recipient, subject, *more, check=True):
        return self.box.run(
            "swaks", "--server", BOX, "--port", "465", "--tls-on-connect", "--auth", "PLAIN",
            "--auth-user", "alice@home.test", "--auth-password", PASSWORD, "--from", "alice@home.test",
            "--to", recipient, "--header", f"Subject: {subject}", "--body", "Greetings.\n", *more, check=check)

    def exim_inbox(self):
        folder = f"{self.work}/exim/mail/new"
        if not os.path.isdir(folder):
            return []
        return [open(os.path.join(folder, name), encoding="latin-1").read()
                for name in sorted(os.listdir(folder))]

    def wait_exim(self, text):
        return wait(f"a message with {text!r} at Exim's",
                    lambda: next((m for m in self.exim_inbox() if text in m), None), 60)

    def waits_because(self, words):
        def why():
            said = [said for item in self.queue() for _, said in item["recipients"]]
            return next((one for one in said if words in one), None)
        return wait(f"a message that waits because of {words!r}", why, 60)

    def drop_all(self):
        for item in self.queue():
            self.cli("queue", "drop", str(item["id"]))


def test_dane_with_the_right_key_is_delivered(lab):
    lab.publish_tlsa(3, lab.dane_key())
    lab.submit("stranger@dane.test", "dane-right")
    assert b"using TLS" in lab.stranger.wait_for("dane-right")


def test_dane_with_another_key_waits(lab):
    lab.publish_tlsa(3, b"another key")
    lab.submit("stranger@dane.test", "dane-wrong")
    lab.waits_because("(DANE)")
    lab.publish_tlsa(3, lab.dane_key())
    lab.cli("queue", "retry")
    lab.stranger.wait_for("dane-wrong")


def test_dane_counts_for_a_host_that_is_an_alias(lab):
    """The records stand where the alias leads (RFC 7672, 2.2.2)."""
    lab.publish_tlsa(3, b"another key")
    lab.submit("stranger@alias.test", "dane-alias")
    lab.waits_because("(DANE)")
    lab.publish_tlsa(3, lab.dane_key())
    lab.cli("queue", "retry")
    lab.stranger.wait_for("dane-alias")


def test_a_sender_may_want_arrival_more_than_dane(lab):
    lab.publish_tlsa(3, b"another key")
    lab.submit("stranger@dane.test", "tls-waived", "--header", "TLS-Required: No")
    assert b"using TLS" in lab.stranger.wait_for("tls-waived")


def test_dane_means_nothing_once_the_proof_is_broken(lab):
    """Signatures of another key: the answer may be forged, so mail waits."""
    lab.publish_tlsa(3, lab.dane_key())
    signed = f"{lab.work}/root.signed"
    with open(signed) as file:
        text = file.read()
    right = next(line for line in text.splitlines() if "RRSIG" in line and "TLSA" in line)
    wrong = right[:-60] + right[-60:-20].swapcase() + right[-20:]
    lab.dns.kill(lab.named)
    with open(signed, "w") as file:
        file.write(text.replace(right, wrong))
    lab.named = lab.dns.start("nsd", "-d", "-c", f"{lab.work}/nsd.conf", log="nsd.log")
    wait("the DNS server answers", lambda: lab.dns.answers(DNS, 53))
    lab.restart_box()
    lab.submit("stranger@dane.test", "dane-forged")
    lab.waits_because("DNSSEC")
    lab.drop_all()
    lab.publish()
    lab.restart_box()


def test_mta_sts_is_enforced(lab):
    lab.submit("bob@sts.test", "sts-right")
    lab.wait_exim("sts-right")
    # The same host with a certificate for another name, once the connection of before is gone.
    time.sleep(10)
    lab.exim.kill(lab.mta)
    lab.start_exim("other.sts.test")
    lab.submit("bob@sts.test", "sts-wrong-name")
    lab.waits_because("(MTA-STS)")
    lab.exim.kill(lab.mta)
    lab.start_exim("mx.sts.test")
    lab.cli("queue", "retry")
    lab.wait_exim("sts-wrong-name")


def test_a_new_policy_is_fetched_when_its_id_changes(lab):
    lab.set_policy("enforce", "elsewhere.sts.test")
    lab.sts_id += 1
    lab.publish()
    lab.restart_box()
    lab.submit("bob@sts.test", "sts-new-policy")
    lab.waits_because("not in the policy")
    lab.set_policy("testing", "elsewhere.sts.test")
    lab.sts_id += 1
    lab.publish()
    lab.restart_box()
    lab.cli("queue", "retry")
    lab.wait_exim("sts-new-policy")


def test_a_domain_goes_by_the_relay_with_a_password(lab):
    lab.submit("someone@relayed.test", "by-relay")
    message = lab.wait_exim("by-relay")
    assert "someone@relayed.test" in message and "with esmtpsa" in message.lower(), message


def test_what_is_refused_for_the_address_goes_by_the_relay(lab):
    lab.submit("home@dane.test", "refused-here")
    message = lab.wait_exim("refused-here")
    assert "home@dane.test" in message, message
    wait("the queue is empty", lambda: lab.queue() == [])


def test_an_unknown_recipient_is_kept_back_until_lifted(lab):
    lab.submit("nobody@dane.test", "to-nobody")
    wait("a note about nobody", lambda: "nobody@dane.test" in lab.cli("queue", "ledger").stdout)
    said = lab.submit("nobody@dane.test", "again", check=False).stdout
    assert "550-5.1.1 Mail for nobody@dane.test was returned" in said and "queue lift" in said, said
    lab.cli("queue", "lift", "nobody@dane.test")
    lab.submit("nobody@dane.test", "once-more")


def test_a_forward_leaves_with_a_sender_of_ours_and_its_bounce_finds_back(lab):
    lab.cli("account", "alias", "add", "away@home.test", "bob@sts.test")
    lab.stranger.send("stranger@dane.test", "away@home.test",
                      "From: stranger@dane.test\nTo: away@home.test\nSubject: forwarded\n\nHi.\n")
    message = lab.wait_exim("Subject: forwarded")
    sender = message.split("Return-path: <")[1].split(">")[0]
    assert sender.startswith("SRS0=") and sender.endswith("@home.test"), message
    # As the host behind the alias would return it.
    lab.exim.run("swaks", "--server", BOX, "--from", "<>", "--to", sender,
                 "--header", "Subject: returned-to-sender", "--body", "no")
    lab.stranger.wait_for("returned-to-sender")
    forged = lab.exim.run("swaks", "--server", BOX, "--from", "<>", "--to",
                          "SRS0=aaaaaaaa=aa=dane.test=stranger@home.test", check=False).stdout
    assert " 550 5.1.1 " in forged, forged


def waiting(work, pillarbox):
    """What the queue held, now that the box is gone."""
    return run(pillarbox, "queue", "list", "--data", f"{work}/box", check=False).stdout


def main():
    pillarbox = os.path.abspath(sys.argv[1])
    work = tempfile.mkdtemp(prefix="pillarbox-lab-")
    os.chmod(work, 0o755)
    passed = 0
    try:
        with Net(work) as net:
            lab = Lab(net, work, pillarbox)
            lab.publish()
            lab.stranger.start()
            answers = f"{work}/answers.toml"
            with open(answers, "w") as file:
                file.write(ANSWERS.format(password=PASSWORD, dns=DNS, work=work))
            lab.box.run(pillarbox, "setup", "--data", lab.data, "--answers", answers)
            lab.start_box()
            wait("the stranger answers", lambda: lab.box.answers(DANE, 25))
            for name, test in list(globals().items()):
                if name.startswith("test_"):
                    test(lab)
                    passed += 1
                    print(f"  ok  {name.removeprefix('test_').replace('_', ' ')}", flush=True)
        print(f"lab, the way out: {passed} passed")
        shutil.rmtree(work)
    except BaseException:
        print(f"lab: the queue held {waiting(work, pillarbox)}")
        for log in ("box.log", "postfix.log", "nsd.log", "exim.log", "exim/mainlog", "policy.log"):
            if os.path.exists(f"{work}/{log}"):
                print(f"--- {log}", run("tail", "-30", f"{work}/{log}").stdout, sep="\n")
        print(f"lab: the rest of the logs is in {work}")
        raise


if __name__ == "__main__":
    main()
