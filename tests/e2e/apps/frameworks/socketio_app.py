"""The handshake of Engine.IO stands for what python-socketio does."""

from socketio import ASGIApp, AsyncServer

app = ASGIApp(AsyncServer(async_mode="asgi"))
