"""The proxy of mode `proxy`: what it lets through, what it refuses, and how it behaves when it is abused."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from oqto_plugin_sandbox.egress.proxy import MAX_CONNECTIONS, EgressProxy
from oqto_plugin_sandbox.egress.rules import decide, is_public
from oqto_plugin_sandbox.policy.model import Network

LISTED = Network(mode="proxy", allow_domains=("ok.test", "*.ok.test", "port.test:8080", "9.9.9.9"))


@pytest.mark.parametrize(
    ("host", "port", "is_allowed"),
    [
        ("ok.test", 443, True), ("OK.TEST.", 443, True), ("a.b.ok.test", 80, True), ("port.test", 8080, True),
        ("9.9.9.9", 443, True),
        ("ok.test", 22, False), ("port.test", 443, False), ("evilok.test", 443, False), ("ok.test.evil.test", 443, False),
        ("ok.test@evil.test", 443, False), ("evil.test\0.ok.test", 443, False), ("evil.test%00.ok.test", 443, False),
        ("[::1]", 443, False), ("127.0.0.1", 443, False), ("2130706433", 443, False), ("0x7f.1", 443, False),
        ("017700000001", 443, False), ("\u043ek.test", 443, False), ("", 443, False), ("ok.test ", 443, False),
    ],
)  # fmt: skip
def test_e18_e21_names(host, port, is_allowed):
    assert decide(LISTED, host, port).is_allowed is is_allowed


def test_e24_an_empty_list_denies_everything():
    assert not decide(Network(mode="proxy", allow_domains=()), "ok.test", 443).is_allowed


def test_without_a_list_public_names_are_allowed_and_addresses_are_not():
    network = Network(mode="proxy", deny_domains=("*.evil.test", "evil.test"))
    assert decide(network, "example.org", 443).is_allowed
    assert not decide(network, "example.org", 25).is_allowed
    assert not decide(network, "9.9.9.9", 443).is_allowed
    assert not decide(network, "x.evil.test", 443).is_allowed


def test_denial_beats_permission():
    network = Network(mode="proxy", allow_domains=("*.ok.test",), deny_domains=("bad.ok.test",))
    assert not decide(network, "bad.ok.test", 8443).is_allowed
    assert decide(network, "good.ok.test", 443).is_allowed


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
     "168.63.129.16", "192.0.0.192", "::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b:1::a00:1", "fec0::1", "5f00::1", "3fff::1",
     "2001:470::5efe:a00:1", "2001:470::200:5efe:192.168.1.1"],
)  # fmt: skip
def test_e20_addresses_that_are_not_the_internet(address):
    assert not is_public(address)


def test_public_addresses_are():
    assert is_public("9.9.9.9")
    assert is_public("2620:fe::fe")


async def test_e18_an_ipv6_address_is_denied_as_a_decision_that_is_noted(proxy):
    path, port, notes = proxy
    for line in (f"CONNECT [::1]:{port} HTTP/1.1", f"GET http://[::ffff:127.0.0.1]:{port}/ HTTP/1.1"):
        assert (await talk(path, f"{line}\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
    assert [(note.host, note.port, note.is_allowed) for note in notes] == [
        ("[::1]", port, False), ("[::ffff:127.0.0.1]", port, False),
    ]  # fmt: skip


# -- the server ----------------------------------------------------------------------------------


@pytest.fixture
async def far():
    """A server of the internet: echoes what it gets, after a greeting that shows the request."""
    seen = []

    async def serve(reader, writer):
        try:
            while data := await reader.read(65536):
                seen.append(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], seen
    server.close()


@pytest.fixture
async def proxy(tmp_path, far):
    port, _ = far
    notes = []

    async def resolver(host, _):
        return {"ok.test": ["127.0.0.1"], "rebound.ok.test": ["127.0.0.1", "10.0.0.1"]}.get(host, [])

    network = Network(mode="proxy", allow_domains=(f"ok.test:{port}", f"*.ok.test:{port}"))
    served = EgressProxy(
        network, notes.append, resolver=resolver, may_dial=lambda address: address == "127.0.0.1"
    )
    await served.start(str(tmp_path / "out.sock"))
    yield tmp_path / "out.sock", port, notes
    await served.close()
    assert not (tmp_path / "out.sock").exists()


async def talk(path, data, *, end=True):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    if end:
        with contextlib.suppress(OSError):
            writer.write_eof()
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_e15_a_tunnel_carries_many_bytes_both_ways(proxy, far):
    path, port, notes = proxy
    payload = bytes(range(256)) * 20_000
    answer = await talk(path, f"CONNECT ok.test:{port} HTTP/1.1\r\n\r\n".encode() + payload)
    assert answer == b"HTTP/1.1 200 Connection Established\r\n\r\n" + payload
    assert [note.is_allowed for note in notes] == [True]


async def test_e26_plain_http_is_judged_too_and_rewritten(proxy, far):
    path, port, _ = proxy
    request = f"GET http://ok.test:{port}/a?b HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: secret\r\nX-A: 1\r\n\r\n"
    await talk(path, request.encode())
    assert (
        far[1][0]
        == f"GET /a?b HTTP/1.1\r\nHost: ok.test:{port}\r\nConnection: close\r\nX-A: 1\r\n\r\n".encode()
    )
    refused = await talk(path, b"GET http://evil.test/ HTTP/1.1\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 403")


POST = "POST http://ok.test:{port}/ HTTP/1.1\r\n{fields}\r\n"
SECONDS = [
    b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n",
]  # fmt: skip
BODIES = [
    ("", b"", b""),
    ("Content-Length: 5\r\n", b"hello", b"hello"),
    ("Transfer-Encoding: Chunked\r\n", b"0\r\n\r\n", b"0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked\r\n",
        b"00005;a=b\r\nhello\r\n0 \r\nX-T: 1\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
]


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize(("fields", "body", "passed"), BODIES)
async def test_a_second_request_on_a_plain_connection_reaches_nobody(
    proxy, far, fields, body, passed, second
):
    """The first one was judged. The server does not end the connection by itself, and the agent tries both: at once and later."""
    path, port, _ = proxy
    head = f"POST / HTTP/1.1\r\nHost: ok.test:{port}\r\nConnection: close\r\n{fields}\r\n".encode()
    reader, writer = await asyncio.open_unix_connection(str(path))
    async with asyncio.timeout(20):
        writer.write(POST.format(port=port, fields=fields).encode() + body + second)
        shown = await reader.readuntil(b"\r\n\r\n")
        writer.write(second)
        writer.write_eof()
        await reader.read()
    writer.close()
    assert shown.startswith(b"POST / HTTP/1.1\r\nConnection: close\r\n")
    assert b"".join(far[1]) == head + passed


@pytest.mark.parametrize(
    "fields",
    ["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 5\r\n",
     "Content-Length: +5\r\n", "Content-Length : 5\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: xchunked\r\n",
     "Transfer-Encoding\t: chunked\r\n", "X: a\r\n Transfer-Encoding: chunked\r\n", "X: a\nContent-Length: 5\r\n", "X\r\n"],
)  # fmt: skip
async def test_a_body_whose_end_two_readers_see_in_two_places_is_refused(proxy, far, fields):
    path, port, _ = proxy
    answer = await talk(path, POST.format(port=port, fields=fields).encode() + b"hello")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert far[1] == []


@pytest.mark.parametrize("body", [b"5\r\nhello!!\r\n0\r\n\r\n", b"-1\r\n", b"5\nhello", b"5\r\nhel"])
async def test_a_malformed_chunk_ends_the_connection(proxy, far, body):
    path, port, _ = proxy
    await talk(
        path, POST.format(port=port, fields="Transfer-Encoding: chunked\r\n").encode() + body + SECONDS[1]
    )
    assert b"evil.test" not in b"".join(far[1])
    assert not b"".join(far[1]).endswith(b"0\r\n\r\n")


async def test_a_large_body_passes_and_so_do_interim_replies(tmp_path):
    """A server that ignores `Connection: close` still gets no second request, since its reply says that none may come."""
    got, left = bytearray(), asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n")
        got.extend(await reader.readexactly(3_000_000))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
        assert await reader.read() == b""
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def resolver(*_):
        return ["127.0.0.1"]

    network = Network(mode="proxy", allow_domains=(f"ok.test:{port}",))
    served = EgressProxy(network, lambda _: None, resolver=resolver, may_dial=lambda _: True)
    await served.start(str(tmp_path / "out.sock"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "out.sock"))
    body = bytes(range(250)) * 12_000
    async with asyncio.timeout(20):
        writer.write(POST.format(port=port, fields="Content-Length: 3000000\r\n").encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n"
        writer.write(body)
        reply = await reader.readuntil(b"ok")
    assert (
        reply
        == b"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    )
    assert bytes(got) == body
    writer.close()
    async with asyncio.timeout(20):
        await left.wait()
    await served.close()
    server.close()


async def test_a_proxy_starts_in_a_folder_as_deep_as_any(tmp_path):
    """A socket's address is short, a state directory need not be; and what a killed runner left is no obstacle."""
    folder = tmp_path / ("deep" * 50)
    folder.mkdir()
    (folder / "out.sock").touch()
    served = EgressProxy(Network(mode="proxy"), lambda _: None)
    await served.start(str(folder / "out.sock"))
    fd = os.open(folder, os.O_PATH)
    assert (await talk(f"/proc/self/fd/{fd}/out.sock", b"CONNECT localhost:80 HTTP/1.1\r\n\r\n")).startswith(
        b"HTTP/1.1 403"
    )
    assert (folder / "out.sock").stat().st_mode & 0o777 == 0o600
    await served.close()
    assert list(folder.iterdir()) == []
    os.close(fd)


