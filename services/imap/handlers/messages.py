"""What the handlers of message commands have in common: the messages meant, and refusals."""

from __future__ import annotations

from typing import Final

from services.imap.commands.sequence import SequenceSet
from services.imap.session import Malformed, Refused, Session
from services.imap.view import OutOfRangeError, Spans, View

EXPUNGE_ISSUED: Final = b"EXPUNGEISSUED"
"""RFC 5530: another session expunged some of the messages; the client learns which by NOOP."""


def spans_of(view: View, messages: SequenceSet, *, uid: bool) -> Spans:
    """The places of the messages. UIDs that nothing has are passed over, sequence numbers are the client's mistake
    (RFC 9051 section 6.4.9).
    """
    try:
        return view.spans(messages, uid=uid)
    except OutOfRangeError:
        raise Malformed(b"No such message") from None


def writable(session: Session) -> View:
    """The open mailbox, where it may be changed. Raises Refused after EXAMINE."""
    view = session.selected.view
    if view.read_only:
        raise Refused(b"The mailbox is open for reading only", b"READ-ONLY")
    return view
