"""What a command imports: gRPC and the other commands' modules take longer to import than most commands to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import __main__ as main_module

RUN = """
import sys
from services.cli.__main__ import main
sys.argv = ["mailkeep", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
sys.stderr.write("\\n".join(["", *sys.modules]))
"""


def imported(data: Path, *words: str) -> set[str]:
    """The modules that a command has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], env={"MAILKEEP_DATA": str(data)}, capture_output=True, text=True,
        timeout=100, check=True,
    )  # fmt: skip
    return set(done.stderr.splitlines())


@pytest.mark.parametrize("words", [("account", "list"), ("config", "show"), ("status",)])
def test_a_command_imports_what_it_needs(tmp_path: Path, words: tuple[str, ...]) -> None:
    found = imported(tmp_path, *words)
    assert "services.cli.connecting" in found
    assert not found & {"grpc", "services.cli.supervisor", "services.cli.mail", "prometheus_client", "pydantic"}


def test_help_lists_every_command(tmp_path: Path) -> None:
    assert {"services.cli.supervisor", "services.cli.mail"} <= imported(tmp_path, "--help")


def test_an_interrupt_before_a_command_begins_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "import_module", interrupted)
    monkeypatch.setattr(sys, "argv", ["mailkeep", "account", "list"])
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 130
