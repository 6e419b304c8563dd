"""docs/cli.md is what the commands say of themselves, and every command has a help text and --json."""

from __future__ import annotations

from pathlib import Path

from services.cli.reference import markdown

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == markdown(), "make docs"


def test_every_command_explains_itself_and_speaks_json() -> None:
    for section in markdown().split("\n## ")[1:]:
        words, _, rest = section.partition("\n")
        assert rest.split("```")[2].split("|")[0].strip(), words
        assert "`--json`" in rest, words
