"""Every IMAP transcript, played against the running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.imapscripts import play
from tests.support.transcripts import Transcript, parameters

SCRIPTS = Path(__file__).parent / "imap"


@pytest.mark.parametrize("transcript", parameters(SCRIPTS))
async def test_imap_transcript(transcript: Transcript, tmp_path: Path) -> None:
    await play(transcript, make_certificate(tmp_path))
