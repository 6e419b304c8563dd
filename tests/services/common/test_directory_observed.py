"""Questions to a directory are counted by what came of them, and its answers stay what they are."""

from __future__ import annotations

import pytest

from services.common.directory import (
    AddressUnknown,
    Directory,
    DirectoryUnavailable,
    Entry,
    LoginRefusal,
    LoginRefused,
)
from services.common.directory.observed import ObservedDirectory
from services.common.prometheus import PrometheusObserver

ENTRY = Entry("anna@example.com")


class Answering:
    """A directory with one answer."""

    generation = 7
    current = True
    ready = False

    def __init__(self, answer: Entry | Exception) -> None:
        self.answer = answer
        self.refreshed = 0

    async def authenticate(self, name: str, password: str) -> Entry:
        return await self.account(name)

    async def account(self, name: str) -> Entry:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def lookup(self, address: str) -> Entry:
        return await self.account(address)

    async def refresh(self) -> None:
        self.refreshed += 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (ENTRY, "ok"),
        (LoginRefused(LoginRefusal.CREDENTIALS), "refused"),
        (AddressUnknown(), "unknown"),
        (DirectoryUnavailable(), "unavailable"),
        (RuntimeError("a fault"), "error"),
    ],
)
async def test_an_answer_is_counted_and_handed_on(answer: Entry | Exception, result: str) -> None:
    observer = PrometheusObserver()
    directory: Directory = ObservedDirectory(Answering(answer), observer)
    questions = {
        "authenticate": directory.authenticate("anna", "secret"),
        "account": directory.account("anna"),
        "lookup": directory.lookup("anna"),
    }
    for question in questions.values():
        if isinstance(answer, Exception):
            with pytest.raises(type(answer)):
                await question
        else:
            assert await question is answer
    page = observer.page().decode()
    for operation in questions:
        assert f'mailkeep_directory_call_seconds_count{{operation="{operation}",result="{result}"}} 1.0' in page


async def test_its_state_shows_through() -> None:
    inner = Answering(ENTRY)
    directory = ObservedDirectory(inner, PrometheusObserver())
    assert (directory.generation, directory.current, directory.ready) == (7, True, False)
    await directory.refresh()
    assert inner.refreshed == 1