async def test_a_refusal_names_the_rule(proxy):
    path, _, notes = proxy
    answer = await talk(path, b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n")
    assert b"403 Forbidden" in answer
    assert b"evil.test:443: network.allow_domains does not list it" in answer
    assert [(note.host, note.is_allowed) for note in notes] == [("evil.test", False)]


async def test_e20_a_name_that_also_leads_inside_is_refused(proxy):
    path, port, notes = proxy
    answer = await talk(path, f"CONNECT rebound.ok.test:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")
    assert not notes[-1].is_allowed


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.1\r\n\r\n", b"CONNECT evil.test\0.ok.test:443 HTTP/1.1\r\n\r\n", b"CONNECT [::1]:80 HTTP/1.1\r\n\r\n", b"CONNECT ok.test:0 HTTP/1.1\r\n\r\n",
     b"CONNECT ok.test:99999 HTTP/1.1\r\n\r\n", b"GET http://a@ok.test/ HTTP/1.1\r\n\r\n", b"GET ftp://ok.test/ HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n",
     b"CONNECT \xd0\xbek.test:443 HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_e18_malformed_requests(proxy, request_):
    assert (await talk(proxy[0], request_))[:10] == b"HTTP/1.1 4"


async def test_e29_a_header_without_end_is_cut_off(proxy):
    answer = await talk(proxy[0], b"GET http://ok.test/ HTTP/1.1\r\n" + b"X: " + b"a" * 200_000, end=False)
    assert answer == b"" or b"502" in answer


async def test_e29_too_many_connections_are_turned_away_and_the_rest_goes_on(proxy, far):
    path, port, _ = proxy
    idle = [await asyncio.open_unix_connection(str(path)) for _ in range(MAX_CONNECTIONS)]
    assert await talk(path, b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n") == b""
    for _, writer in idle:
        writer.close()
    async with asyncio.timeout(20):
        while b"200" not in await talk(path, f"CONNECT ok.test:{port} HTTP/1.1\r\n\r\n".encode()):
            await asyncio.sleep(0.05)
