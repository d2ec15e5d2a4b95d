"""``trioserve check``: tries an application on both backends, and ends with an exit code for CI."""

import json
from typing import Any, Final

import click

from trioserve._check import CannotRun, Plan, Report, as_text, check_backend
from trioserve._config import Config
from trioserve._errors import ConfigError
from trioserve._points import Point
from trioserve._trial import TrialRequest

__all__ = ["command"]

BACKENDS: Final = ("trio", "asyncio")
CLEAN, FOUND, CANNOT_RUN = 0, 1, 2  # exit codes


class RequestText(click.ParamType[str]):
    """A request, as it was given."""

    name = "request"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            TrialRequest.parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        return str(value)


class PointText(click.ParamType[str]):
    """A point, as it was given."""

    name = "point"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            Point.parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        return str(value)


class BlockedLength(click.ParamType[float | None]):
    """A length of time, as the server's option of the same name has it."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        try:
            return Config.from_options({"warn_blocked": value}).warn_blocked
        except ConfigError as exc:
            self.fail(exc.problem, param, ctx)


def check(
    app: str, request: tuple[str, ...], backend: tuple[str, ...], chaos: bool, point: tuple[str, ...], factory: bool,
    app_dir: str, timeout: float, warn_blocked: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Try, print, and exit."""
    requests = list(request or ("GET /",))
    options = {"factory": factory, "app_dir": app_dir}
    plans = [
        Plan(app, name, requests, options, chaos, list(point), warn_blocked)
        for name in dict.fromkeys(backend or BACKENDS)]
    try:
        report = Report(app, [check_backend(plan, timeout) for plan in plans])
    except CannotRun as exc:
        click.echo(f"Error: {exc}", err=True)
        raise SystemExit(CANNOT_RUN) from None
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(as_text(report)))
    raise SystemExit(FOUND if report.findings else CLEAN)


command = click.Command(
    "check",
    callback=check,
    params=[
        click.Argument(["app"], metavar="APP"),
        click.Option(["--request"], type=RequestText(), multiple=True, metavar="'METHOD PATH [BODY]'",
                     help="A request to send, or a WebSocket to open: 'WS /chat hello' sends it one message; "
                          "'H2 GET /' is sent over HTTP/2; can be repeated [default: 'GET /']."),
        click.Option(["--backend"], type=click.Choice(BACKENDS), multiple=True,
                     help="Try only this one [default: both]."),
        click.Option(["--chaos"], is_flag=True,
                     help="Strike at each await and message of the requests, too, in virtual time."),
        click.Option(["--point"], type=PointText(), multiple=True, metavar="POINT",
                     help="Strike only there, such as cancel@3: shows again what --chaos has found."),
        click.Option(["--factory"], is_flag=True, help="APP is a function that makes the application."),
        click.Option(["--app-dir"], default="", metavar="DIRECTORY",
                     help="Directory, or zip file, where to look for APP first [default: the current directory]."),
        click.Option(["--timeout"], type=click.FloatRange(min=1), default=60.0, metavar="SECONDS",
                     help="A trial on one backend that takes longer has not ended by itself [default: 60]."),
        click.Option(["--warn-blocked"], type=BlockedLength(), default="100ms", metavar="SECONDS|off",
                     help="Report where the event loop stands still for longer than this [default: 100ms]."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the report as JSON."),
    ],
    help="""Run the lifespan of APP and send it requests, on trio and on asyncio, each in a process of its own and
    without a socket; then say what is wrong with it. The exit code is 0 when nothing was found, 1 when something was,
    and 2 when there is nothing to run.""",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
