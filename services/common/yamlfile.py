"""YAML as our files use it: plain data, and no key twice in a mapping (YAML 1.2 section 3.2.1.1)."""

from __future__ import annotations

from typing import Any

import yaml


class YamlError(Exception):
    """The text is not YAML, or not plain data; the message says where and why, in one line."""


class _Loader(yaml.CSafeLoader):
    """Plain data only; a key that is there twice is an error instead of a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused below: no list or mapping can be a key
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """The document; None where there is none. Raises YamlError."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        raise YamlError(explain(error)) from None
    except (ValueError, AttributeError):
        # The library checks dates and tagged numbers by trying to make them.
        raise YamlError("a date or a tagged value is none of its kind") from None


def compose(text: str) -> yaml.Node | None:
    """The document's nodes, which know their lines. Raises YamlError."""
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise YamlError(explain(error)) from None


def explain(error: yaml.YAMLError) -> str:
    """One line: `line 3: what is wrong`."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem
