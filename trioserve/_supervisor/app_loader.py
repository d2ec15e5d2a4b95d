"""``module:attribute`` becomes an application, or an error that says what was looked for, where, and what is near.

The application's code runs here for the first time. What it raises is its own error (``AppLoadFailed``); that there
is no such module, no such attribute, or nothing in it that could be served, is ``AppNotFound``.
"""

import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any, Final, Literal, TypeAlias, cast

from trioserve._config.values import nearest
from trioserve._errors import AppLoadFailed, AppNotFound, ConfigError
from trioserve._server import (
    ARGUMENTS,
    can_take,
    has_interface,
    interface_of,
    is_opener,
    opens_with_arguments,
    signature_of,
)
from trioserve._supervisor.paths import full_path
from trioserve._types import AnyApp

__all__ = ["load_app", "load_function", "load_object", "without_loader_frames"]

log = logging.getLogger("trioserve")

AnyInterface: TypeAlias = Literal["auto", "asgi3", "asgi2", "wsgi"]
_USUAL_NAMES: Final = ("app", "application")
_USUAL_FACTORIES: Final = ("create_app", "make_app", "get_app", "create_application")


def load_app(target: str, *, factory: bool, app_dir: str, interface: AnyInterface = "auto") -> AnyApp:
    """The application that ``target`` names; ``app_dir`` (empty: the current directory) is searched first.

    With ``factory`` the target names a function without parameters that returns the application. What looks like
    nothing else is taken for one as well, with a warning, as uvicorn does. What is returned has the ``interface``, and
    is not adapted to ASGI 3 yet; or it is an async context manager, or a function that makes one, which will yield the
    application. Such a function is no factory, and ``factory`` makes no difference to it.

    Raises:
        AppNotFound: ``target`` names nothing that could be served.
        AppLoadFailed: the application's module or factory raised; that exception is the ``__cause__``.
        ConfigError: nothing can be imported from ``app_dir``.
    """
    found = load_object(target, app_dir=app_dir)
    if is_opener(found):
        return cast("AnyApp", found)
    if not factory:
        if not _looks_like_factory(found, interface):
            return _checked(found, repr(target), interface)
        log.warning("%r looks like a factory and is called; say so by --factory", target)
    return _checked(_call_factory(found, target), f"what the factory {target!r} returned", interface)


def load_object(target: str, *, app_dir: str, usual_name: str = _USUAL_NAMES[0]) -> Any:
    """What ``target`` names, whatever it is. Raises as ``load_app`` does.

    ``usual_name`` is advice for a target without an attribute.
    """
    module_name, attributes = _split(target, usual_name)
    directory = _search_first(app_dir)
    module = _import(module_name, target, directory)
    return _look_up(module, attributes, target)


def load_function(
    option: str, target: str, *, app_dir: str, arguments: tuple[str, ...]
) -> Callable[..., Any]:
    """The function that ``target`` names, for an option that is not about the application.

    Raises:
        ConfigError: there is no such function, or it cannot be called with ``arguments``.
        AppLoadFailed: its module raised.
    """
    try:
        found = load_object(target, app_dir=app_dir, usual_name=option)
    except AppNotFound as exc:
        raise ConfigError(option, str(exc)) from exc
    if not callable(found):
        raise ConfigError(option, f"{target!r} cannot be called")
    if not can_take(signature := signature_of(found), len(arguments)):
        raise ConfigError(option, f"{target!r} is called with ({', '.join(arguments)}); it takes {signature}")
    function: Callable[..., Any] = found
    return function


def without_loader_frames(exc: BaseException) -> TracebackType | None:
    """The traceback of ``exc`` from the application's first frame on; ``None`` if none of its code had run yet."""
    frames = exc.__traceback__
    while frames is not None and _is_loader(frames.tb_frame.f_globals.get("__name__", "")):
        frames = frames.tb_next
    return frames


def _is_loader(module_name: str) -> bool:
    return module_name.startswith(("trioserve._", "importlib.", "_frozen_importlib")) or module_name == "importlib"


# The target's text.


def _split(target: str, usual_name: str) -> tuple[str, list[str]]:
    module_name, colon, attribute = target.partition(":")
    if colon and not module_name.endswith(".py") and _is_dotted(module_name) and _is_dotted(attribute):
        return module_name, attribute.split(".")
    advice = _meant(target, usual_name) or f", such as main:{usual_name}"
    raise AppNotFound(f"{target!r} is not of the form MODULE:ATTRIBUTE{advice}")


