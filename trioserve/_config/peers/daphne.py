"""daphne's options."""

from trioserve._config.peers.table import peer

__all__ = ["DAPHNE"]

DAPHNE = peer(
    "daphne", "",
    ("-p --port", "port", ""),
    ("-b --bind", "host", "--bind takes HOST:PORT"),
    ("-u --unix-socket", "uds", ""),
    ("--fd", "fd", ""),
    ("-e --endpoint", "bind", "HOST:PORT, unix:PATH or fd://N; for TLS --ssl-certfile and --ssl-keyfile"),
    ("-v --verbosity", "log_level", "0 is warning, 1 is info, 2 and 3 are debug"),
    ("-t --http-timeout", "timeout_request", "off by default, as there"),
    ("--access-log", "access_log", "a switch: access lines go to stdout; --log-config sends them elsewhere"),
    ("--log-fmt", "log_format", "text or json; other formats are in the file of --log-config"),
    ("--ping-interval", "ws_ping_interval", ""),
    ("--ping-timeout", "ws_ping_timeout", "20 seconds by default, there 30"),
    ("--websocket_timeout", "ws_max_age", "off by default, there a day"),
    ("--websocket_connect_timeout", "timeout_request", "of a WebSocket it bounds the handshake"),
    ("--websocket-max-message-size", "ws_max_size", "16 MiB by default, there 1 MiB"),
    ("--websocket-max-frame-size", "ws_max_size", "a frame is at most as large as its message"),
    ("--application-close-timeout", "on_disconnect_grace", "0.5 seconds by default, there 10"),
    ("--root-path", "root_path", ""),
    ("--proxy-headers", "proxy_headers", "on by default, and only proxies in --forwarded-allow-ips are believed"),
    ("--proxy-headers-host", "forwarded_headers", "of the x-forwarded- fields, those that the proxy sets"),
    ("--proxy-headers-port", "forwarded_headers", "of the x-forwarded- fields, those that the proxy sets"),
    ("-s --server-name", "header", "a line such as Server:shop, with --no-server-header"),
    ("--no-server-name", "server_header=false", ""),
)
