"""An account logs in over IMAP and is told of a message that comes in by SMTP.

  python3 account.py PORTS ADDRESS PASSWORD

PORTS is the first of the box's ports on this computer, as in `pillarbox demo --ports`.
"""
import imaplib
import smtplib
import ssl
import sys
import time

PATIENCE = 20  # seconds


def main():
    base, address, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    # The box's certificate is its own.
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    with imaplib.IMAP4_SSL("127.0.0.1", base + 993, ssl_context=tls) as imap:
        imap.login(address, password)
        imap.select("INBOX")
        with smtplib.SMTP("127.0.0.1", base + 25) as smtp:
            smtp.sendmail("stranger@far.test", [address], (
                f"From: stranger@far.test\r\nTo: {address}\r\nSubject: welcome\r\n"
                "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <welcome@far.test>\r\n"
                "\r\nThe first letter.\r\n"))
        end = time.monotonic() + PATIENCE
        while imap.search(None, "SUBJECT", "welcome")[1][0] == b"":
            assert time.monotonic() < end, "the message did not come in"
            time.sleep(0.2)
            imap.noop()
        text = imap.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1]
        assert text == b"The first letter.\r\n", text
    print(f"{address} logs in and receives mail")


if __name__ == "__main__":
    main()
