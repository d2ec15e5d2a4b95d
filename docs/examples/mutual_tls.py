"""Greets clients by the name in their certificate, with an SSLContext of the program's own.

    python docs/examples/mutual_tls.py site.pem site.key clients-ca.pem
"""

import ssl
import sys
from typing import Any

import trioserve


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    tls = scope["extensions"]["tls"]
    body = f"Hello, {tls['client_cert_name']}\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


def make_context(certificate: str, key: str, authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authorities)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


if __name__ == "__main__":
    trioserve.run(app, port=8443, ssl_context=make_context(*sys.argv[1:]))
