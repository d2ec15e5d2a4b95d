"""WebSockets: the handshake, frames in and out, compression (RFC 6455, RFC 7692)."""
