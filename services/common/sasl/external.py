"""EXTERNAL (RFC 4422 appendix A): the client is who its TLS certificate says."""

from __future__ import annotations

from services.common.sasl.steps import CertificateWanted, Challenge, Proved, Rejected, Run, Situation, name_of


def external(initial: bytes | None, situation: Situation) -> Run:
    """The response is empty, or the identity to act as."""
    authorize_as = name_of((yield Challenge(b"")) if initial is None else initial)
    name = yield CertificateWanted(authorize_as)
    yield Rejected(authorize_as, "the certificate means no account") if name is None else Proved(name, authorize_as)
