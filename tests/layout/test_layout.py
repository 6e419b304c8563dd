"""The tree keeps its shape: import roots, sizes, nothing of a developer's machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE = 500
MAX_FUNCTION = 60
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")


def tracked(suffix: str = "") -> Iterator[Path]:
    """Files that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name.endswith(suffix) and name and not GENERATED.search(name) and (ROOT / name).is_file():
            yield ROOT / name


def test_import_roots_have_no_init() -> None:
    """`operator/__init__.py` at the root would hide the standard library's module; so would packages under tests."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "proto" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_standard_library_is_not_shadowed() -> None:
    code = "import collections, http.client, operator, secrets, types"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True, timeout=30)


@pytest.mark.parametrize("path", sorted(tracked(".py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE, f"{path.name} has more than {MAX_FILE} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION, f"{path.name}:{node.lineno} {node.name} has {lines} lines"


def test_no_path_of_a_machine_is_committed() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path != Path(__file__) and re.search(rb"/(?:home|root|work)/\w+/", path.read_bytes())
    ]
    assert not found
