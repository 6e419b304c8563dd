"""docs/options.md out of the table of options: `python -m services.common.reference > docs/options.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Final, get_type_hints

from services.common.options import Configuration
from services.common.values import TABLE, Row

_HEAD: Final = """\
# Options

Made from the table in `services/common/options.py` by `python -m services.common.reference`; do not edit.

An option is set, strongest first, by its environment variable (`imap.maxsessions` is `MAILKEEP_IMAP_MAXSESSIONS`), in
the configuration file, or it has its default. The file is named by `MAILKEEP_CONFIG`, or is `mailkeep.yaml` in the data
folder; the data folder is `MAILKEEP_DATA`, or `var`. All three lines below are the same:

```yaml
imap: {maxsessions: 5000}
imap.maxsessions: 5000
service.imap.maxsessions: 5000   # Messaging Server's name, where there is one
```

Sizes may be written with K, M, G or T (powers of 1024). Relative paths are below the data folder. *Live* options are
taken up by running services when the file changes or on SIGHUP, without dropping a connection; the others at the next
start. A configuration with errors is not started with (exit code 78, every error named) and not reloaded.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for name in _group_names() for line in _group(name))])


def _group_names() -> list[str]:
    return [each.name for each in fields(Configuration) if each.name != "data"]


def _group(name: str) -> Iterator[str]:
    heading = (get_type_hints(Configuration)[name].__doc__ or "").splitlines()[0]
    yield f"## {name}\n\n{heading}\n"
    yield "| option | default | allowed | live | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    yield from (_line(row) for row in TABLE.values() if row.group == name)
    yield ""


def _line(row: Row) -> str:
    name = f"`{row.name}`"
    if row.legacy and row.legacy != f"service.{row.name}":
        name += f" (`{row.legacy}`)"
    cells = (name, default_text(row), row.allowed, "yes" if row.option.live else "", row.option.doc)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def default_text(row: Row) -> str:
    """The default as the pages show it."""
    if row.type is bool:
        return "yes" if row.default else "no"
    text = ", ".join(row.default) if isinstance(row.default, tuple) else str(row.default)
    return f"`{text}`" if text else "(empty)"


if __name__ == "__main__":
    sys.stdout.write(markdown())
