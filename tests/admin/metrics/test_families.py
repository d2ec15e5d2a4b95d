"""The table of metrics keeps to the conventions of Prometheus, and knows the options that strike."""

import re
from dataclasses import fields

import pytest

from tests.connection.test_strikes import HTTP2_SCENES, SCENES
from trioserve import Config
from trioserve._admin.metrics.families import FAMILIES, OPTIONS, Family


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_names_say_what_they_count(family: Family) -> None:  # https://prometheus.io/docs/practices/naming/
    assert re.fullmatch(r"(trioserve|process)(_[a-z]+)+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.name.endswith("_info") == (family.kind == "info")
    assert bool(family.buckets) == (family.kind == "histogram")
    assert list(family.buckets) == sorted(set(family.buckets))
    assert family.help.endswith(".")
    assert not {"le", "quantile", "job", "instance"} & set(family.labels)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_durations_and_sizes_have_their_base_unit(family: Family) -> None:
    name = family.name.removesuffix("_total")
    if any(word in name for word in ("duration", "lag", "time", "cpu", "memory", "body", "payload")):
        assert name.endswith(("_seconds", "_bytes")), name


def test_options_are_those_that_strike() -> None:
    assert set(OPTIONS) == {option for option, _, _ in (*SCENES, *HTTP2_SCENES)} | {"timeout_tls_handshake"}
    assert set(OPTIONS) <= {field.name for field in fields(Config)}
