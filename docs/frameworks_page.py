"""Which frameworks and libraries run on which backend, as a table; ``tests/e2e/test_frameworks.py`` starts each."""

from dataclasses import dataclass
from typing import Final

__all__ = ["FEATURES", "FRAMEWORKS", "Framework", "frameworks_markdown"]

FEATURES: Final = {
    "view": "`async def` views", "thread": "plain `def` views", "stream": "streamed responses",
    "websocket": "WebSockets",
}
"""What is tried, and how the page calls it."""


@dataclass(frozen=True)
class Framework:
    """One row.

    Attributes:
        package: what has to be installed; a test of one that is not is skipped.
        app: the application, as the command gets it, in ``tests/e2e/apps/frameworks``.
        trio, asyncio: the features that work there; what is in neither the framework does not have, or it is the same
            as another.
        paths: of features, where they are not ``/`` and the feature's name.
        remark: what else one should know.
    """

    name: str
    package: str
    app: str
    trio: tuple[str, ...]
    asyncio: tuple[str, ...]
    remark: str = ""
    paths: tuple[tuple[str, str], ...] = ()

    def path(self, feature: str) -> str:
        return dict(self.paths).get(feature, f"/{feature}")


ALL: Final = ("view", "thread", "stream", "websocket")
WSGI: Final = ("thread", "stream")

FRAMEWORKS: Final = (
    Framework("Starlette", "starlette", "starlette_app", ALL, ALL),
    Framework("FastAPI", "fastapi", "fastapi_app", ALL, ALL, "as long as its libraries do: database drivers decide"),
    Framework("Litestar", "litestar", "litestar_app", ALL, ALL, "channels and stores need asyncio"),
    Framework("Quart", "quart", "quart_app", (), ALL, "Quart-Trio is the same for trio"),
    Framework("Quart-Trio", "quart_trio", "quart_trio_app", ALL, (), "needs trio"),
    Framework("Django, ASGI", "django", "django_app", (), ("view", "thread", "stream")),
    Framework("Django, WSGI", "django", "django_app:wsgi", ("view", *WSGI), ("view", *WSGI),
              "`get_wsgi_application()` takes `async def` views, too", paths=(("stream", "/wsgi_stream"),)),
    Framework("Channels", "channels", "channels_app", (), ("websocket",)),
    Framework("Flask", "flask", "flask_app", ("view", *WSGI), ("view", *WSGI),
              "`async def` views need `flask[async]`"),
    Framework("Bottle", "bottle", "bottle_app", WSGI, WSGI, "and any other WSGI application"),
    Framework("Falcon, ASGI", "falcon", "falcon_app", ("view", "stream"), ("view", "stream", "websocket")),
    Framework("Connexion", "connexion", "connexion_app", ("view", "thread"), ("view", "thread")),
    Framework("BlackSheep", "blacksheep", "blacksheep_app", ("view", "websocket"), ("view", "websocket")),
    Framework("Sanic", "sanic", "sanic_app", (), ("view", "stream", "websocket")),
    Framework("MCP SDK", "mcp", "mcp_app", ("view",), ("view",),
              "streams end with the server, see [Shutdown](../concepts/shutdown.md#long-responses)"),
    Framework("Strawberry", "strawberry", "strawberry_app", ("view",), ("view",),
              paths=(("view", "/?query=%7Bgreeting%7D"),)),
    Framework("python-socketio", "socketio", "socketio_app", (), ("view",), "its server is for asyncio",
              paths=(("view", "/socket.io/?EIO=4&transport=polling"),)),
)


def frameworks_markdown() -> str:
    """One row for each."""
    rows = ["| | trio | asyncio | |", "|---|---|---|---|"]
    for known in FRAMEWORKS:
        features = tuple(dict.fromkeys((*known.asyncio, *known.trio)))
        verdicts = " | ".join(_verdict(works, features) for works in (known.trio, known.asyncio))
        rows.append(f"| {known.name} | {verdicts} | {known.remark} |")
    return "\n".join(rows)


def _verdict(works: tuple[str, ...], features: tuple[str, ...]) -> str:
    missing = [FEATURES[feature] for feature in features if feature not in works]
    if not missing:
        return "yes"
    return f"without {', '.join(missing)}" if works else "no"
