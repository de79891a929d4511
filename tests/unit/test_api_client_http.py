"""The client's half of HTTP: bodies cut anywhere, errors revived, silence told apart from an end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from fake_agent import FakeAgent, Json, Stream, Upgrade, error

from orchestrator.api.client import Client, quoted
from orchestrator.errors import Conflict, Mistake, OrchestratorError, Unreachable


@contextmanager
def saying(path: Path, pieces: list[bytes]) -> Iterator[Client]:
    """A server that hears one request and says exactly these pieces, each in a segment of its own."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(BrokenPipeError):  # a client leaves once it has all it needs
            connection.recv(65536)
            for piece in pieces:
                connection.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    yield Client(str(path))
    thread.join()
    listener.close()


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;note=x\r\n \r\nB\r\nwide world!\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("cut", range(1, len(CHUNKED)))
def test_a_chunked_body_may_be_cut_anywhere(tmp_path: Path, cut: int) -> None:
    with saying(tmp_path / "s", [CHUNKED[:cut], CHUNKED[cut:]]) as client:
        assert client.open("GET", "/").all() == b"hello wide world!"


def test_a_chunked_body_may_come_byte_by_byte(tmp_path: Path) -> None:
    with saying(tmp_path / "s", [bytes([byte]) for byte in CHUNKED]) as client:
        assert client.open("GET", "/").all() == b"hello wide world!"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ],
)
def test_a_body_ends_with_its_length_or_with_the_connection(tmp_path: Path, answer: bytes) -> None:
    with saying(tmp_path / "s", [answer]) as client:
        assert client.open("GET", "/").all() == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ],
)
def test_an_answer_cut_short_is_no_end(tmp_path: Path, answer: bytes) -> None:
    with saying(tmp_path / "s", [answer]) as client, pytest.raises(Unreachable, match="it went away"):
        client.open("GET", "/").all()


def test_messages_come_one_by_one_whatever_the_pieces(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/events"] = lambda _: Stream([b'{"a":1}\n{"a"', b":2}", b"\n"])
        client = Client(str(tmp_path / "run/api.sock"))
        assert list(client.open("GET", "/v1/events").messages()) == [{"a": 1}, {"a": 2}]


def test_an_error_comes_back_as_what_it_was(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        client = Client(str(tmp_path / "run/api.sock"))
        agent.replies["/a"] = lambda _: error("conflict", "cannot do it: later", status=409)
        agent.replies["/b"] = lambda _: error("mistake", "two", ["one thing", "another"])
        agent.replies["/c"] = lambda _: Json("what?", status=500)
        with pytest.raises(Conflict, match="cannot do it: later"):
            client.get("/a")
        with pytest.raises(Mistake) as caught:
            client.post("/b", {})
        assert caught.value.complaints == ("one thing", "another")
        with pytest.raises(OrchestratorError, match="the agent answered 500"):
            client.get("/c")


def test_a_query_survives_its_encoding(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/resolve"] = lambda _: Json({})
        Client(str(tmp_path / "run/api.sock")).get("/v1/resolve", file="/a b/ü&=?#%.yaml", left_out=None)
        assert agent.asked("/v1/resolve").query == {"file": "/a b/ü&=?#%.yaml"}
        assert quoted("a/b c") == "a%2Fb%20c"


def test_after_an_upgrade_nothing_of_what_was_said_is_lost(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/x"] = lambda _: Upgrade(lambda connection: connection.sendall(b"first words"))
        connection, said = Client(str(tmp_path / "run/api.sock")).upgrade("/x", {}, "pyorch-exec")
        while piece := connection.recv(100):
            said += piece
        assert said == b"first words"


def test_where_nobody_listens_the_way_out_is_named(tmp_path: Path) -> None:
    client = Client(str(tmp_path / "api.sock"))
    assert not client.answers()
    with pytest.raises(Unreachable, match=r"it does not run; start it with 'pyorch agent start' or 'pyorch up'"):
        client.get("/v1/info")


@pytest.mark.parametrize("last_words", [None, b""], ids=["it was gone already", "it went without a word"])
def test_what_an_ending_agent_did_not_take_is_said_once_more_to_the_next(
    tmp_path: Path, last_words: bytes | None
) -> None:
    (tmp_path / "run").mkdir()
    path, started = tmp_path / "run/api.sock", []
    with FakeAgent(tmp_path / "next") as following, ExitStack() as ending:
        following.replies["/v1/info"] = lambda _: Json({"pid": 2})
        if last_words is not None:
            ending.enter_context(saying(path, [last_words]))

        def start() -> None:
            path.unlink(missing_ok=True)
            path.symlink_to(tmp_path / "next/run/api.sock")
            started.append(1)

        assert Client(str(path), start).get("/v1/info") == {"pid": 2}
        assert started == [1]
        path.unlink()
        path.symlink_to("nowhere")
        with pytest.raises(Unreachable, match="it does not run"):
            Client(str(path), lambda: started.append(2)).get("/v1/info")
        assert started == [1, 2], "once, and no more"
