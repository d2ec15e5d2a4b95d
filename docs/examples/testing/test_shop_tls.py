"""The shop over TLS, for clients that have a certificate. trustme makes certificates for tests."""

import ssl

import httpx
import pytest
import trustme
from shop import app

from trioserve.testing import open_test_server

pytestmark = pytest.mark.anyio
authority = trustme.CA()


@pytest.fixture
def options(tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    authority.issue_cert("test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "shop.pem")
    return {
        "ssl_certfile": str(tmp_path / "shop.pem"),
        "ssl_cert_reqs": "required",
        "ssl_ca_certs": str(tmp_path / "authority.pem"),
    }


async def test_a_client_with_a_certificate(options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    authority.issue_cert("ann@example.org").configure_cert(context)
    async with open_test_server(app, **options) as server, server.client(ssl_context=context) as client:
        answer = await client.get("/price")
    assert str(answer.url) == "https://test/price"
    assert answer.http_version == "HTTP/2"


async def test_a_client_without_a_certificate(options):
    async with open_test_server(app, **options) as server, server.client() as client:
        with pytest.raises(httpx.ReadError):
            await client.get("/price")