def _is_dotted(text: str) -> bool:
    """Names joined by dots. Not quite identifiers: Python imports ``my-app.py`` and ``2024.py`` when asked by name."""
    return all(("_" + part.replace("-", "_")).isidentifier() and part for part in text.split("."))


def _meant(target: str, usual_name: str) -> str:
    """``"; did you mean 'src.main:app'?"`` for what looks like ``src/main.py``, or an empty string."""
    if target.endswith("()") and ":" in target:
        return f"; did you mean '{target[:-2]}' with --factory?"
    path, colon, attribute = target.replace("\\", "/").rpartition(":")
    if not colon or "/" in attribute or attribute.endswith(".py"):
        path, attribute = path + colon + attribute, ""
    path = path.removesuffix(".py").removeprefix("./")
    is_elsewhere = path.startswith(("/", "../")) or path[1:3] == ":/"  # C:/
    directory, _, file = path.rpartition("/") if is_elsewhere else ("", "", path)
    module_name = file.replace("/", ".")
    parent, _, last_name = module_name.rpartition(".")
    if not attribute and parent and last_name == usual_name:
        module_name = parent
    attribute = attribute or usual_name
    if not (_is_dotted(module_name) and _is_dotted(attribute)):
        return ""
    return f"; did you mean '{module_name}:{attribute}'" + (f" with --app-dir {directory}?" if directory else "?")


# The module.


def _search_first(app_dir: str) -> str:
    """Put the directory, or what Python takes for one, first in ``sys.path``, once; return its full path."""
    directory = full_path(app_dir, "app_dir")
    if not os.path.isdir(directory) and not _is_archive(directory):
        instead = "neither a directory nor a zip file" if os.path.exists(directory) else "not a directory"
        raise ConfigError("app_dir", f"{app_dir!r} is {instead}")
    if directory in sys.path:
        sys.path.remove(directory)
    sys.path.insert(0, directory)
    return directory


def _is_archive(path: str) -> bool:
    """Python imports from there although it is no directory: a zip file, a directory in one, or what a hook knows."""
    import pkgutil  # slow to import, and only needed here

    return pkgutil.get_importer(path) is not None


