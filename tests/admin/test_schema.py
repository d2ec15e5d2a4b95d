"""The schema of the tree, and its two worked examples."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/reference/tree.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_example_meets_the_schema(backend: str) -> None:
    example = json.loads((ROOT / f"tests/admin/tree_{backend}.json").read_text("utf-8"))
    VALIDATOR.validate(example)


@pytest.mark.parametrize("change", [
    {"kind": "thread"}, {"state": "LOST"}, {"id": 12}, {"deadline": None}, {"colour": "red"}])
def test_what_is_no_node_is_refused(change: dict[str, object]) -> None:
    example = json.loads((ROOT / "tests/admin/tree_trio.json").read_text("utf-8"))
    example["root"].update(change)
    assert list(VALIDATOR.iter_errors(example))


def test_the_page_names_every_field_kind_and_state() -> None:
    page = (ROOT / "docs/reference/tree.md").read_text("utf-8")
    node, ended = SCHEMA["$defs"]["node"]["properties"], SCHEMA["$defs"]["ended"]["properties"]
    words = {*SCHEMA["properties"], *node, *ended, *node["kind"]["enum"], *node["state"]["enum"]}
    assert {word for word in words if f"`{word}`" not in page} == set()
