"""Which ways to log in are open on which connection, by the options."""

from __future__ import annotations

from base64 import b64encode

import pytest

from services.common.accessoptions import AccessOptions
from services.common.authentication import Authentication
from services.common.badguys import BadGuys
from services.common.directory import Entry, LoginRefusal, LoginRefused
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration, DirectoryOptions, ImapOptions, PopOptions
from services.common.peer import Peer
from services.common.sasl.scram import make_secret
from services.common.sasl.steps import Challenge
from services.common.sasloptions import SaslOptions
from tests.support.people import PASSWORD, People
from tests.support.scramclient import ScramClient

ANNA = "anna@example.com"
FAR = Peer("192.0.2.1")
NEAR = Peer("127.0.0.1", local=True)
WEAK = Peer("192.0.2.1", tls=True, cipherbits=112)
STRONG = Peer("192.0.2.1", tls=True, cipherbits=256)
PROXIED = Peer("192.0.2.1", tls=True, proxied_tls=True)
PROXIED_WEAK = Peer("192.0.2.1", tls=True, proxied_tls=True, cipherbits=112)


def made(
    bits: int = 128, *, local: bool = True, separator: str = "@", mech_list: tuple[str, ...] = ()
) -> Authentication:
    configuration = Configuration(
        data="",
        imap=ImapOptions(plaintextmincipher=bits),
        pop=PopOptions(plaintextmincipher=0),
        directory=DirectoryOptions(faildelay=0, loginseparator=separator),
        sasl=SaslOptions(localplaintext=local, mech_list=mech_list),
    )
    live = Live(configuration)
    return Authentication("imap", Login(People({ANNA: PASSWORD}), live.part(lambda value: value.directory)), live)


@pytest.mark.parametrize(
    ("bits", "open_to"),
    [
        (-1, []),
        (0, [FAR, NEAR, WEAK, STRONG, PROXIED, PROXIED_WEAK]),
        (1, [NEAR, WEAK, STRONG, PROXIED, PROXIED_WEAK]),
        (128, [NEAR, STRONG, PROXIED]),
        (257, [NEAR, PROXIED]),
    ],
)
def test_where_passwords_are_taken(bits: int, open_to: list[Peer]) -> None:
    peers = [FAR, NEAR, WEAK, STRONG, PROXIED, PROXIED_WEAK]
    assert [peer for peer in peers if made(bits).takes_passwords(peer)] == open_to


def test_a_client_on_this_machine_needs_tls_where_the_option_says_so() -> None:
    authentication = made(128, local=False)
    assert not authentication.takes_passwords(NEAR)
    assert authentication.takes_passwords(Peer("127.0.0.1", local=True, tls=True, cipherbits=128))


def test_a_mechanism_that_sends_the_password_is_refused_with_the_reason() -> None:
    assert made().mechanisms(FAR) == ()
    with pytest.raises(LoginRefused) as caught:
        made().mechanism("PLAIN", FAR)
    assert caught.value.kind is LoginRefusal.PLAINTEXT
    assert made().mechanism("PLAIN", STRONG) is not None


def test_a_mechanism_that_the_list_leaves_out_is_as_one_that_does_not_exist() -> None:
    authentication = made(mech_list=("PLAIN",))
    assert authentication.mechanisms(STRONG) == ("PLAIN",)
    assert authentication.mechanism("LOGIN", STRONG) is None
    assert authentication.mechanism("GSSAPI", FAR) is None


async def test_a_name_is_split_where_the_separator_says() -> None:
    authentication = made(separator="@+")
    for name in ("anna+example.com", "Anna+EXAMPLE.com", ANNA):
        credentials = authentication.prepared(name, PASSWORD)
        assert (await authentication.finish(credentials, STRONG)).entry.account == ANNA
        assert authentication.cached(credentials, STRONG) is not None
    with pytest.raises(LoginRefused):
        await made().finish(authentication.prepared("anna+example.com", PASSWORD), STRONG)


class Asked(People):
    """People that count who is asked for without a password."""

    async def account(self, name: str) -> Entry:
        """See `Directory.account`."""
        names.append(name)
        return await super().account(name)


names: list[str] = []


async def scram(authentication: Authentication, password: str, peer: Peer) -> Entry:
    """A login by SCRAM-SHA-256."""
    mechanism = authentication.mechanism("SCRAM-SHA-256", peer)
    assert mechanism is not None
    client = ScramClient(ANNA, password)
    exchange = authentication.exchange(mechanism, peer, dict)
    step = await authentication.settle(exchange, exchange.begin(b64encode(client.first())), peer)
    assert isinstance(step, Challenge)
    step = await authentication.settle(exchange, exchange.respond(b64encode(client.final(step.data))), peer)
    if isinstance(step, Challenge):
        step = await authentication.settle(exchange, exchange.respond(b""), peer)
    assert not isinstance(step, Challenge)
    return (await authentication.finish(step, peer)).entry


def scramming() -> tuple[Authentication, Asked, BadGuys]:
    names.clear()
    secret = f"SCRAM-SHA-256${make_secret(PASSWORD, 4096)}"
    people = Asked({ANNA: PASSWORD}, secrets={ANNA: (secret,)})
    live = Live(Configuration(data="", directory=DirectoryOptions(faildelay=0), sasl=SaslOptions(scram=True)))
    badguys = BadGuys(Live(AccessOptions(banfailures=2)))
    login = Login(people, live.part(lambda value: value.directory), badguys=badguys)
    return Authentication("imap", login, live), people, badguys


async def test_scram_asks_the_directory_once_and_again_after_a_change() -> None:
    authentication, people, _ = scramming()
    assert (await scram(authentication, PASSWORD, STRONG)).account == ANNA
    assert (await scram(authentication, PASSWORD, STRONG)).account == ANNA
    assert names == [ANNA]
    people.generation += 1
    assert (await scram(authentication, PASSWORD, STRONG)).account == ANNA
    assert names == [ANNA, ANNA]


async def test_who_is_shut_out_learns_nothing_by_scram() -> None:
    authentication, _, badguys = scramming()
    for _ in range(2):
        with pytest.raises(LoginRefused):
            await scram(authentication, "wrong", STRONG)
    assert badguys.banned(STRONG.address)
    names.clear()
    with pytest.raises(LoginRefused) as caught:
        await scram(authentication, PASSWORD, STRONG)
    assert caught.value.kind is LoginRefusal.BANNED
    assert names == []
