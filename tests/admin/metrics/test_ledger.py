"""The numbers of several processes as one: sums, and no step back when a process ends or is silent."""

from trioserve._admin.metrics.ledger import Ledger
from trioserve._admin.metrics.samples import Sample, Snapshot, from_json, summed, to_json

REQUESTS = "trioserve_requests_total"
OPEN = "trioserve_connections"
STARTED = "trioserve_worker_start_time_seconds"
LAG = "trioserve_event_loop_lag_seconds"
WORKERS = "trioserve_workers"


def counted(requests: float, connections: float = 0) -> Snapshot:
    return {
        REQUESTS: [Sample(("GET", "2xx", "1.1"), [requests])],
        OPEN: [Sample(("idle",), [connections])],
    }


def number(snapshot: Snapshot, family: str) -> float:
    return sum(sample.numbers[0] for sample in snapshot[family])


# -- sums ------------------------------------------------------------------------------------------------------------


def test_the_sum_of_none_is_empty() -> None:
    assert summed([]) == {}


def test_numbers_with_the_same_labels_are_added() -> None:
    one: Snapshot = {REQUESTS: [Sample(("GET", "2xx", "2"), [1]), Sample(("GET", "4xx", "2"), [10])]}
    two: Snapshot = {REQUESTS: [Sample(("GET", "2xx", "2"), [2]), Sample(("PUT", "2xx", "2"), [30])]}
    assert summed([one, two]) == {
        REQUESTS: [
            Sample(("GET", "2xx", "2"), [3]), Sample(("GET", "4xx", "2"), [10]), Sample(("PUT", "2xx", "2"), [30])]
    }


def test_histograms_are_added_bucket_by_bucket() -> None:
    assert summed([{LAG: [Sample((), [0.5, 1, 0, 2])]}, {LAG: [Sample((), [0.25, 1, 3, 0])]}]) == {
        LAG: [Sample((), [0.75, 2, 3, 2])]
    }


def test_the_same_labels_twice_in_one_snapshot_are_added_too() -> None:
    assert summed([{REQUESTS: [Sample(("GET",), [1]), Sample(("GET",), [2])]}]) == {REQUESTS: [Sample(("GET",), [3])]}


def test_a_sum_changes_none_of_its_parts() -> None:
    one, two = counted(1), counted(2)
    summed([one, two])
    assert (one, two) == (counted(1), counted(2))


def test_json_brings_back_what_was_sent() -> None:
    snapshot = summed([counted(3, 4), {LAG: [Sample((), [0.5, 1, 0, 2])]}])
    assert from_json(to_json(snapshot)) == snapshot


# -- processes that come and go --------------------------------------------------------------------------------------


def test_what_an_ended_process_has_counted_stays() -> None:
    ledger = Ledger()
    ledger.settle({1: counted(100), 2: counted(50)})
    ledger.end(1, None)
    assert number(ledger.settle({2: counted(60), 3: counted(5)}), REQUESTS) == 165
    assert number(ledger.settle({2: counted(60), 3: counted(5)}), REQUESTS) == 165
    ledger.end(2, None)
    assert number(ledger.settle({3: counted(7)}), REQUESTS) == 167


def test_the_last_words_of_a_process_take_the_place_of_what_it_said_before() -> None:
    ledger = Ledger()
    ledger.settle({1: counted(100, connections=3)})
    ledger.end(1, counted(120, connections=1))
    together = ledger.settle({})
    assert (number(together, REQUESTS), OPEN in together) == (120, False)


def test_a_process_that_nobody_has_asked_has_last_words_too() -> None:
    ledger = Ledger()
    ledger.end(1, counted(120))
    assert number(ledger.settle({}), REQUESTS) == 120


def test_between_the_end_of_a_process_and_the_news_of_it_nothing_falls() -> None:
    ledger = Ledger()
    ledger.settle({1: counted(100)})
    assert number(ledger.settle({}), REQUESTS) == 100
    ledger.end(1, counted(120))
    assert number(ledger.settle({}), REQUESTS) == 120


def test_what_an_ended_process_had_open_is_gone() -> None:
    ledger = Ledger()
    ledger.settle({1: counted(1, connections=10), 2: counted(1, connections=1)})
    ledger.end(1, None)
    assert number(ledger.settle({2: counted(1, connections=1)}), OPEN) == 1


def test_what_each_process_has_for_itself_ends_with_it() -> None:
    ledger = Ledger()
    ledger.settle({1: {STARTED: [Sample(("1",), [1000])]}})
    ledger.end(1, None)
    assert STARTED not in ledger.settle({})


def test_a_silent_process_keeps_what_it_had_counted() -> None:
    ledger = Ledger()
    ledger.settle({1: counted(100, connections=10), 2: counted(50)})
    together = ledger.settle({1: None, 2: counted(51)})
    assert number(together, REQUESTS) == 151
    assert number(together, OPEN) == 0
    assert number(ledger.settle({1: counted(120), 2: counted(51)}), REQUESTS) == 171


def test_a_process_that_ends_in_silence_keeps_what_it_had_counted() -> None:
    ledger = Ledger()
    ledger.settle({1: counted(100)})
    ledger.settle({1: None})
    ledger.end(1, None)
    assert number(ledger.settle({}), REQUESTS) == 100


def test_a_process_that_never_answered_counts_nothing() -> None:
    ledger = Ledger()
    assert REQUESTS not in ledger.settle({1: None})
    ledger.end(1, None)
    assert REQUESTS not in ledger.settle({})


def test_how_many_answer_and_how_many_are_silent() -> None:
    assert Ledger().settle({1: counted(1), 2: None, 3: counted(1)})[WORKERS] == [
        Sample(("answers",), [2]), Sample(("silent",), [1])]
