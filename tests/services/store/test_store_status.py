"""Reasons on the wire and back; roles; the tables against the contract."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from mailproto.store.v1 import errors_pb2, exchange_pb2
from services.common.errors import Reason, StoreError
from services.common.storeclient.status import CODES, DOMAIN, error_of, status_of
from services.store.roles import ROLES, role_of_names
from services.store.servicers.exchange import EXCHANGED
from services.store.servicers.registration import TABLES
from services.store.status import refusal


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_survives_the_wire(reason: Reason) -> None:
    status = status_pb2.Status.FromString(status_of(StoreError(reason, {"limit": "7"})).SerializeToString())
    back = error_of(status)
    assert (back.reason, back.metadata) == (reason, {"limit": "7"})
    assert status.code == CODES[reason].value[0]
    assert CODES[reason] is not grpc.StatusCode.OK


def test_the_contract_names_the_same_reasons() -> None:
    names = set(errors_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    assert names == set(Reason.__members__) == {reason.name for reason in CODES}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.UNAVAILABLE),
        (grpc.StatusCode.CANCELLED, Reason.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED),
        (grpc.StatusCode.UNAUTHENTICATED, Reason.PERMISSION_DENIED),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.INTERNAL),
        (grpc.StatusCode.UNKNOWN, Reason.INTERNAL),
    ],
)
def test_a_code_without_details_stands_for_a_reason(code: grpc.StatusCode, reason: Reason) -> None:
    assert error_of(status_pb2.Status(code=code.value[0], message="MAILBOX_EXISTS")).reason is reason


def test_details_of_another_domain_count_for_nothing() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.ABORTED.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="OVER_QUOTA", domain="example.org"))
    assert error_of(status).reason is Reason.INTERNAL
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="OVER_QUOTA", domain=DOMAIN))
    assert error_of(status).reason is Reason.OVER_QUOTA


def test_what_is_not_a_refusal_is_logged_and_told_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    told = refusal("GetMailbox", ValueError("secret"))
    assert (told.reason, dict(told.metadata)) == (Reason.INTERNAL, {})
    assert "secret" in caplog.text
    assert refusal("GetMailbox", StoreError(Reason.OVER_QUOTA)).reason is Reason.OVER_QUOTA


def _methods() -> dict[str, set[str]]:
    return {
        service.name: {method.name for method in service.methods}
        for file, _ in TABLES
        for service in file.DESCRIPTOR.services_by_name.values()
    }


def test_every_method_of_the_contract_has_a_handler_and_no_handler_is_left_over() -> None:
    for file, table in TABLES:
        (service,) = file.DESCRIPTOR.services_by_name.values()
        assert set(table) == {method.name for method in service.methods}


def test_the_roles_name_methods_that_exist_and_leave_none_out() -> None:
    known = set[str]().union(*_methods().values())
    assert set[str]().union(*ROLES.values()) == known


def test_what_each_front_end_must_not_do() -> None:
    assert not ROLES["pop"] & {"AppendMessages", "UploadMessages", "ModifyFlags", "DeliverMessage", "DeleteAccount"}
    assert not ROLES["lmtp"] & {"ReadBodies", "SyncMailbox", "OpenMaildrop", "AppendMessages", "WatchChanges"}
    assert not ROLES["imap"] & {"DeliverMessage", "OpenMaildrop", "DeleteAccount", "KickSessions", "BackupStore"}


def test_every_request_of_exchange_has_a_method_and_a_reply() -> None:
    requests = {field.name for field in exchange_pb2.Call.DESCRIPTOR.oneofs_by_name["request"].fields}
    replies = {field.name for field in exchange_pb2.Answer.DESCRIPTOR.oneofs_by_name["reply"].fields}
    assert set(EXCHANGED) == requests == replies - {"status"}


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (["imap"], "imap"),
        (["imap.mail.svc", "imap.mail.svc.cluster.local", "imap"], "imap"),
        (["LMTP.example.org"], "lmtp"),
        (["imap", "pop.example.org"], ""),
        (["webmail"], ""),
        (["admin.smith@example.com"], ""),
        (["imap", "admin.smith@example.com"], "imap"),
        (["admin.user:1/x"], ""),
        (["imap.*"], ""),
        (["example.imap"], ""),
        ([], ""),
    ],
)
def test_the_role_of_a_certificate(names: list[str], role: str) -> None:
    assert role_of_names(names) == role
