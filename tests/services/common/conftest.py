"""Which event loops the tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
ALL: Mapping[str, LoopFactory] = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Both where the module says `BOTH_LOOPS = True` (transports differ), else the standard library's."""
    module = getattr(item, "module", None)
    return ALL if getattr(module, "BOTH_LOOPS", False) else {"asyncio": asyncio.new_event_loop}
