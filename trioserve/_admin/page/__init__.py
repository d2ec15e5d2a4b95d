"""The page of the admin listener: its files, and the header fields that each of them is served with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["PageFile", "load_page"]

_MEDIA_TYPES: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

CONTENT_SECURITY_POLICY: Final = b"; ".join([
    b"default-src 'none'",
    b"script-src 'self'",
    b"style-src 'self'",
    b"img-src 'self'",
    b"connect-src 'self'",
    b"base-uri 'none'",
    b"form-action 'none'",
    b"frame-ancestors 'none'",
])
"""Nothing inline and nothing from elsewhere, and no other page may put this one in a frame."""

_COMMON_FIELDS: Final = (
    (b"cache-control", b"no-cache"),  # a server of another version may answer at the same address tomorrow
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page.

    Attributes:
        fields: of the response, with names in lower case; the length is among them.
    """

    body: bytes
    fields: tuple[tuple[bytes, bytes], ...]


def load_page() -> dict[str, PageFile]:
    """Every file by its name relative to the page's own address, which is the empty name.

    The page refers to its files and to the endpoints by relative addresses, so it works below any path that ends
    with a slash.
    """
    folder = Path(__file__).parent
    files = {path.name: _page_file(path) for path in sorted(folder.iterdir()) if path.suffix in _MEDIA_TYPES}
    files[""] = files.pop("index.html")
    return files


def _page_file(path: Path) -> PageFile:
    body = path.read_bytes()
    own_fields = ((b"content-type", _MEDIA_TYPES[path.suffix]), (b"content-length", b"%d" % len(body)))
    return PageFile(body, own_fields + _COMMON_FIELDS)
