"""Open a connection to a provider: straight, or through the proxy that the environment names."""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

P = TypeVar("P", bound=asyncio.Protocol)
REPLY_LIMIT = 16 * 1024
LOOPBACK = ("localhost", "127.0.0.1", "::1")


async def dial(origin: tuple[str, str, int], make: Callable[[], P], context: ssl.SSLContext | None) -> P:
    """
    A connected protocol. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are respected, by CONNECT.

    Raises `OSError` with the reason in words.
    """
    scheme, host, port = origin
    loop = asyncio.get_running_loop()
    name = host if context is not None else None
    if (proxy := _proxy_for(scheme, host)) is None:
        _, protocol = await loop.create_connection(make, host, port, ssl=context, server_hostname=name)
        return protocol
    sock = await _tunnel(proxy, host, port)
    _, protocol = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=name)
    return protocol


def _proxy_for(scheme: str, host: str) -> str | None:
    # Half a megabyte with `http.client`, for those who dial: the core only knows how.
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    address = proxies.get(scheme) or proxies.get("all")
    return None if not address or host in LOOPBACK or proxy_bypass(host) else address


async def _tunnel(proxy: str, host: str, port: int) -> socket.socket:
    loop, via = asyncio.get_running_loop(), urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    if via.scheme != "http" or not via.hostname:
        raise OSError(f"the proxy {via.scheme}://{via.hostname} is not supported, only http:// ones")
    found = await loop.getaddrinfo(via.hostname, via.port or 3128, type=socket.SOCK_STREAM)
    sock = socket.socket(found[0][0], socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, found[0][4])
        await loop.sock_sendall(sock, _connect_request(via.username, via.password, host, port))
        await _expect_ok(sock)
    except BaseException:  # by cancelling, too: nobody else knows this socket
        sock.close()
        raise
    return sock


def _connect_request(user: str | None, password: str | None, host: str, port: int) -> bytes:
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n"
    if user:
        token = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
        head += f"proxy-authorization: Basic {token}\r\n"
    return (head + "\r\n").encode("latin-1")


async def _expect_ok(sock: socket.socket) -> None:
    loop, reply = asyncio.get_running_loop(), b""
    while b"\r\n\r\n" not in reply:
        data = await loop.sock_recv(sock, 1)  # one byte at a time: what follows belongs to TLS
        reply += data
        if not data or len(reply) > REPLY_LIMIT:
            raise OSError("the HTTP proxy closed the connection")
    if reply.split(b" ", 2)[1] != b"200":
        raise OSError(f"the HTTP proxy refused: {reply.splitlines()[0].decode('latin-1')}")
