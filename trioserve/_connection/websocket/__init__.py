"""A WebSocket: the handshake is a request, and what follows is a conversation."""
