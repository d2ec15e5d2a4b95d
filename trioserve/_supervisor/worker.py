"""A worker process, seen from inside, once it has been born.

It serves as a single process does, on sockets that it was given, and tells the supervisor that it is ready, that its
event loop turns, that it wants to be replaced, or why it failed.
"""

import atexit
import faulthandler
import gc
import math
import os
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import anyio
import anyio.abc

from trioserve._config import Config
from trioserve._errors import ConfigError, TrioserveError
from trioserve._imports import import_for_good
from trioserve._server import SETTLE_SECONDS, Server
from trioserve._server.listeners import Bound
from trioserve._supervisor.attended import attended
from trioserve._supervisor.birth import be_born
from trioserve._supervisor.control import (
    Drain,
    Failed,
    Force,
    Heartbeat,
    LastHeartbeat,
    Link,
    Listens,
    Message,
    Question,
    Ready,
    Reply,
    Sockets,
    Start,
    WantsReplacement,
    WantsSockets,
)
from trioserve._supervisor.departure import DepartingServer, Departure
from trioserve._supervisor.event_loop import made_in_advance
from trioserve._supervisor.logs import set_up_logging
from trioserve._supervisor.preparation import depart_after, failure_ends, load, load_env_file, show_origin
from trioserve._supervisor.process import HELD_BACK, STACKS_SIGNAL
from trioserve._supervisor.process_name import show_name
from trioserve._supervisor.questions import Asking, reply_to
from trioserve._supervisor.signals import INTERRUPTED, EarlySignal, deaf_to, how_to_stop, obey_signals, survived
from trioserve._supervisor.tree_log import call_at_usr1, log_tree
from trioserve._threads import start_thread
from trioserve._types import AnyApp

if TYPE_CHECKING:
    from trioserve._supervisor.overview import AskedOverview

__all__ = ["become_worker"]

BEATS: Final = 4  # in the time of the health check


def become_worker() -> NoReturn:
    """Serve as a worker; the process ends with it."""
    sys.exit(_main(be_born()))


def _main(descriptor: int) -> int:
    """Serve until told to stop; return the exit code. ``descriptor`` is the worker's end of the link."""
    link = Link(socket.socket(fileno=descriptor))
    try:
        start = link.receive_first()
    except EOFError:  # the supervisor had to stop before it could say what to do
        link.close()
        return 0
    assert isinstance(start, Start)
    for own in (descriptor, start.stacks):
        os.set_inheritable(own, False)
    sys.argv[:] = start.argv
    early = _prepare_signals(start.stacks)
    config = Config.from_options(start.options)
    if config.reload:
        atexit.register(gc.freeze)  # called last: what is left is not taken apart, 1.1 of 4.1 s to reload LiteLLM
    departure = Departure(config.longest_shutdown, ends_process=True)
    start_thread(_outlive_supervisor, link, departure)
    try:
        set_up_logging(config, one_of_many=True)
        show_name(config, "worker")
        if config.env_file is not None:
            load_env_file(config.env_file)
        import_for_good(config.backend)
        with survived([signal.SIGUSR1]), made_in_advance(config) as options:
            with failure_ends(departure):
                app = load(start.target, config)
            anyio.run(
                depart_after, departure, _serve, app, start, config, link, departure, early,
                backend=config.backend, backend_options=options)
    except KeyboardInterrupt:  # while the application was imported, or its own
        return INTERRUPTED
    except TrioserveError as exc:
        show_origin(exc)
        link.send(_failed(exc))
        return exc.exit_code
    return 0


def _prepare_signals(stacks: int) -> EarlySignal:
    """The supervisor decides when to stop: what a terminal sends to every process is its affair.

    But SIGTERM is for this one. While the application is imported nobody obeys it; once it is ready the worker does.
    """
    early = EarlySignal()
    deaf_to(HELD_BACK)
    signal.signal(signal.SIGTERM, early)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    faulthandler.enable(stacks)
    faulthandler.register(STACKS_SIGNAL, stacks, chain=True)  # ... to the default, which ends the process
    return early


def _outlive_supervisor(link: Link, departure: Departure) -> None:
    """A thread: when the supervisor has ended, this process has its time to end, even if its loop stands still."""
    link.wait_for_end()
    departure.told_to_stop()


def _hear_last_orders(link: Link, departure: Departure) -> None:
    """A thread, for when the event loop has ended and the application's threads have not."""
    while messages := link.receive_in_thread():
        for message in messages:
            if isinstance(message, Force):
                departure.hurry()


