"""ASGI's rules: scopes and messages, pure."""

from trioserve._asgi.fields import ResponseFields
from trioserve._asgi.http import HttpResponse, ResponseState, error_response
from trioserve._asgi.scope import ASGI_VERSION, ScopeFactory

__all__ = ["ASGI_VERSION", "HttpResponse", "ResponseFields", "ResponseState", "ScopeFactory", "error_response"]
