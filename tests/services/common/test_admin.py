"""The admin port: its three pages, and what it does with anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.admin import MAX_HEADERS, AdminServer, Health


@pytest.fixture
async def admin() -> AsyncIterator[tuple[AdminServer, Health]]:
    health = Health()
    server = AdminServer(health, lambda: b"metric 1\n")
    await server.start("127.0.0.1", 0)
    yield server, health
    await server.close()


async def ask(server: AdminServer, request: bytes) -> tuple[int, bytes]:
    """Status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    response = await reader.read()
    writer.close()
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_the_pages(admin: tuple[AdminServer, Health]) -> None:
    server, _ = admin
    host = b"Host: x\r\n\r\n"
    assert await ask(server, b"GET /healthz HTTP/1.1\r\n" + host) == (200, b"ok\n")
    assert await ask(server, b"\r\nGET /readyz HTTP/1.1\r\n" + host) == (200, b"ok\n")
    assert await ask(server, b"GET /metrics?x=1 HTTP/1.1\r\n" + host) == (200, b"metric 1\n")
    assert await ask(server, b"HEAD /metrics HTTP/1.1\r\n" + host) == (200, b"")


async def test_readiness_names_what_is_missing(admin: tuple[AdminServer, Health]) -> None:
    server, health = admin

    async def slow() -> bool:
        return False

    def broken() -> bool:
        raise ValueError

    health.checks.update(store=lambda: True, directory=slow, disk=broken)
    request = b"GET /readyz HTTP/1.1\r\n\r\n"
    assert await ask(server, request) == (503, b"directory: not ready\ndisk: not ready\n")
    health.checks.clear()
    health.draining = True
    assert await ask(server, request) == (503, b"draining: not ready\n")
    assert (await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /secrets HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics\r\n\r\n", 400),
        (b"EHLO x\r\n\r\n", 400),
        (b"\xff\x00\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEADERS, 431),
    ],
)
async def test_anything_else_is_refused(admin: tuple[AdminServer, Health], request_bytes: bytes, status: int) -> None:
    assert (await ask(admin[0], request_bytes))[0] == status


async def test_a_page_that_fails_says_nothing_of_why() -> None:
    server = AdminServer(Health(), lambda: bytes("secret", "ascii", "x", "y"))  # type: ignore[call-overload]
    await server.start("127.0.0.1", 0)
    status, body = await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert (status, body) == (500, b"failed\n")
    await server.close()
