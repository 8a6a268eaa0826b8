"""Other people's cases for SPF and ARC, and other people's signatures, as one file that
`cargo test --lib policy::tests::suites` reads from PILLARBOX_CASES; and other people's verifiers
for the letters that the same tests write to the folder PILLARBOX_LETTERS.

  python3 tests/suites.py [--spf rfc7208-tests.yml] [--arc arc-draft-validation-tests.yml] [--dkimpy] > cases.json
  python3 tests/suites.py --verify FOLDER

The first two are the test suites of openspf.org (in the source package of pyspf) and of
github.com/ValiMail/arc_test_suite; --dkimpy signs messages with dkimpy.
--verify asks dkimpy and opendkim. Needs PyYAML, dkimpy, PyNaCl, and Debian's opendkim.
"""
import argparse
import base64
import json
import pathlib
import re
import subprocess
import sys
import tempfile

PEER = {"ip": "192.0.2.1", "helo": "client", "mail_from": ""}

# Their zones have names that the name server of the tests cannot hold.
ODD_NAMES = {"a-colon-domain", "a-colon-domain-ip4mapped", "mx-colon-domain",
             "mx-colon-domain-ip4mapped", "macro-mania-in-domain"}


def quoted(value):
    """One string of a TXT record in a zone file."""
    out = "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\{ord(c):03}" for c in value)
    return f'"{out}"'


def text(value):
    """A TXT record, cut into strings as long as they may be."""
    return " ".join(quoted(value[i:i + 250]) for i in range(0, max(len(value), 1), 250))


def spf(path):
    import yaml
    with open(path, encoding="utf-8") as file:
        suites = list(yaml.safe_load_all(file))
    for suite in suites:
        zone, silent = spf_zone(suite["zonedata"])
        for name, test in suite["tests"].items():
            if name in ODD_NAMES:
                continue
            results = test["result"] if isinstance(test["result"], list) else [test["result"]]
            yield {
                "name": f"spf {suite['description']}: {name}",
                "zone": zone, "silent": silent, "message": None,
                "ip": test["host"], "helo": test["helo"], "mail_from": test["mailfrom"],
                "want": [f"spf={result}" for result in results],
            }


def spf_zone(data):
    lines, silent = [], []
    for name, records in data.items():
        # Names that no host has cannot be asked for.
        if not re.fullmatch(r"([\w-]{1,63}\.)*[\w-]{1,63}", name):
            continue
        own = {kind for record in records if isinstance(record, dict) for kind in record}
        answered = any(isinstance(record, dict) and record.get("TXT", "NONE") != "NONE"
                       for record in records)
        for record in records:
            if record == "TIMEOUT":
                # Where TXT is given, it was the old type SPF that went unanswered.
                if not answered:
                    silent.append(name)
                continue
            (kind, value), = record.items()
            if kind == "SPF" and "TXT" in own:
                continue  # The type is history; RFC 7208 knows TXT alone.
            if kind in ("SPF", "TXT"):
                strings = value if isinstance(value, list) else [value]
                if strings == ["NONE"] or not strings:
                    continue
                lines.append(f"{name}. TXT {' '.join(text(string) for string in strings)}")
            elif kind == "MX":
                lines.append(f"{name}. MX {value[0]} {value[1].rstrip('.')}.")
            elif kind in ("CNAME", "PTR"):
                lines.append(f"{name}. {kind} {value.rstrip('.')}.")
            else:
                lines.append(f"{name}. {kind} {value}")
    return "\n".join(lines) + "\n", silent


def arc(path):
    import yaml
    with open(path, encoding="utf-8") as file:
        suites = list(yaml.safe_load_all(file))
    for suite in suites:
        records = (suite.get("txt-records") or {}).items()
        zone = "".join(f"{name}. TXT {text(value)}\n" for name, value in records)
        for name, test in suite["tests"].items():
            # Where the suite leaves the result open, both are right.
            verdict = test["cv"].lower()
            yield {
                "name": f"arc {suite['description']}: {name}",
                "zone": zone, "silent": [], **PEER,
                "message": test["message"].replace("\n", "\r\n"),
                "want": [f"arc={verdict}"] if verdict else ["arc=fail", "arc=none"],
            }


