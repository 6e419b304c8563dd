"""Writes the dashboards' files, or says which are stale."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from deploy.dashboards.boards import BOARDS
from deploy.dashboards.panels import json_text

FOLDER: Final = Path(__file__).parents[1] / "monitoring" / "dashboards"


def main(words: list[str]) -> int:
    """`--check`: 1 where a file is missing, stale or of no dashboard. Without: write them."""
    wanted = {FOLDER / f"{board.name}.json": json_text(board) for board in BOARDS}
    if words == ["--check"]:
        stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        stale += sorted(set(FOLDER.glob("*.json")) - set(wanted))
        sys.stderr.writelines(f"{path.relative_to(FOLDER.parents[2])} is stale: make docs\n" for path in stale)
        return int(bool(stale))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in set(FOLDER.glob("*.json")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    return 0


sys.exit(main(sys.argv[1:]))
