"""The files that `peers` gives to each server it measures: configuration, start and stop scripts, and
the page that tells the harness about it. Everything durable lies below the measured folder; sockets,
logs and configuration do not."""
import json
import os
import stat
import subprocess

from box import ANSWERS, empty_dns, free_ports, unit_environment

NAMES = ["pillarbox", "postfix-dovecot-maildir", "postfix-dovecot-mdbox"]
USERS = [f"u{number}@bench.test" for number in range(1, 7)]
PASSWORD = "secret-long-enough"
# No account of this system: only the files in the measured folder belong to it.
MAIL_ID = 21999
PORTS = ["smtp", "submissions", "imap", "imaps", "pop3", "pop3s"]


def write(run, binary, names):
    """Writes the files of these servers below `run`; gives the pages for the harness."""
    certificate(run)
    pages = []
    for name in names:
        folder = f"{run}/{name}"
        os.makedirs(f"{folder}/run")
        ports = dict(zip(PORTS, free_ports(len(PORTS))))
        page = {
            "name": name, "data": f"{folder}/data", "pidfiles": [f"{folder}/pid"], **ports,
            "users": [{"login": user, "address": user, "password": PASSWORD} for user in USERS],
            "start": f"{folder}/start", "stop": f"{folder}/stop",
        }
        if name == "pillarbox":
            pillarbox(folder, binary, ports)
        else:
            postfix(folder, run, ports, page)
            dovecot(folder, run, ports, mdbox=name.endswith("mdbox"))
        pages.append(f"{folder}/page.json")
        save(pages[-1], json.dumps(page, indent=1))
    return pages


def save(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def script(path, text):
    save(path, "#!/bin/bash\nset -euo pipefail\n" + text, 0o755)


def certificate(run):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", f"{run}/key.pem", "-out", f"{run}/certificate.pem", "-days", "30",
         "-subj", "/CN=mail.bench.test"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(f"{run}/key.pem", stat.S_IRUSR)


# --- Pillarbox -------------------------------------------------------------------------------------


def pillarbox(folder, binary, ports):
    unused = free_ports(1)[0]
    dns = empty_dns.start()
    answers = ANSWERS.format(domain="bench.test", owner=USERS[0], password=PASSWORD, dns=dns)
    for name, port in ports.items():
        answers += f'{name} = ["127.0.0.1:{port}"]\n'
    answers += f'submission = []\nhttp = []\nhttps = ["127.0.0.1:{unused}"]\n'
    answers += "[limits]\nper_address = 1000\n"
    save(f"{folder}/answers.toml", answers)
    others = "\n".join(
        f"echo '{PASSWORD}' | {binary} account add {user} --data \"$data\" --password-stdin"
        for user in USERS[1:])
    environment = " ".join(f"{name}={value}" for name, value in unit_environment().items())
    script(f"{folder}/start", f"""\
data=$MAILBENCH_DATA/box
{binary} setup --data "$data" --answers {folder}/answers.toml
{others}
env {environment} {binary} run --data "$data" --board none >>{folder}/log 2>&1 &
echo $! >{folder}/pid
""")
    script(f"{folder}/stop", f"""\
pid=$(cat {folder}/pid)
kill "$pid"
while [ -e "/proc/$pid" ]; do sleep 0.1; done
""")


# --- Postfix + Dovecot -----------------------------------------------------------------------------


def postfix(folder, run, ports, page):
    """Its defaults, but for what belongs to having an instance of one's own, and for what strangers
    from many loopback addresses need."""
    page["pidfiles"] = [f"{folder}/postfix.pid", f"{folder}/run/master.pid"]
    os.makedirs(f"{folder}/postfix")
    os.makedirs(f"{folder}/postfix-data")
    save(f"{folder}/postfix/users", "".join(f"{user} x\n" for user in USERS))
    save(f"{folder}/postfix/main.cf", f"""\
compatibility_level = 3.6
queue_directory = {folder}/data/spool
data_directory = {folder}/postfix-data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.bench.test
mydestination =
mynetworks = 192.0.2.1/32
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = bench.test
virtual_mailbox_maps = texthash:{folder}/postfix/users
virtual_transport = lmtp:unix:{folder}/run/lmtp
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/run/postfix-auth
smtpd_client_connection_count_limit = 0
message_size_limit = 60000000
mailbox_size_limit = 0
smtpd_tls_cert_file = {run}/certificate.pem
smtpd_tls_key_file = {run}/key.pem
smtpd_tls_security_level = may
""")
    # Debian's services, but the port for strangers: ours is another, and there is no chroot.
    smtp, submissions = (f"127.0.0.1:{ports[name]}" for name in ("smtp", "submissions"))
    with open("/usr/share/postfix/master.cf.dist") as file:
        save(f"{folder}/postfix/master.cf", file.read())
    for change in (["-F", "*/*/chroot=n"], ["-MX", "smtp/inet"],
                   ["-Me", f"{smtp}/inet={smtp} inet n - n - - smtpd"],
                   ["-Me", f"{submissions}/inet={submissions} inet n - n - - smtpd"],
                   ["-P", f"{submissions}/inet/smtpd_tls_wrappermode=yes",
                    f"{submissions}/inet/smtpd_sasl_auth_enable=yes"]):
        subprocess.run(["postconf", "-c", f"{folder}/postfix", *change], check=True)
    script(f"{folder}/start", f"""\
mkdir -p {folder}/data/spool {folder}/data/mail
chown {MAIL_ID}:{MAIL_ID} {folder}/data/mail
chown postfix {folder}/postfix-data
: >{folder}/log
chmod 666 {folder}/log
dovecot -c {folder}/dovecot.conf
postfix -c {folder}/postfix start
cp {folder}/data/spool/pid/master.pid {folder}/postfix.pid
""")
    script(f"{folder}/stop", f"""\
postfix -c {folder}/postfix stop || true
doveadm -c {folder}/dovecot.conf stop
for pid in $(cat {folder}/postfix.pid {folder}/run/master.pid 2>/dev/null); do
    while [ -e "/proc/$pid" ]; do sleep 0.1; done
done
""")


def dovecot(folder, run, ports, mdbox):
    """Its defaults for syncing. As mdbox with zstd and hibernation it is the frugal one."""
    save(f"{folder}/users", "".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in USERS))
    if mdbox:
        kind = f"""\
mail_location = mdbox:{folder}/data/mail/%n
mail_plugins = zlib
plugin {{
  zlib_save = zstd
}}
imap_hibernate_timeout = 5s
service imap {{
  extra_groups = dovecot
  unix_listener imap-master {{
    user = dovecot
  }}
}}
service imap-hibernate {{
  unix_listener imap-hibernate {{
    mode = 0666
  }}
}}
"""
    else:
        kind = f"mail_location = maildir:{folder}/data/mail/%n\n"
    listeners = "".join(f"""\
service {protocol}-login {{
  service_count = 0
  client_limit = 2000
  inet_listener {protocol} {{
    port = {ports[protocol]}
  }}
  inet_listener {protocol}s {{
    port = {ports[protocol + "s"]}
    ssl = yes
  }}
}}
service {protocol} {{
  process_limit = 2000
}}
""" for protocol in ("imap", "pop3"))
    save(f"{folder}/dovecot.conf", f"""\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap lmtp pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{run}/certificate.pem
ssl_key = <{run}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_max_userip_connections = 2000
first_valid_uid = {MAIL_ID}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={MAIL_ID} gid={MAIL_ID} home={folder}/data/mail/%n
}}
service anvil {{
  client_limit = 8000
}}
service auth {{
  client_limit = 8000
  unix_listener postfix-auth {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
{listeners}{kind}""")