def _failed(exc: TrioserveError) -> Failed:
    notes: list[str] = getattr(exc, "__notes__", [])
    if isinstance(exc, ConfigError):
        return Failed(type(exc).__name__, exc.problem, exc.option, notes)
    return Failed(type(exc).__name__, str(exc), notes=notes)


async def _serve(
    app: AnyApp, start: Start, config: Config, link: Link, departure: Departure, early: EarlySignal
) -> None:
    supervision = _Supervision(link, departure)
    whole = _whole(supervision.asking, start.admin_token) if config.admin_path is not None else None
    server = Server(
        app, config, get_sockets=supervision.get_sockets, announce=start.announce, how_to_stop=how_to_stop(),
        on_spent=lambda reason: link.send(WantsReplacement(reason)), serves_admin=False,
        whole=whole,
    )
    report = _Report(link, config.timeout_worker_healthcheck, early)
    await attended(
        partial(server.serve, task_status=report),
        partial(obey_signals, DepartingServer(server, departure), (signal.SIGTERM,),
                call_at_usr1(partial(log_tree, server)), afterwards=departure.hurry),
        partial(supervision.obey, server),
        report.run,
    )
    if config.admin is not None or config.admin_path is not None:
        await _say_last_words(server, link)
    start_thread(_hear_last_orders, link, departure)


def _whole(supervisor: Asking, token: str) -> "AskedOverview":
    from trioserve._supervisor.overview import AskedOverview  # somebody looks; nobody else pays for it

    return AskedOverview(supervisor, token)


async def _say_last_words(server: Server, link: Link) -> None:
    from trioserve._supervisor.answerers import last_words_of

    await link.send_large(last_words_of(server))


class _Report:
    """The server's ``task_status``: when it has started, the supervisor learns of it, and goes on hearing of it."""

    def __init__(self, link: Link, healthcheck: float | None, early: EarlySignal) -> None:
        self._link = link
        self._early = early
        self._healthcheck = healthcheck
        self._started = anyio.Event()

    def started(self, value: object = None) -> None:
        self._link.send(Ready())
        self._started.set()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Show that the event loop turns, as long as it has to: until this is cancelled, because the server ended."""
        task_status.started()
        await self._started.wait()
        self._early.repeat()
        if self._healthcheck is None:
            return
        try:
            while True:
                self._link.send(Heartbeat())
                await anyio.sleep(self._healthcheck / BEATS)
        finally:
            self._link.send(LastHeartbeat())


class _Supervision:
    """What the supervisor sends.

    Attributes:
        asking: questions to it.
    """

    def __init__(self, link: Link, departure: Departure) -> None:
        self._link = link
        self.asking = Asking(link)
        self._departure = departure
        self._answered = anyio.Event()  # with the sockets, or with the order to stop
        self._plain: list[bool] = []

    async def get_sockets(self) -> list[Bound]:
        """The sockets to listen on, now that the application has started; none if it is time to stop already."""
        self._link.send(WantsSockets())
        await self._answered.wait()
        for descriptor in self._link.descriptors:
            os.set_inheritable(descriptor, False)
        return [
            Bound(socket.socket(fileno=descriptor), plain=plain)
            for descriptor, plain in zip(self._link.descriptors, self._plain, strict=True)
        ]

    async def obey(self, server: Server, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Pass on what it says, until it has ended; then stop, too."""
        self._link.send(Listens())
        task_status.started()
        async with anyio.create_task_group() as answering:
            while messages := await self._link.receive():
                for message in messages:
                    if isinstance(message, Question):
                        answering.start_soon(self._answer, message, server)
                    else:
                        self._obey(message, server)
                self._answered.set()
        self.asking.give_up()
        server.request_shutdown("the supervisor has gone", settle=SETTLE_SECONDS)
        self._answered.set()

    async def _answer(self, question: Question, server: Server) -> None:
        from trioserve._supervisor.answerers import answerers_of  # somebody looks at this server; at most, nobody does

        await reply_to(question, answerers_of(server), self._link)

    def _obey(self, message: Message, server: Server) -> None:
        match message:
            case Sockets(plain):
                self._plain = plain
            case Drain(reason, settle, within):
                self._departure.told_to_stop(math.inf if within is None else within + settle)
                server.request_shutdown(reason, settle=settle, within=within)
            case Force():
                self._departure.hurry()
                server.force_shutdown()
            case Reply():
                self.asking.hear(message)
