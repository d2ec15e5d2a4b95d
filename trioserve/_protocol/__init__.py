"""Bytes to events and back: pure functions and state, no I/O, no clock, no tasks."""

from trioserve._protocol.events import Meaning, RequestHead
from trioserve._protocol.http1.codec import Http1Codec, Http1Limits, ParseFields
from trioserve._protocol.http1.head_memory import HeadMemory

__all__ = ["HeadMemory", "Http1Codec", "Http1Limits", "Meaning", "ParseFields", "RequestHead"]
