"""Every LMTP transcript, played against the running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.lmtpscripts import play
from tests.support.transcripts import Transcript, parameters

SCRIPTS = Path(__file__).parent / "lmtp"


@pytest.mark.parametrize("transcript", parameters(SCRIPTS))
async def test_lmtp_transcript(transcript: Transcript, tmp_path: Path) -> None:
    await play(transcript, make_certificate(tmp_path), tmp_path)
