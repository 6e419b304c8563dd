"""YAML files: plain data, every mistake told in one line."""

from __future__ import annotations

import pytest

from services.common.yamlfile import YamlError, compose, parse


def test_plain_data() -> None:
    assert parse("a: {b: 1, c: [x, yes]}\n") == {"a": {"b": 1, "c": ["x", True]}}
    assert parse("") is None
    assert compose("") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' is there twice"),
        ("? [a, b]\n: 1\n", "line 1: found unhashable key"),
        ("? {a: b}\n: 1\n", "line 1: found unhashable key"),
        ("a: [1\n", "line 2: did not find expected ',' or ']'"),
        ("a: !!python/object:os.system x\n", "line 1: could not determine a constructor for the tag"),
        ("a: 2020-13-45\n", "a date or a tagged value"),
        ("a: !!int b\n", "a date or a tagged value"),
        ("a: !!timestamp b\n", "a date or a tagged value"),
        ("a: *b\n", "line 1: found undefined alias"),
    ],
)
def test_what_is_wrong_and_where(text: str, why: str) -> None:
    with pytest.raises(YamlError) as raised:
        parse(text)
    assert str(raised.value).startswith(why)
    assert "\n" not in str(raised.value)
