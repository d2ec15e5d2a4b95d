"""Which ``traceparent`` is believed (W3C Trace Context §3.2)."""

import pytest

from trioserve._protocol.trace_context import read_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "value",
    [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes"])
def test_valid(value: str) -> None:
    fields = [(b"host", b"a"), (b"traceparent", value.encode())]
    assert read_trace(fields) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        "", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01more", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[:-1]}-{SPAN}-01", f'00-{TRACE}-{SPAN}-01"',
    ],
)
def test_invalid(value: str) -> None:
    assert read_trace([(b"traceparent", value.encode())]) is None


def test_absent_or_ambiguous() -> None:
    field = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert read_trace([]) is None
    assert read_trace([field, field]) is None
