"""Ports on 127.0.0.1 inside to Unix sockets outside, in one thread and without waiting anywhere."""

from __future__ import annotations

import _socket
import select

from oqto_plugin_sandbox.init.kernel import fail

CHUNK = 256 * 1024


class Flow:
    """One direction of a connection: at most one chunk waits, so a slow reader slows its writer."""

    def __init__(self, source: _socket.socket, target: _socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting = b""
        self.is_ended = False

    def move(self) -> None:
        """Read if nothing waits, write what waits. Raises `OSError` when the connection is broken."""
        if not self.waiting and not self.is_ended:
            self._receive()
        if self.waiting:
            self.waiting = self.waiting[self._send() :]

    def _receive(self) -> None:
        try:
            self.waiting = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        if not self.waiting:
            self.is_ended = True
            self.target.shutdown(_socket.SHUT_WR)

    def _send(self) -> int:
        try:
            return self.target.send(self.waiting)
        except BlockingIOError:
            return 0


class Connection:
    """A client inside and the Unix socket outside."""

    def __init__(self, client: _socket.socket, server: _socket.socket) -> None:
        self.ends = (client, server)
        self.flows = (Flow(client, server), Flow(server, client))

    def move(self) -> bool:
        """Whether it goes on."""
        try:
            for flow in self.flows:
                flow.move()
        except OSError:
            return False
        return not all(flow.is_ended for flow in self.flows)

    def interest(self, end: _socket.socket) -> int:
        events = 0
        for flow in self.flows:
            if flow.source is end and not flow.waiting and not flow.is_ended:
                events |= select.EPOLLIN
            if flow.target is end and flow.waiting:
                events |= select.EPOLLOUT
        return events


class Forwarder:
    """Listens on 127.0.0.1 inside and forwards to Unix sockets outside."""

    def __init__(self, poll: select.epoll, relays: list[tuple[int, str]]) -> None:
        self._poll = poll
        self._listeners: dict[int, tuple[_socket.socket, str]] = {}
        self._connections: dict[int, Connection] = {}
        for port, path in relays:
            self._listen(port, path)

    def _listen(self, port: int, path: str) -> None:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as exc:
            fail("cannot listen on port " + str(port) + " inside: " + str(exc.strerror))
        listener.listen(128)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = (listener, path)
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def ready(self, fd: int) -> None:
        if fd in self._listeners:
            self._accept(*self._listeners[fd])
        elif connection := self._connections.get(fd):
            self._advance(connection)

    def _accept(self, listener: _socket.socket, path: str) -> None:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what socket.accept calls
        except OSError:
            return
        client = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fd)
        server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        client.setblocking(False)
        server.setblocking(False)
        try:
            client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            server.connect(path)
        except OSError:
            client.close()
            server.close()
            return
        self._add(Connection(client, server))

    def _add(self, connection: Connection) -> None:
        for end in connection.ends:
            self._connections[end.fileno()] = connection
            self._poll.register(end.fileno(), connection.interest(end))

    def _advance(self, connection: Connection) -> None:
        goes_on = connection.move()
        for end in connection.ends:
            if goes_on:
                self._poll.modify(end.fileno(), connection.interest(end))
            else:
                self._connections.pop(end.fileno(), None)
                end.close()
