"""The command ``trioserve``: what a person types, made from the fields of ``Config``, and the exit code.

``Config`` decides which values are right. Here flag, environment, file and default are put in this order, and an
error learns where its value came from.
"""

import os
import types
import typing
from typing import Any, Literal

import click
from click.core import ParameterSource

from trioserve._config import OPTIONS, Config, Option, options
from trioserve._errors import ConfigError
from trioserve._sources import (
    APP,
    PREFIX,
    Given,
    as_toml,
    find_file,
    lines_of,
    number_of,
    read_file,
    switch_of,
    variables_of,
)
from trioserve._version import __version__

__all__ = ["main"]


OF_OTHERS = {
    "-b": "use --bind",
    "-w": "use --workers",
    "--h11-max-incomplete-event-size": "use --limit-header-bytes, which holds for both parsers",
    "--reset-contextvars": "leave it out, each request gets a fresh copy of the lifespan's context",
    "--ssl-version": "use --ssl-min-version",
    "--ws-max-queue": "leave it out, there is no queue to bound",
}
"""What to do instead of options that other servers have, as far as a similar name does not tell."""

FLAG_COLUMN = 30  # characters; the same in every group of --help, so that all texts line up


class Number(click.types.StringParamType):
    """A number, a length of time, or ``off``. Anything else stays a text, which ``Config`` refuses."""

    def __init__(self, kind: type[int] | type[float], *, can_be_off: bool) -> None:
        self.name = "count" if kind is int else "seconds"
        self.can_be_off = can_be_off
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return number_of(value, self._kind, can_be_off=self.can_be_off)


class Switch(click.types.BoolParamType):
    """True or false; in the environment also 1, yes, on and so forth. Anything else stays a text, as above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return switch_of(value) if isinstance(value, str) else value


class Line(click.types.StringParamType):
    """A text. An environment variable holds several, one per line."""

    def split_envvar_value(self, rv: str) -> list[str]:
        return lines_of(rv)


class UsageProblem(click.ClickException):
    """What is wrong with the command line or the environment, in one line."""

    exit_code = 2


class ServeCommand(click.Command):
    """Shows options in groups and problems in one line."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                group = OPTIONS[param.name].group if param.name in OPTIONS else "Other"
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl([(spelling.ljust(FLAG_COLUMN), text) for spelling, text in records], FLAG_COLUMN)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.BadParameter as exc:
            where = f"{spelling(exc.ctx, exc.param)}: " if exc.ctx and exc.param else ""
            raise UsageProblem(where + exc.message) from None
        except click.NoSuchOption as exc:
            advice = OF_OTHERS.get(exc.option_name)
            raise UsageProblem(f"there is no {exc.option_name}: {advice}" if advice else exc.format_message()) from None
        except click.UsageError as exc:
            raise UsageProblem(exc.format_message()) from None


# The options.


def make_option(name: str, hint: Any, default: Any, known: Option) -> click.Option:
    """The option for one field of ``Config``. It has no default: what is not given is left to ``Config``."""
    flag = name.replace("_", "-")
    kind, *none = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    shape: dict[str, Any] = {"metavar": known.metavar}
    if kind is bool:
        flag = f"{flag}/--no-{flag}"
        shape["type"] = Switch()
    elif kind in (int, float):
        shape["type"] = Number(kind, can_be_off=bool(none))
    elif typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        others = [alias for alias, _ in known.aliases if isinstance(alias, str)]
        shape |= {"type": click.Choice([*choices, *others]), "metavar": f"[{'|'.join(choices)}]"}
    elif typing.get_origin(kind) is tuple:
        shape |= {"type": Line(), "multiple": True}
    help = f"{known.help} {brackets(kind, default, known)}".rstrip()
    return click.Option([name, f"--{flag}"], help=help, envvar=variables_of(name, known), **shape)


def brackets(kind: Any, default: Any, known: Option) -> str:
    """What ``--help`` says after an option's text: its default, and a variable that does not follow from its name."""
    parts = [f"also {known.environment} in the environment"] if known.environment else []
    if default is None:
        parts += ["default: off"] if kind in (int, float) else []
    elif isinstance(default, bool):
        parts += ["default: on" if default else "default: off"]
    elif default not in ("", ()):
        parts += [f"default: {default:.12g}" if isinstance(default, float) else f"default: {default}"]
    return f"[{'; '.join(parts)}]" if parts else ""


