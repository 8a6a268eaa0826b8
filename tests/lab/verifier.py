"""An independent verifier beside a stranger's Postfix: Debian's rspamd, as a milter that writes what it
finds about SPF, DKIM (RSA and Ed25519), DMARC and ARC into an Authentication-Results field. Nothing else
of it is switched on, and it refuses nothing.
"""
import os
import re

from net import run, wait

PORT = 11332

CONF = """\
options {{
  filters = "dkim";
  local_addrs = ["127.0.0.1"];
  pidfile = "{work}/pid";
  cache_file = "{work}/cache";
  dns {{ timeout = 5s; }}
}}
logging {{ type = "console"; level = "info"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}";
  milter = yes;
  count = 1;
  timeout = 60s;
  upstream "local" {{ self_scan = yes; default = yes; }}
}}
actions {{ reject = 1000; greylist = null; add_header = null; rewrite_subject = null; }}
modules {{ path = "/usr/share/rspamd/plugins/"; }}
dkim {{ }}
spf {{ }}
dmarc {{ }}
arc {{ sign_local = false; sign_authenticated = false; sign_inbound = false; }}
milter_headers {{
  use = ["authentication-results"];
  skip_local = false;
  skip_authenticated = false;
  authenticated_headers = ["authentication-results"];
}}
"""

# For the configuration of a Postfix.
MILTER = f"smtpd_milters = inet:127.0.0.1:{PORT}\nmilter_default_action = tempfail\n"


class Verifier:
    def __init__(self, host, work):
        os.makedirs(work)
        with open(f"{work}/rspamd.conf", "w") as conf:
            conf.write(CONF.format(work=work, port=PORT))
        run("chown", "-R", "_rspamd:_rspamd", work)
        host.start("rspamd", "-c", f"{work}/rspamd.conf", f"--var=DBDIR={work}", f"--var=RUNDIR={work}",
                   "-f", "-u", "_rspamd", "-g", "_rspamd", log="rspamd.log")
        wait("rspamd answers", lambda: host.answers("127.0.0.1", PORT), 90)


def findings(message, by):
    """What the verifier of this host found: each word with what it is about, such as
    ("dkim=pass", "header.d=home.test header.s=pb1r")."""
    header = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0].decode("latin-1")
    lines = re.sub(r"\r?\n[ \t]+", " ", header).splitlines()
    name, own = "authentication-results:", by.lower()
    fields = [line[len(name):].strip() for line in lines if line.lower().startswith(name)]
    fields = [field for field in fields if field.lower().startswith(own)]
    assert fields, f"{by} found nothing:\n{header}"
    found = [part.strip().split(None, 1) for part in fields[0].split(";")[1:] if part.strip()]
    return [(part[0], part[1] if len(part) > 1 else "") for part in found]
