"""What options cannot be together. Each error names the one that has to change."""

from collections.abc import Iterable, Sequence
from typing import Final

from trioserve._config.addresses import BindSpec, HostPort, UnixPath, is_loopback, parse_bind
from trioserve._errors import ConfigError

__all__ = ["FOR_ONE_PROCESS", "check_addresses", "check_admin", "check_processes"]

FOR_ONE_PROCESS: Final = ("reload", "teach", "chaos")


def check_processes(workers: int, *, reload: bool, teach: bool, chaos: bool) -> None:
    """Some options are for one process."""
    if workers == 1:
        return
    if reload:
        raise ConfigError("workers", f"{workers} workers cannot be reloaded: reload runs one, choose either")
    if teach:
        raise ConfigError("teach", f"timelines of {workers} workers would be mixed: use --workers 1")
    if chaos:
        raise ConfigError("chaos", f"it needs one process, to be repeatable, and not {workers} workers")


def check_addresses(main: Sequence[BindSpec], insecure: Sequence[BindSpec], *, not_used: Iterable[str]) -> None:
    """Addresses are there once. ``not_used``: options that were given, although others say where to listen."""
    for name in not_used:
        raise ConfigError(name, "cannot be combined with bind, uds or fd; write it as another bind HOST:PORT")
    seen: list[BindSpec] = []
    for name, specs in (("bind", main), ("insecure_bind", insecure)):
        for spec in specs:
            if spec in seen and not _is_another_each_time(spec):
                raise ConfigError(name, f"'{spec}' is there twice")
            seen.append(spec)


def check_admin(admin: str | None, others: Sequence[BindSpec], *, is_public: bool) -> None:
    """The admin listener has an address of its own, out of reach for other machines unless that is wanted."""
    if admin is None:
        return
    spec = parse_bind(admin)
    if not (isinstance(spec, UnixPath) or is_loopback(spec) or is_public):
        raise ConfigError("admin", f"{admin!r} can be reached from other machines: use 127.0.0.1, [::1] or "
                          "unix:PATH, or give --admin-public as well")
    if spec in others and not _is_another_each_time(spec):
        raise ConfigError("admin", f"{admin!r} is where the application listens: choose another address")


def _is_another_each_time(spec: BindSpec) -> bool:
    """Port 0 is any that is free."""
    return isinstance(spec, HostPort) and spec.port == 0