def _import(module_name: str, target: str, directory: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # The application's own failing import raises the same; then there are frames of the application.
        if without_loader_frames(exc) is None and exc.name is not None:
            raise _no_such_module(target, exc.name, directory) from None
        raise _load_failed(target, "be imported", exc) from exc
    except Exception as exc:  # the application's code: it may raise anything
        raise _load_failed(target, "be imported", exc) from exc


def _load_failed(target: str, what: str, exc: Exception) -> AppLoadFailed:
    reason = next(line for line in traceback.format_exception_only(exc) if not line.startswith(" "))
    return AppLoadFailed(f"{target!r} could not {what}: {reason.splitlines()[0]}")


def _no_such_module(target: str, missing: str, directory: str) -> AppNotFound:
    """Which module is missing (``missing`` may be a parent of the target's), where it should be, what is there."""
    package_name, _, name = missing.rpartition(".")
    places = [directory]
    if package_name:
        package = sys.modules[package_name]
        if not hasattr(package, "__path__"):
            return AppNotFound(f"{target!r}: there is no module {missing!r}, {package_name!r} is not a package")
        places = list(package.__path__)
    modules = [module for place in places if os.path.isdir(place) for module in _modules_in(place)]
    advice = nearest(name, modules)
    if not advice and not package_name and os.path.isdir(directory):
        advice = _one_level_down(name, directory)
    return AppNotFound(f"{target!r}: there is no module {name!r} in {' or '.join(places)}{advice}")


def _modules_in(directory: str) -> Iterator[str]:
    """What could be imported from there, going by the names."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.name.removesuffix(".py")
            elif entry.name.isidentifier() and entry.is_dir():
                yield entry.name


def _one_level_down(name: str, directory: str) -> str:
    """Advice for who stands in a project's directory, and the module is in ``src/`` or ``app/``."""
    packages = [package for package in _modules_in(directory) if os.path.isfile(f"{directory}/{package}/{name}.py")]
    return f"; there is a module '{packages[0]}.{name}'" if len(packages) == 1 else ""


# The attribute.


def _look_up(module: ModuleType, attributes: list[str], target: str) -> Any:
    found: Any = module
    for position, name in enumerate(attributes):
        try:
            found = getattr(found, name)
        except AttributeError:
            owner = ".".join(attributes[:position])
            raise _no_such_attribute(module, found, owner, name, target) from None
        except Exception as exc:  # a property or a module's __getattr__: the application's code
            raise _load_failed(target, "be looked up", exc) from exc
    return found


def _no_such_attribute(module: ModuleType, holder: Any, owner: str, name: str, target: str) -> AppNotFound:
    where = f"{module.__name__}.{owner}" if owner else f"{module.__name__!r} ({_file_of(module)})"
    advice = nearest(name, [known for known in dir(holder) if not known.startswith("__")])
    application = None if owner else _obvious_application(module)
    if application is not None and f"{application!r}" not in advice:
        advice += f"; {module.__name__}:{application} looks like an application"
    if not owner and not advice:
        advice = _obvious_factory(module)
    return AppNotFound(f"{target!r}: there is no {name!r} in {where}{advice}")


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "no file"


def _obvious_application(module: ModuleType) -> str | None:
    """The one name in ``module`` that looks like an application, if there is exactly one; ``app`` beats others."""
    names = [name for name, value in vars(module).items() if _looks_like_application(value)]
    usual = [name for name in names if name in _USUAL_NAMES]
    for candidates in (usual, names):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _obvious_factory(module: ModuleType) -> str:
    """Advice for a module without an application, but with a function that is known to make one."""
    for name in _USUAL_FACTORIES:
        if inspect.isfunction(found := vars(module).get(name)) and can_take(signature_of(found), 0):
            return f"; did you mean '{module.__name__}:{name}' with --factory?"
    return ""


def _looks_like_application(value: object) -> bool:
    if issubclass(type(value), type) or not callable(value):  # not isinstance: some proxies raise when they are asked
        return False
    signature = signature_of(value)
    return signature is not None and tuple(signature.parameters) == ARGUMENTS["asgi3"]


# What was found there.


def _call_factory(factory: Any, target: str) -> Any:
    if not callable(factory):
        raise AppNotFound(f"{target!r} is {_described(factory)}, not a factory: it cannot be called")
    signature = signature_of(factory)
    if not can_take(signature, 0):
        if interface_of(factory) is not None:
            raise AppNotFound(f"{target!r} is an application, not a factory: leave --factory out")
        raise AppNotFound(f"the factory {target!r} needs arguments, {signature}; it is called without any")
    if inspect.iscoroutinefunction(factory):
        raise AppNotFound(f"the factory {target!r} is an async function; a factory is a plain one")
    try:
        return factory()
    except Exception as exc:  # the application's code: it may raise anything
        raise _load_failed(target, "make the application", exc) from exc


def _looks_like_factory(found: Any, interface: AnyInterface) -> bool:
    """It can be called without arguments, at once, and not as an application."""
    if not callable(found) or _has_interface(found, interface) or inspect.iscoroutinefunction(found):
        return False
    return can_take(signature_of(found), 0)


def _has_interface(found: Any, interface: AnyInterface) -> bool:
    return interface_of(found) is not None if interface == "auto" else has_interface(found, interface)


def _checked(found: Any, what: str, interface: AnyInterface) -> AnyApp:
    """``found``, if it can be called as the interface says, or yields what can."""
    if is_opener(found):
        return cast("AnyApp", found)
    if opens_with_arguments(found):
        raise AppNotFound(
            f"{what} is an async context manager that needs arguments, {signature_of(found)}; one that yields the "
            "application is called without any")
    if inspect.iscoroutine(found):
        found.close()  # it will not be awaited, and Python would warn of it
    if not callable(found):
        raise AppNotFound(f"{what} is {_described(found)}, not an application: it cannot be called")
    if _has_interface(found, interface):
        return cast("AnyApp", found)
    signature = signature_of(found)
    if can_take(signature, 0) and inspect.iscoroutinefunction(found):
        raise AppNotFound(f"{what} is an async function without parameters: neither an application nor a factory")
    if interface != "auto" and can_take(signature, len(ARGUMENTS[interface])):
        raise AppNotFound(f"{what} is async, and --interface {interface} calls it without await: use a plain function")
    arguments = ", ".join(ARGUMENTS["asgi3" if interface == "auto" else interface])
    asked_for = "" if interface == "auto" else f", as --interface {interface} says"
    shown = interface_of(found)
    advice = f": use --interface {shown}" if shown is not None else ""
    raise AppNotFound(f"{what} cannot be called with ({arguments}){asked_for}; it takes {signature}{advice}")


def _described(value: object) -> str:
    if isinstance(value, ModuleType):
        application = _obvious_application(value)
        return f"a module (did you mean '{value.__name__}:{application}'?)" if application else "a module"
    return "None" if value is None else f"of type {type(value).__name__!r}"
