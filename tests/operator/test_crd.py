"""The schema of MailService comes from the table of options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailoperator.crd import definition
from mailoperator.schema import RESERVED, RESERVED_ROWS, front_ends, is_reserved, option_property
from services.common.values import TABLE, Row

SPEC = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def fields(schema: dict[str, Any], path: str = "spec") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, with its path."""
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}", part
        yield from fields(part, f"{path}.{name}")


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_option_is_a_field_or_the_operators_own(row: Row) -> None:
    group, _, name = row.name.partition(".")
    properties = SPEC["properties"][group]["properties"]
    if is_reserved(row):
        assert name not in properties
    else:
        assert properties[name] == option_property(row)
        assert row.option.doc in properties[name]["description"]


def test_what_the_operator_sets_is_in_the_table() -> None:
    names = {name.partition(".")[2] for name in TABLE}
    assert names >= RESERVED
    assert set(TABLE) >= RESERVED_ROWS


@pytest.mark.parametrize(("group", "minutes"), [("pop", 10), ("imap", 30), ("http", 3)])
def test_idle_time_outs_have_their_floor(group: str, minutes: int) -> None:
    assert SPEC["properties"][group]["properties"]["idletimeout"]["minimum"] == minutes


def test_every_field_says_what_it_is_for() -> None:
    assert [path for path, part in fields(SPEC) if not part.get("description")] == []


def test_every_text_list_and_map_is_bounded() -> None:
    """An unbounded one makes the cost of a rule over it unbounded, and the API server refuses the definition."""
    bound = {"string": "maxLength", "array": "maxItems"}
    unbounded = [
        path
        for path, part in fields(SPEC)
        if part.get("type") in bound and not {bound[part["type"]], "enum"} & set(part)
    ]
    assert unbounded == []
    lists = [part for _, part in fields(SPEC) if part.get("type") == "array"]
    assert all("x-kubernetes-list-type" in part for part in lists)


def test_an_object_with_defaults_below_it_has_one_itself() -> None:
    for path, part in fields(SPEC):
        below = [name for name, each in part.get("properties", {}).items() if "default" in each]
        if below and "required" not in part:
            assert set(part["default"]) >= set(below), path


def test_names_and_columns() -> None:
    spec = definition()["spec"]
    assert spec["names"]["shortNames"] == ["msvc"]
    assert spec["names"]["categories"] == ["all", "mailkeep"]
    columns = {each["name"] for each in spec["versions"][0]["additionalPrinterColumns"]}
    assert columns >= {"Ready", "Reason", "Age", *(name.upper() for name in front_ends())}
