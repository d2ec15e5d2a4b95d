"""Every exception that trioserve raises on purpose, and nothing else.

Three families meet on a connection: a ``PeerError`` broke HTTP (answer and close), an ``AppError`` broke ASGI
(log, and 500 if that is still possible), a ``ClientDisconnected`` has nobody left to answer. The others belong to
start-up; each carries the exit code that the command line ends with.
"""


class TrioserveError(Exception):
    """Base of the errors that stop a server from starting or running."""

    exit_code = 1


class ConfigError(TrioserveError):
    """An option has a value it cannot have.

    Attributes:
        option: the field of ``Config``, for example ``"timeout_keep_alive"``.
        problem: what is wrong with the value and what would be right, one line without the option's name.
    """

    exit_code = 2

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.problem = problem


class AppNotFound(TrioserveError):
    """``module:attribute`` names nothing that could be served; the text says what was looked for and where."""

    exit_code = 2


class AppLoadFailed(TrioserveError):
    """The application's own code raised while it was imported or made. ``__cause__`` is that exception."""

    exit_code = 3


class BindFailed(TrioserveError):
    """A listening address is in use, not permitted, or not an address of this machine."""

    exit_code = 3


class StartupFailed(TrioserveError):
    """The application's lifespan refused to start: ``lifespan.startup.failed``, or an exception on the way."""

    exit_code = 3


class LifespanDied(TrioserveError):
    """The application's lifespan ended with an exception while the server was running."""

    exit_code = 3


class TaskCrashed(TrioserveError):
    """A task that the application has started with the extension ``trioserve.tasks`` ended with an exception."""

    exit_code = 3


class PeerError(Exception):
    """The client's bytes are no HTTP request that this server will run; answer with ``status`` and close.

    Attributes:
        status: the status code of the answer.
        reason: one line for the answer's body and the log; it names the rule, never echoes the request.
        fields: header fields that the answer needs.
        head: of the refused request, when it was read already; otherwise it is still in the codec.
        end_reason: why a request that had begun is ended, as it is logged; empty where the answer says enough.
        limit: the option whose limit the client is over; empty when it has done something else.
    """

    end_reason = ""

    def __init__(
        self, status: int, reason: str, fields: tuple[tuple[bytes, bytes], ...] = (), *, head: bytes = b"",
        limit: str = "",
    ) -> None:  # fmt: skip
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason
        self.fields = fields
        self.head = head
        self.limit = limit


class AppError(RuntimeError):
    """The application sent a message that ASGI does not allow here; raised out of its own ``send()``."""


class ClientDisconnected(OSError):
    """The client has gone, so nothing can be sent any more (ASGI HTTP specification 2.4, "Disconnected Client").

    Raised out of the application's ``send()``. When it escapes the application it is not an error.
    """


_WORDS_OF_ANYBODY = (Exception, RuntimeError)  # which applications raise in the place of others


def application_errors(exc: BaseException, *, client_left: bool) -> BaseException | None:
    """What is left of ``exc`` as an error of the application, ``None`` if nothing is.

    ClientDisconnected never is one (ASGI HTTP 2.4). When the client has left, neither is what the application, or its
    framework, made of it: Starlette raises an exception of its own in its place. But a bug in the application's
    clean-up is one. In groups each member is judged by itself; a group tells nothing by its own context, which may be
    that of any of its members.
    """

    return _errors_in(exc, client_left, frozenset())


def _errors_in(exc: BaseException, client_left: bool, led_to: frozenset[int]) -> BaseException | None:
    """The same for what is behind another exception. ``led_to``, by their ids, are being judged, and not again."""

    def is_no_error(exc: BaseException) -> bool:
        if isinstance(exc, BaseExceptionGroup):
            return False  # ``split`` goes on to its members
        return isinstance(exc, ClientDisconnected) or (client_left and _comes_from_disconnect(exc, led_to))

    if isinstance(exc, BaseExceptionGroup):
        found, rest = exc.split(is_no_error)
        return exc if found is None else rest
    return None if is_no_error(exc) else exc


def _comes_from_disconnect(exc: BaseException, led_to: frozenset[int]) -> bool:
    """There is a ClientDisconnected among what led to ``exc``, or a group of nothing else.

    Whoever raises a member of a group, such as Starlette, makes the group its context: then it has led to itself.
    """
    seen = set(led_to)
    waiting = [exc]
    while waiting:
        earlier = waiting.pop()
        if id(earlier) in seen:
            continue
        seen.add(id(earlier))
        if isinstance(earlier, ClientDisconnected):
            return True
        if isinstance(earlier, BaseExceptionGroup) and _errors_in(earlier, True, frozenset(seen)) is None:
            return True
        if earlier.__cause__ is not None:
            waiting.append(earlier.__cause__)
        if earlier.__context__ is not None and not _is_bug(earlier):
            waiting.append(earlier.__context__)
    return False


def _is_bug(exc: BaseException) -> bool:
    """It is what Python itself raises, such as a NameError. Nobody says so that a client has left.

    A clean-up may raise it while the application is ended by ClientDisconnected, which is only its context then.
    """
    kind = type(exc)
    is_pythons = kind.__module__ == "builtins" and not issubclass(kind, OSError | BaseExceptionGroup)
    return is_pythons and kind not in _WORDS_OF_ANYBODY
