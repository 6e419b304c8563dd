"""A configuration file's text with some options set or taken out; every other character of it stays.

An option that the file has is changed where it stands, under whichever of its names; a new one joins its group. The
places come from the YAML library's marks, and what comes out is meant to be read again and compared before it is used
(`services.common.configfile` does). No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from services.common.settings import MAX_DEPTH
from services.common.values import find_row
from services.common.yamlfile import YamlError, compose

Written = str | int | list[str]
"""A value as the file is to have it; True and False are the words yes and no."""
_NULL: Final = "tag:yaml.org,2002:null"
_INDENT: Final = 2


class EditError(Exception):
    """The text cannot be edited by a program; the message says why."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One key of a mapping with what it stands for."""

    mapping: yaml.MappingNode
    key: yaml.ScalarNode
    value: yaml.Node


def edited(text: str, wanted: Mapping[str, Written | None]) -> str:
    """The text with each option (by its own name, `imap.maxsessions`) at its value; None takes it out.

    Raises EditError.
    """
    for name, value in wanted.items():
        text = _without(text, name) if value is None else _with(text, name, rendered(value))
    return text


def rendered(value: Written) -> str:
    """The value in YAML, on one line, also within a flow collection."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(rendered(item) for item in value)}]"
    if isinstance(value, int):
        return str(value)
    try:
        # A lone "-" is a text within a flow collection and begins a sequence outside of one.
        plain = value.isascii() and yaml.safe_load(f"[{value}]") == [value] == [yaml.safe_load(f"x: {value}")["x"]]
    except (yaml.YAMLError, ValueError, TypeError, KeyError):
        plain = False
    return value if plain else yaml.dump(value, default_style='"', allow_unicode=True, width=1 << 20).strip()


# ---- where things are -----------------------------------------------------------------------------------------------
def _root(text: str) -> yaml.MappingNode | None:
    try:
        node = compose(text)
    except YamlError as error:
        raise EditError(str(error)) from None
    if node is None or node.tag == _NULL:
        return None
    if not isinstance(node, yaml.MappingNode):
        raise EditError("the file holds groups of options (`imap:` and so on)")
    return node


def _entries(node: yaml.MappingNode, prefix: str = "") -> Iterator[tuple[str, list[_Entry]]]:
    """Every option in the file: its own name, and the entries that lead to it, innermost last."""
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        entry, name = _Entry(node, key, value), f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and name.count(".") < MAX_DEPTH:
            for found, inner in _entries(value, f"{name}."):
                yield found, [entry, *inner]
        elif (row := find_row(name)) is not None:
            yield row.name, [entry]


def _find(root: yaml.MappingNode | None, name: str) -> list[_Entry]:
    return next((entries for found, entries in _entries(root) if found == name), []) if root else []


def _place(text: str, mark: yaml.Mark) -> int:
    """A mark as an index into the text; the library's two parsers count differently beyond ASCII."""
    lines = text.splitlines(keepends=True)
    return sum(map(len, lines[: mark.line])) + mark.column


def _last_line(node: yaml.Node) -> int:
    """The last line that belongs to the node; what a block's end mark points at is what comes after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    within = node.end_mark.column > 0 or node.end_mark.line == node.start_mark.line
    return int(node.end_mark.line) - (0 if within else 1)


# ---- changing -------------------------------------------------------------------------------------------------------
def _with(text: str, name: str, value: str) -> str:
    root = _root(text)
    found = _find(root, name)
    if found:
        return _exchange(text, found[-1], value)
    group, _, option = name.partition(".")
    entry = next((_Entry(root, key, node) for key, node in root.value if key.value == group), None) if root else None
    if entry is not None:
        return _join(text, entry, f"{option}: {value}")
    if root is not None and root.flow_style:
        return _into_flow(text, root, f"{group}: {{{option}: {value}}}")
    return f"{_ended(text)}{group}:\n{' ' * _INDENT}{option}: {value}\n"


def _exchange(text: str, entry: _Entry, value: str) -> str:
    """Another value in the old one's place."""
    node = entry.value
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        lines = text.splitlines(keepends=True)
        head = lines[entry.key.end_mark.line][: entry.key.end_mark.column]
        return "".join([*lines[: entry.key.start_mark.line], f"{head}: {value}\n", *lines[_last_line(node) + 1 :]])
    start, end = _place(text, node.start_mark), _place(text, node.end_mark)
    gap = "" if start and text[start - 1].isspace() else " "
    tail = "\n" if text[start:end].endswith("\n") else ""
    return f"{text[:start]}{gap}{value}{tail}{text[end:]}"


def _join(text: str, group: _Entry, line: str) -> str:
    """A new line at the end of a group."""
    node = group.value
    if isinstance(node, yaml.MappingNode) and node.flow_style:
        return _into_flow(text, node, line)
    if isinstance(node, yaml.MappingNode):
        indent, after = node.value[0][0].start_mark.column, _last_line(node)
    elif node.tag == _NULL and not group.mapping.flow_style:
        indent, after = group.key.start_mark.column + _INDENT, group.key.start_mark.line
    else:
        raise EditError(f"line {group.key.start_mark.line + 1}: {group.key.value} holds no options there")
    lines = _ended(text).splitlines(keepends=True)
    return "".join([*lines[: after + 1], f"{' ' * indent}{line}\n", *lines[after + 1 :]])


def _into_flow(text: str, mapping: yaml.MappingNode, entry: str) -> str:
    place = _place(text, mapping.end_mark) - 1
    before = text[:place].rstrip()
    comma = "" if before.endswith(("{", ",")) else ","
    gap = "" if before.endswith("{") else " "
    return f"{before}{comma}{gap}{entry}{text[place:]}"


def _without(text: str, name: str) -> str:
    """Without the option, wherever it is given, and without groups that are empty then."""
    while found := _find(_root(text), name):
        kept = len(found) - 1
        while kept and len(found[kept].mapping.value) == 1:
            kept -= 1
        text = _cut_flow(text, found[kept]) if found[kept].mapping.flow_style else _cut_lines(text, found[kept:])
    return text


def _cut_lines(text: str, entries: list[_Entry]) -> str:
    """The lines of keys and value go; comments around and between them stay."""
    inner = entries[-1]
    gone = {entry.key.start_mark.line for entry in entries}
    gone.update(range(inner.key.start_mark.line, _last_line(inner.value) + 1))
    return "".join(line for number, line in enumerate(text.splitlines(keepends=True)) if number not in gone)


def _cut_flow(text: str, entry: _Entry) -> str:
    """Out of `{a: 1, b: 2}`, with the comma after it or, for the last, before it."""
    number = next(place for place, (key, _) in enumerate(entry.mapping.value) if key is entry.key)
    following = entry.mapping.value[number + 1 :]
    start, end = _place(text, entry.key.start_mark), _place(text, entry.value.end_mark)
    if following:
        end = _place(text, following[0][0].start_mark)
    elif number:
        start = _place(text, entry.mapping.value[number - 1][1].end_mark)
    return text[:start] + text[end:]


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
