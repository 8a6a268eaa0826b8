"""Fills a box in use: junk comes in, a report, and mail that cannot leave yet.

  python3 letters.py PORTS ADDRESS PASSWORD FULL

PORTS is the first of the box's ports on this computer, as in `pillarbox demo --ports`. ADDRESS is
its owner's; FULL is an address elsewhere whose mailbox is full.
"""
import datetime
import gzip
import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

NOW = datetime.datetime.now(datetime.timezone.utc)


def main():
    base, owner, password, full = int(sys.argv[1]), *sys.argv[2:5]
    domain = owner.split("@")[1]
    with smtplib.SMTP("127.0.0.1", base + 25) as smtp:
        for message in [*junk(owner), close(owner), report(domain)]:
            smtp.send_message(message)
    # The box's certificate is its own.
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP_SSL("127.0.0.1", base + 465, context=tls) as smtp:
        smtp.login(owner, password)
        smtp.send_message(letter(owner, full, "A letter that waits"))
    print(f"{owner} has junk, a report, and a letter that waits")


def letter(sender, to, subject):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"], message["Message-ID"] = format_datetime(NOW), make_msgid()
    message.set_content("See you on Monday.\r\n")
    return message


def junk(to):
    """A program, and a name that wants to leave its line."""
    for sender, subject in [
        ("\"Your parcel service\" <parcel@far.test>", "Your parcel could not be delivered"),
        ("\"<script>alert(1)</script>\" <x@far.test>", "=?utf-8?q?=E2=80=AE<b>EASY_MONEY</b>?="),
        ("winner@far.test", "W" * 200),
    ]:
        message = letter(sender, to, subject)
        message.add_attachment(b"MZ", maintype="application", subtype="octet-stream",
                               filename="label.pdf.exe")
        yield message


def close(to):
    message = letter("shop@far.test", to, "EVERYTHING MUST GO")
    del message["Message-ID"]
    return message


def report(domain):
    """An aggregate report as mail providers send it (RFC 9990)."""
    end = int(NOW.timestamp()) - 3600
    rows = "".join(
        f"<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated>"
        f"<disposition>{disposition}</disposition><dkim>{result}</dkim><spf>{result}</spf>"
        f"</policy_evaluated></row><identifiers><header_from>{domain}</header_from></identifiers>"
        "<auth_results/></record>"
        for source, count, disposition, result in [
            ("203.0.113.25", 42, "none", "pass"),
            ("198.51.100.7", 5, "reject", "fail"),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", 1, "none", "fail"),
        ])
    xml = (
        "<feedback><report_metadata><org_name>Big Mail</org_name><email>dmarc@big.test</email>"
        f"<report_id>1</report_id><date_range><begin>{end - 86399}</begin><end>{end}</end>"
        f"</date_range></report_metadata><policy_published><domain>{domain}</domain><p>reject</p>"
        f"</policy_published>{rows}</feedback>")
    message = letter("dmarc@big.test", f"postmaster@{domain}", f"Report domain: {domain}")
    message.add_attachment(gzip.compress(xml.encode()), maintype="application", subtype="gzip",
                           filename=f"big.test!{domain}!{end - 86399}!{end}.xml.gz")
    return message


if __name__ == "__main__":
    main()
