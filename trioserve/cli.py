"""The command ``trioserve``: what a person types, made from the fields of ``Config``, and the exit code.

``Config`` decides which values are right. Here flag, environment, file and default are put in this order, and an
error learns where its value came from.
"""

import os
import typing
from typing import Any, Literal

import click
from click.core import ParameterSource

from trioserve._commands import COMMANDS, load_command
from trioserve._compiled import IS_COMPILED
from trioserve._config import OPTIONS, Config, Option, options
from trioserve._config.contradictions import FOR_ONE_PROCESS
from trioserve._config.implied import implied
from trioserve._config.ineffective import options_without_effect, variables_without_effect
from trioserve._config.sources import (
    APP,
    PREFIX,
    Given,
    as_toml,
    find_file,
    misspelt_table,
    read_environment,
    read_file,
)
from trioserve._config.values import kind_of, switch_of
from trioserve._errors import ConfigError
from trioserve._imports import import_for_good
from trioserve._version import __version__

__all__ = ["main"]

METAVARS = {int: "COUNT", float: "SECONDS", str: "TEXT"}
FLAG_COLUMN = 30  # characters; the same in every group of --help, so that all texts line up


class Text(click.types.StringParamType):
    """A value as it was given: ``Config`` reads it."""


class Choice(click.Choice[str]):
    """The same for one of several words, which a shell can complete."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


class Switch(click.types.BoolParamType):
    """The same for true or false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


class UsageProblem(click.ClickException):
    """What is wrong with the command line or the environment, in one line."""

    exit_code = 2


class ServeCommand(click.Command):
    """Shows options in groups and problems in one line. Knows the words that are subcommands instead of an APP."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                group = OPTIONS[param.name].group if param.name in OPTIONS else "Other"
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl([(spelling.ljust(FLAG_COLUMN), text) for spelling, text in records], FLAG_COLUMN)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(f"{ctx.info_name} {name}".ljust(FLAG_COLUMN), text) for name, text in COMMANDS.items()], FLAG_COLUMN)

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **settings: Any) -> click.Context:
        try:
            if args and args[0] in COMMANDS:
                return load_command(args[0]).make_context(f"{info_name} {args.pop(0)}", args, *more, **settings)
            return super().make_context(info_name, args, *more, **settings)
        except click.NoSuchOption as exc:
            from trioserve._config.peers import advice_on  # only needed for an error message

            advice = advice_on(exc.option_name, as_flag) if exc.ctx is not None and exc.ctx.command is self else ""
            raise UsageProblem(f"there is no {exc.option_name}: {advice}" if advice else exc.format_message()) from None
        except click.UsageError as exc:
            raise UsageProblem(exc.format_message()) from None

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True  # what they may mean is said here
        extra = super().parse_args(ctx, plain_switches(args))
        if extra and not ctx.resilient_parsing:
            raise UsageProblem(f"unexpected argument {extra[0]!r}{meant_by(ctx.params[APP], extra)}")
        return extra


def plain_switches(args: list[str]) -> list[str]:
    """``--access-log false`` and ``--access-log=false``, as others write it, become click's ``--no-access-log``."""
    plain: list[str] = []
    for position, word in enumerate(args):
        if word == "--":
            return plain + args[position:]
        flag, equals, text = word.partition("=")
        if equals and flag in SWITCHES and isinstance(value := switch_of(text), bool):
            plain.append(flag if value else SWITCHES[flag])
        elif plain and plain[-1] in SWITCHES and isinstance(value := switch_of(word), bool):
            plain[-1] = plain[-1] if value else SWITCHES[plain[-1]]
        else:
            plain.append(word)
    return plain


def meant_by(app: str, extra: list[str]) -> str:
    """``"; did you mean main:app?"`` for ``main app``, or an empty string."""
    [attribute, *more] = extra
    is_meant = ":" not in app + attribute and attribute.isidentifier() and not more
    return f"; did you mean {app}:{attribute}?" if is_meant else "; there is one APP"


# The options.


def make_option(name: str, hint: Any, default: Any, known: Option) -> click.Option:
    """The option for one field of ``Config``. It has no default: what is not given is left to ``Config``."""
    flag = as_flag(name)
    kind = kind_of(hint)
    shape: dict[str, Any] = {"type": Text(), "metavar": known.metavar or METAVARS.get(kind)}
    if kind is bool:
        flag = f"{flag}/{SWITCHES[flag]}"
        shape |= {"type": Switch()}
    elif typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        shape |= {"type": Choice(choices), "metavar": f"[{'|'.join(choices)}]"}
    elif typing.get_origin(kind) is tuple:
        shape |= {"multiple": True}
    help = f"{known.help} {brackets(kind, default, known)}".rstrip()
    return click.Option([name, flag], help=help, **shape)