def dkimpy():
    import dkim
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from nacl.signing import SigningKey
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption())
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    seed = SigningKey.generate()
    zone = (
        f"rsa._domainkey.far.test. TXT {text('v=DKIM1; p=' + base64.b64encode(public).decode())}\n"
        f"ed._domainkey.far.test. TXT {text('v=DKIM1; k=ed25519; p=' + base64.b64encode(bytes(seed.verify_key)).decode())}\n")
    head = b"From: Ann <ann@far.test>\r\nTo: bob@home.test\r\nSubject:  Odd \r\n\t folds  \r\nX: 1\r\nX: 2\r\n"
    bodies = {
        "plain": b"Hello\r\nthere\r\n", "empty": b"", "blank": b"\r\n\r\n", "no end": b"Hello",
        "spaces": b" a \t b \r\n \r\n\t\r\nc  \r\n", "trailing": b"Hello\r\n \r\n\t \r\n\r\n",
        "8bit": "Grüße\r\n".encode(), "long": b"x" * 9000 + b"\r\n" + b"y z\r\n" * 9000,
    }
    for title, body in bodies.items():
        for canon in ((a, b) for a in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")):
            for selector, key, kind in ((b"rsa", pem, b"rsa-sha256"),
                                        (b"ed", base64.b64encode(bytes(seed)), b"ed25519-sha256")):
                message = head + b"\r\n" + body
                field = dkim.sign(
                    message, selector, b"far.test", key, canonicalize=canon,
                    signature_algorithm=kind, include_headers=[b"from", b"subject", b"x", b"x", b"x"])
                case = f"dkimpy {title}, {kind.decode()}, {b'/'.join(canon).decode()}"
                for changed, want in ((field + message, "pass"), (field + message + b"!\r\n", "fail")):
                    yield {"name": case, "zone": zone, "silent": [], **PEER,
                           "message": changed.decode(), "want": [f"dkim={want}"]}
    message = head + b"\r\nHello\r\n"
    for links in range(1, 4):
        found = b"none" if links == 1 else b"arc=pass"
        sealed = dkim.arc_sign(
            b"Authentication-Results: far.test; " + found + b"\r\n" + message,
            b"rsa", b"far.test", pem, b"far.test", include_headers=[b"from", b"subject", b"to"])
        message = b"".join(sealed) + message
        yield {"name": f"dkimpy ARC with {links} links", "zone": zone, "silent": [], **PEER,
               "message": message.decode(), "want": ["arc=pass"]}


def verify(folder):
    """Both verifiers on every letter; a letter's name ends in the number of its ARC links."""
    import dkim
    keys = json.loads((folder / "keys.json").read_text())
    dns = lambda name, timeout=5: keys.get(name.decode().rstrip("."), "").encode() or None
    letters = sorted(folder.glob("*.eml"))
    for path in letters:
        message, links = path.read_bytes(), int(path.stem.split("-")[1])
        signatures = message.lower().split(b"\r\n\r\n")[0].count(b"dkim-signature: v=1")
        for number in range(signatures):
            assert dkim.DKIM(message).verify(number, dnsfunc=dns), f"dkimpy: {path}, signature {number}"
        assert signatures == 2, path
        if links:
            verdict, _, reason = dkim.arc_verify(message, dnsfunc=dns)
            assert verdict == b"pass", f"dkimpy: {path}: {verdict} {reason}"
        opendkim(path, keys)
    print(f"dkimpy and opendkim accept all {len(letters)} letters")


def opendkim(path, keys):
    """It knows no Ed25519, so the RSA signature alone is judged."""
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as table, \
            tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        table.writelines(f"{name} {value}\n" for name, value in keys.items())
        conf.write(f"Mode v\nTestPublicKeys {table.name}\n")
        table.flush()
        conf.flush()
        said = subprocess.run(["opendkim", "-x", conf.name, "-t", path],
                              capture_output=True, text=True, timeout=60)
        words = said.stdout + said.stderr
        assert "verification (s=pb1r" in words and "succeeded" in words, f"opendkim: {path}: {words}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--spf", metavar="YAML")
    parser.add_argument("--arc", metavar="YAML")
    parser.add_argument("--dkimpy", action="store_true")
    parser.add_argument("--verify", metavar="FOLDER", type=pathlib.Path)
    options = parser.parse_args()
    if options.verify:
        return verify(options.verify)
    cases = []
    if options.spf:
        cases += spf(options.spf)
    if options.arc:
        cases += arc(options.arc)
    if options.dkimpy:
        cases += dkimpy()
    json.dump(cases, sys.stdout)


if __name__ == "__main__":
    main()