def print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import platform  # slow to import, and only needed here

        python = f"{platform.python_implementation()} {platform.python_version()}"
        click.echo(f"trioserve {__version__} with {python} on {platform.system()}")
        ctx.exit()


def spelling(ctx: click.Context, param: click.Parameter) -> str:
    """How the user named an option: the environment variable that its value came from, or the flag."""
    if ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT:
        return next(name for name in param.envvar or () if os.environ.get(name))
    return param.opts[0] if isinstance(param, click.Option) else param.make_metavar(ctx)


# The command.


def start(config: str | None, print_config: bool, check: bool, **values: Any) -> None:
    """Serve, or what else is asked for, and end the process with the exit code."""
    ctx = click.get_current_context()
    warn_of_unknown_variables()
    try:
        given = collect(ctx, values, config)
    except ConfigError as exc:
        raise UsageProblem(f"{exc.option}: {exc.problem}") from None
    origins = {name: known.origin for name, known in given.items()}

    def spell(option: str) -> str:
        return origins.get(option) or parameter(ctx, option).opts[0]

    app = given.pop(APP).value if APP in given else None
    try:
        chosen = Config.from_options({name: known.value for name, known in given.items()})
    except ConfigError as exc:
        raise UsageProblem(f"{spell(exc.option)}: {exc.problem}") from None
    if print_config:
        click.echo(as_toml(app, chosen, origins), nl=False)
        return
    if app is None:
        raise UsageProblem("APP is missing: MODULE:ATTRIBUTE, such as main:app; see --help")
    if not isinstance(app, str):
        raise UsageProblem(f"{spell(APP)}: {app!r} is not a text of the form MODULE:ATTRIBUTE")
    from trioserve._supervisor import run  # the server itself: slow to import, and only needed from here on

    ctx.exit((run.check_command if check else run.run_command)(app, chosen, spell))


def collect(ctx: click.Context, values: dict[str, Any], path: str | None) -> dict[str, Given]:
    """What was given anywhere: the command line comes before the environment, the environment before the file.

    Raises:
        ConfigError: the file is not as it should be.
    """
    path = path or find_file()
    given = read_file(path) if path is not None else {}
    for param in ctx.command.params:
        name = param.name or ""
        if name in values and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            given[name] = Given(values[name], spelling(ctx, param))
    if {"bind", "uds", "fd"} & given.keys() and "port" in given and given["port"].origin == "PORT":
        del given["port"]  # platforms set PORT for any program, also for one that has been told otherwise
    return given


def parameter(ctx: click.Context, name: str) -> click.Parameter:
    return next(param for param in ctx.command.params if param.name == name)


def warn_of_unknown_variables() -> None:
    """A misspelt variable would be ignored without a word. Only a warning, as others may have names like ours."""
    known = ["APP", "CONFIG", *[name.upper() for name in OPTIONS]]
    given = [name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)]
    for name in given:
        if name not in known:
            from difflib import get_close_matches  # slow to import, and only needed here

            for match in get_close_matches(name, known, n=1):
                text = f"Warning: {PREFIX}{name} in the environment is no option; did you mean {PREFIX}{match}?"
                click.echo(text, err=True)


main = ServeCommand(
    "trioserve",
    callback=start,
    params=[
        click.Argument([APP], envvar=[PREFIX + "APP"], required=False, metavar="APP"),
        *[make_option(*option) for option in options()],
        click.Option(
            ["--config"], metavar="FILE", envvar=[PREFIX + "CONFIG"],
            help="TOML file with options (default: trioserve.toml, or [tool.trioserve] in pyproject.toml, of the "
                 "current directory)."),
        click.Option(
            ["--print-config"], is_flag=True,
            help="Show every option with its value and where it came from, and exit."),
        click.Option(
            ["--check"], is_flag=True,
            help="Load the application, run the start-up and the shutdown of its lifespan, and exit."),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=print_version,
            help="Show the version and exit."),
    ],
    help=f"""Serve the application APP, given as MODULE:ATTRIBUTE, such as main:app.

    APP and every option can also stand in the environment, --port as {PREFIX}PORT, or in a file, see --config. Lengths
    of time are in seconds or have a unit: 500ms, 30s, 5m, 1h. The value off switches a timeout or a limit off.""",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
