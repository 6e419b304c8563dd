"""The generated code is that of the contract as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "gen-proto", tmp_path], check=True, cwd=ROOT)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*_pb2*")}
    kept = {path.relative_to(ROOT / "proto"): path.read_bytes() for path in (ROOT / "proto").rglob("*_pb2*.py*")}
    assert made == {name: text for name, text in kept.items() if name.suffix in (".py", ".pyi")}


def test_every_field_of_the_contract_says_what_it_is() -> None:
    for path in (ROOT / "proto").rglob("*.proto"):
        before = ""
        for line in path.read_text().splitlines():
            words = line.strip()
            if words.endswith(";") and " = " in words and not words.startswith(("syntax", "//")):
                assert before.startswith("//"), f"{path.name}: {words}"
            before = words
