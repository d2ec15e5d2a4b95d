"""The one outcome with which tasks on trio are woken."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from tests.helpers.stream_pairs import KINDS, Kind
from trioserve._streams.on_trio.edge import Woken


@pytest.fixture(params=[kind for kind in KINDS if kind.name == "trio-edge"], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def counting() -> Generator[int, object, str]:
    for number in range(3):
        assert (yield number) is None
    return "ended"


def test_it_is_a_value_any_number_of_times() -> None:
    woken = Woken()
    for _ in range(3):
        woken.unwrap()


def test_it_is_sent_any_number_of_times() -> None:
    woken = Woken()
    for _ in range(2):
        generator: Any = counting()
        assert [next(generator), woken.send(generator), woken.send(generator)] == [0, 1, 2]
        with pytest.raises(StopIteration, match="ended"):
            woken.send(generator)


async def test_it_is_sent_to_what_is_asynchronous() -> None:
    async def counting() -> AsyncGenerator[int, None]:
        for number in range(3):
            received: object = yield number
            assert received is None

    woken = Woken()
    for _ in range(2):
        generator = counting()
        assert [await anext(generator), await woken.asend(generator), await woken.asend(generator)] == [0, 1, 2]
        with pytest.raises(StopAsyncIteration):
            await woken.asend(generator)


def test_what_the_generator_raises_is_raised() -> None:
    def failing() -> Generator[None, object, None]:
        yield
        raise ValueError("its own")

    generator: Any = failing()
    next(generator)
    with pytest.raises(ValueError, match="its own"):
        Woken().send(generator)
