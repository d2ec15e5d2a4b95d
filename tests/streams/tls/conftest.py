"""TLS is over streams in memory here; all that a stream has to do, TLS streams do in the folder above."""

import ssl

import pytest

from tests.helpers.certificates import client_context
from tests.helpers.stream_pairs import PLAIN_KINDS, Kind

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=[kind for kind in PLAIN_KINDS if kind.network is None], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def context(request: pytest.FixtureRequest) -> ssl.SSLContext:
    """A client's, for one version of TLS."""
    context = client_context()
    context.minimum_version = context.maximum_version = request.param
    return context
