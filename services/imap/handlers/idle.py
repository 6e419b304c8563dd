"""IDLE and CHECK (RFC 9051 section 6.3.13, RFC 3501 section 6.4.1)."""

from __future__ import annotations

from services.imap.commands import Check, Idle
from services.imap.session import Answer, Malformed, Selected, Session


def check(session: Session, command: Check) -> Answer:
    """Everything is on disk when it is acknowledged, so there is nothing to check."""
    return session.ok(b"CHECK completed")


def idle(session: Session, command: Idle) -> Answer:
    """No task, no timer: the mailbox wakes the connection when something changes, until the client says DONE."""
    wire, state = session.wire, session.state
    watchers = state.view.shared.watchers if isinstance(state, Selected) else set()

    def done(line: bytes) -> Answer:
        watchers.discard(wire.announce)
        if line.upper() != b"DONE":
            raise Malformed(b"Expected DONE")
        return session.ok(b"IDLE completed")

    watchers.add(wire.announce)
    return wire.ask(b"idling", done) + session.updates()
