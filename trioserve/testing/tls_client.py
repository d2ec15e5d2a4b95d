"""The client's side of TLS over a connection in memory. The server's side is the one of production."""

import ssl

from anyio.streams.tls import TLSStream

from trioserve.testing.raw_client import RawClient

__all__ = ["begin_tls", "trusting_context"]


def trusting_context() -> ssl.SSLContext:
    """A client's context that takes any certificate: a connection in memory leads to one server only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def begin_tls(connection: RawClient, context: ssl.SSLContext, hostname: str | None) -> TLSStream:
    """Do the handshake of a client over ``connection``, and return the stream above it.

    If the handshake fails or is cancelled, the connection is reset. The stream takes an end without ``close_notify``
    for an end, as clients of HTTP do (RFC 9112 §9.8).

    Raises:
        ssl.SSLError: the handshake has failed.
        anyio.BrokenResourceError: the server has broken the connection.
    """
    try:
        return await TLSStream.wrap(
            connection, server_side=False, hostname=hostname, ssl_context=context, standard_compatible=False)
    except BaseException:
        connection.reset()
        raise
