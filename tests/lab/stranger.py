"""The far side: a Postfix of Debian's with two MX addresses, mailboxes in Maildir."""
import os
import subprocess

from net import wait

MAIN = """\
compatibility_level = 3.6
queue_directory = {work}/queue
data_directory = {work}/data
mail_owner = postfix
myhostname = mx1.{domain}
mydestination =
inet_interfaces = {addresses}
inet_protocols = all
smtp_address_preference = ipv4
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {work}/mail
virtual_mailbox_maps = inline:{{ stranger@{domain}=stranger/, reports@{domain}=stranger/ }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_cert_file = {work}/cert.pem
smtpd_tls_key_file = {work}/key.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtp_tls_security_level = may
smtpd_relay_restrictions = reject_unauth_destination
maillog_file = /dev/stdout
maillog_file_prefixes = /dev/stdout, {work}
alias_maps =
alias_database =
minimal_backoff_time = 5s
maximal_backoff_time = 10s
queue_run_delay = 5s
{more}
"""

MASTER = """\
smtp      inet  n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Stranger:
    def __init__(self, host, work, addresses, domain="far.test", more=""):
        self.host, self.work = host, work
        postfix = subprocess.run(["id", "-u", "postfix"], capture_output=True, text=True, check=True)
        group = subprocess.run(["id", "-g", "postfix"], capture_output=True, text=True, check=True)
        uid, gid = postfix.stdout.strip(), group.stdout.strip()
        for folder in ("conf", "queue", "data", "mail"):
            os.makedirs(f"{work}/{folder}", exist_ok=True)
        for folder in ("data", "mail"):
            os.chown(f"{work}/{folder}", int(uid), int(gid))
        with open(f"{work}/conf/main.cf", "w") as conf:
            conf.write(MAIN.format(work=work, uid=uid, gid=gid, addresses=", ".join(addresses),
                                   domain=domain, more=more))
        with open(f"{work}/conf/master.cf", "w") as conf:
            conf.write(MASTER)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj",
             f"/CN=mx1.{domain}", "-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem"],
            check=True, capture_output=True)

    def start(self):
        self.process = self.host.start(
            "postfix", "-c", f"{self.work}/conf", "start-fg", log="postfix.log")

    def stop(self):
        self.host.run("postfix", "-c", f"{self.work}/conf", "stop", check=False)
        self.process.wait(30)

    def send(self, sender, recipient, message):
        """Hands a message to Postfix as a program on its machine would."""
        self.host.run("sendmail", "-C", f"{self.work}/conf", "-i", "-f", sender, recipient,
                      input=message)

    def inbox(self):
        folder = f"{self.work}/mail/stranger/new"
        if not os.path.isdir(folder):
            return []
        names = sorted(os.listdir(folder))
        return [open(os.path.join(folder, name), "rb").read() for name in names]

    def wait_for(self, text, seconds=60):
        def found():
            return next((m for m in self.inbox() if text.encode() in m), None)
        return wait(f"a message with {text!r} at the stranger's", found, seconds)
