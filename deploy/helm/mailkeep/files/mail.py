"""What `helm test` runs: deliver a message by LMTP, and read it by POP3 and IMAP."""

import contextlib
import imaplib
import os
import poplib
import smtplib
import ssl
import sys
import uuid
from email.message import EmailMessage

SITE, ADDRESS, PASSWORD = (os.environ[name] for name in ("SITE", "ADDRESS", "PASSWORD"))
# The certificate is for the name by which clients come, which is not the Service's.
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
MARK = uuid.uuid4().hex


def deliver() -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = f"helm test {MARK}", ADDRESS, ADDRESS
    message.set_content("Delivered by helm test.")
    with smtplib.LMTP(f"{SITE}-lmtp", int(os.environ.get("LMTP_PORT", "24"))) as lmtp:
        lmtp.send_message(message)


def found_by_pop() -> bool:
    pop = poplib.POP3(f"{SITE}-pop", int(os.environ.get("POP_PORT", "110")), timeout=60)
    with contextlib.suppress(poplib.error_proto):
        pop.stls(TLS)
    pop.user(ADDRESS)
    pop.pass_(PASSWORD)
    numbers = [int(line.split()[0]) for line in pop.list()[1]]
    seen = any(MARK.encode() in b"".join(pop.top(number, 0)[1]) for number in reversed(numbers[-50:]))
    pop.quit()
    return seen


def found_and_removed_by_imap() -> bool:
    imap = imaplib.IMAP4(f"{SITE}-imap", int(os.environ.get("IMAP_PORT", "143")), timeout=60)
    if "STARTTLS" in imap.capabilities:
        imap.starttls(TLS)
    imap.login(ADDRESS, PASSWORD)
    imap.select()
    found = imap.uid("SEARCH", "SUBJECT", MARK)[1][0].split()
    for uid in found:
        imap.uid("STORE", uid.decode(), "+FLAGS.SILENT", r"(\Deleted)")
    imap.expunge()
    imap.logout()
    return bool(found)


deliver()
for service, found in (("pop", found_by_pop), ("imap", found_and_removed_by_imap)):
    if not found():
        sys.exit(f"the message is not there by {service}")
    sys.stdout.write(f"read by {service}\n")
