"""Unmasking (RFC 6455 §5.3), in Python and, where it is installed, in C."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioserve._protocol.websocket import masking

WAYS = [masking.unmask_in_python, masking.unmask]


@pytest.mark.parametrize("unmask", WAYS)
@given(payload=st.binary(max_size=300), key=st.binary(min_size=4, max_size=4))
def test_each_byte_is_xored_with_one_of_the_key(
    unmask: Callable[[bytes, bytes], bytes], payload: bytes, key: bytes
) -> None:
    assert unmask(payload, key) == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


@pytest.mark.parametrize("unmask", WAYS)
@pytest.mark.parametrize("size", [masking.INTEGER_BYTES + more for more in range(-2, 5)])
def test_around_the_size_where_the_way_changes(unmask: Callable[[bytes, bytes], bytes], size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    unmasked = unmask(payload[:size], b"\x01\x80\xff\x00")
    assert type(unmasked) is bytes
    assert unmasked == bytes(byte ^ b"\x01\x80\xff\x00"[index % 4] for index, byte in enumerate(payload[:size]))
