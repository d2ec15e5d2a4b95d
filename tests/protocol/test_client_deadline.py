"""How long a client waits, as header fields say it."""

import pytest

from trioserve._config import Config, options
from trioserve._protocol.client_deadline import CLIENT_DEADLINES, seconds_left

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z

READ = [
    ("request-timeout", "30", 30), ("request-timeout", "0.5", 0.5), ("request-timeout", "0", 0),
    ("grpc-timeout", "2H", 7200), ("grpc-timeout", "3M", 180), ("grpc-timeout", "10S", 10),
    ("grpc-timeout", "1500m", 1.5), ("grpc-timeout", "250000u", 0.25), ("grpc-timeout", "99999999n", 0.099999999),
    ("x-envoy-expected-rq-timeout-ms", "15000", 15), ("x-envoy-expected-rq-timeout-ms", "0", 0),
    ("x-request-deadline", "1800000005", 5), ("x-request-deadline", "1800000000.25", 0.25),
    ("x-request-deadline", "1800000005000", 5), ("x-request-deadline", "1799999990", -10),
    ("x-request-deadline", "2027-01-15T08:00:05Z", 5), ("x-request-deadline", "2027-01-15t09:00:05.5+01:00", 5.5),
    ("x-request-deadline", "2027-01-15 08:00:05.123456789z", 5.123456),
]

NOT_READ = [
    ("request-timeout", ""), ("request-timeout", "30s"), ("request-timeout", "-1"), ("request-timeout", "1e3"),
    ("request-timeout", "inf"), ("request-timeout", "nan"), ("request-timeout", " 1"), ("request-timeout", "1_0"),
    ("request-timeout", "9" * 16), ("request-timeout", "."),
    ("grpc-timeout", "5"), ("grpc-timeout", "5s"), ("grpc-timeout", "123456789S"), ("grpc-timeout", "1.5S"),
    ("grpc-timeout", "S"),
    ("x-envoy-expected-rq-timeout-ms", "1.5"), ("x-envoy-expected-rq-timeout-ms", "15s"),
    ("x-request-deadline", "2027-01-15T08:00:05"), ("x-request-deadline", "2027-02-30T08:00:05Z"),
    ("x-request-deadline", "Fri, 15 Jan 2027 08:00:05 GMT"), ("x-request-deadline", "tomorrow"),
]


@pytest.mark.parametrize(("name", "value", "seconds"), READ)
def test_what_is_read(name: str, value: str, seconds: float) -> None:
    assert seconds_left(name.encode(), value.encode(), NOW) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(("name", "value"), NOT_READ)
def test_what_is_not(name: str, value: str) -> None:
    assert seconds_left(name.encode(), value.encode(), NOW) is None


def test_the_option_has_every_field() -> None:
    for name in CLIENT_DEADLINES:
        assert Config(deadline_header=name.decode()).deadline_header == name.decode()  # type: ignore[arg-type]  # one of its values
    [hint] = [hint for option, hint, _, _ in options() if option == "deadline_header"]
    assert len(hint.__args__) == 1 + len(CLIENT_DEADLINES)
