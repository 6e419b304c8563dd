"""Every POP3 transcript, played against the running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.popscripts import play
from tests.support.transcripts import Transcript, parameters

SCRIPTS = Path(__file__).parent / "pop"


@pytest.mark.parametrize("transcript", parameters(SCRIPTS))
async def test_pop_transcript(transcript: Transcript, tmp_path: Path) -> None:
    await play(transcript, make_certificate(tmp_path))
