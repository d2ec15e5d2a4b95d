"""The threads that carry out calls which may block."""

import threading
from collections.abc import Iterator
from threading import Barrier, Event, Semaphore

import pytest

from trioserve._server.application import thread_pool
from trioserve._server.application.thread_pool import ThreadPool

A_WHILE = 30.0


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads end at once when there is nothing to do, and with the test."""
    monkeypatch.setattr(thread_pool, "IDLE_SECONDS", 0.05)
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(A_WHILE)
        assert not thread.is_alive()


def test_calls_that_wait_do_not_hold_up_others() -> None:
    pool, barrier, done = ThreadPool(10), Barrier(10), Semaphore(0)

    def call() -> None:
        barrier.wait(A_WHILE)  # passes when ten are there
        done.release()

    for _ in range(20):
        pool.start(call)
    assert all(done.acquire(timeout=A_WHILE) for _ in range(20))


def test_no_more_threads_than_allowed_and_first_come_first_served() -> None:
    pool, go_on, ended = ThreadPool(1), Event(), Event()
    order: list[int] = []
    threads: set[threading.Thread] = set()

    def call(number: int) -> None:
        assert go_on.wait(A_WHILE)
        order.append(number)
        threads.add(threading.current_thread())

    for number in range(5):
        pool.start(lambda number=number: call(number))  # type: ignore[misc]  # mypy: cannot infer
    pool.start(ended.set)
    go_on.set()
    assert ended.wait(A_WHILE)
    assert order == [0, 1, 2, 3, 4]
    assert len(threads) == 1


def test_a_thread_that_idles_takes_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "IDLE_SECONDS", 1.0)
    pool, done = ThreadPool(10), Semaphore(0)
    threads: set[threading.Thread] = set()

    def call() -> None:
        threads.add(threading.current_thread())
        done.release()

    for _ in range(3):
        pool.start(call)
        assert done.acquire(timeout=A_WHILE)
        while not pool._asleep:
            pass
    assert len(threads) == 1


def test_after_all_threads_have_ended() -> None:
    pool, done = ThreadPool(2), Semaphore(0)
    threads: list[threading.Thread] = []

    def call() -> None:
        threads.append(threading.current_thread())
        done.release()

    for _ in range(2):
        pool.start(call)
        assert done.acquire(timeout=A_WHILE)
        threads[-1].join(A_WHILE)
    assert threads[0] is not threads[1]


def test_calls_of_one_turn_share_a_wake_up() -> None:
    pool, done = ThreadPool(3), Semaphore(0)
    busy, go_on = Event(), Event()

    def keep_busy() -> None:
        busy.set()
        assert go_on.wait(A_WHILE)

    turn: list[thread_pool.Call] = []
    pool.start(keep_busy, turn.append)  # the first thread is begun at once
    assert busy.wait(A_WHILE)
    for _ in range(5):
        pool.start(done.release, turn.append)
    assert not done.acquire(timeout=0.05)
    for wake in turn:
        wake()
    assert all(done.acquire(timeout=A_WHILE) for _ in range(5))
    go_on.set()


def test_a_busy_pool_where_the_system_has_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    pool, done, go_on = ThreadPool(2), Semaphore(0), Event()
    pool.start(lambda: go_on.wait(A_WHILE))
    monkeypatch.setattr(thread_pool, "start_thread", refuse)
    pool.start(done.release, lambda wake: wake())
    go_on.set()
    assert done.acquire(timeout=A_WHILE)


def test_where_the_system_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    pool, done = ThreadPool(2), Semaphore(0)
    with monkeypatch.context() as patch:
        patch.setattr(thread_pool, "start_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            pool.start(done.release)
    pool.start(done.release)
    assert all(done.acquire(timeout=A_WHILE) for _ in range(2))