def as_flag(name: str, value: str = "") -> str:
    """``--ws none``, ``--no-server-header``, ``--port``."""
    flag = "--" + name.replace("_", "-")
    shown = {"": flag, "true": flag, "false": f"--no-{flag[2:]}"}
    return shown.get(value, f"{flag} {value}")


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
        build = "compiled" if IS_COMPILED else "pure Python"
        click.echo(f"trioserve {__version__} with {python} on {platform.system()} ({build})")
        ctx.exit()


def spelling(ctx: click.Context, param: click.Parameter) -> str:
    """How the user named a value: its flag; for APP the word of the help, or the environment variable."""
    if isinstance(param, click.Option):
        return param.opts[0]
    is_variable = ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT
    return PREFIX + "APP" if is_variable else param.make_metavar(ctx)


def subcommands(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """What a shell can complete where an APP may stand."""
    return [name for name in COMMANDS if name.startswith(incomplete)]


SWITCHES = {as_flag(name): as_flag(name, "false") for name, hint, _, _ in options() if kind_of(hint) is bool}


# The command.


def start(config: str | None, no_config: bool, print_config: bool, check: bool, **values: Any) -> None:
    """Serve, or what else is asked for, and end the process with the exit code."""
    ctx = click.get_current_context()
    for line in variables_without_effect(os.environ):
        warn(line)
    try:
        if no_config and config:
            raise ConfigError("--config", "cannot be combined with --no-config")
        path = None if no_config else chosen_file(config)
        given = collect(ctx, values, path)
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
    for name, rule in options_without_effect(chosen):
        if name in given:
            warn(f"{spell(name)} has no effect {rule.how} {as_flag(rule.cause, rule.value)}")
    import_for_good("trioserve._supervisor.run", chosen.backend)
    from trioserve._supervisor import run  # the server itself: slow to import, and only needed from here on

    ctx.exit((run.check_command if check else run.run_command)(app, chosen, spell, path))


def warn(line: str) -> None:
    click.echo(f"Warning: {line}", err=True)


def chosen_file(named: str | None) -> str | None:
    """The file to read: the named one, or that of the current directory; an empty name means none.

    Raises:
        ConfigError: a file cannot be read.
    """
    if named is None:
        named = os.environ.get(PREFIX + "CONFIG")  # click takes an empty variable for none
    if named is not None:
        return named or None
    if table := misspelt_table():
        warn(f"pyproject.toml: {table} is not read; did you mean [tool.trioserve]?")
    return find_file()


def collect(ctx: click.Context, values: dict[str, Any], path: str | None) -> dict[str, Given]:
    """What was given anywhere: the command line comes before the environment, the environment before the file.

    Raises:
        ConfigError: the file is not as it should be.
    """
    given = (read_file(path) if path is not None else {}) | read_environment()
    for param in ctx.command.params:
        name = param.name or ""
        if name in values and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            given[name] = Given(values[name], spelling(ctx, param))
    leave_out_platforms(given)
    for name, (value, cause) in implied({name: known.value for name, known in given.items()}).items():
        given[name] = Given(value, given[cause].origin)
    return given


def leave_out_platforms(given: dict[str, Given]) -> None:
    """Platforms set ``PORT`` and ``WEB_CONCURRENCY`` for any program, also for one that has been told otherwise."""
    if {"bind", "uds", "fd"} & given.keys() and "port" in given and given["port"].origin == "PORT":
        del given["port"]
    causes = [name for name in FOR_ONE_PROCESS if name in given and is_on(name, given[name].value)]
    workers = given.get("workers")
    if causes and workers is not None and workers.origin == "WEB_CONCURRENCY" and workers.value != "1":
        del given["workers"]
        warn(f"WEB_CONCURRENCY has no effect with {as_flag(causes[0])}")


def is_on(name: str, value: Any) -> bool:
    if as_flag(name) in SWITCHES and isinstance(value, str):
        value = switch_of(value)
    return value is not False


def parameter(ctx: click.Context, name: str) -> click.Parameter:
    return next(param for param in ctx.command.params if param.name == name)


main = ServeCommand(
    "trioserve",
    callback=start,
    params=[
        click.Argument(
            [APP], envvar=[PREFIX + "APP"], required=False, metavar="APP", shell_complete=subcommands),
        *[make_option(*option) for option in options()],
        click.Option(
            ["--config"], metavar="FILE",
            help="TOML file with options (default: trioserve.toml, or [tool.trioserve] in pyproject.toml, of the "
                 f"current directory) [also {PREFIX}CONFIG in the environment; empty: no file]."),
        click.Option(
            ["--no-config"], is_flag=True, help="Read no file."),
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
