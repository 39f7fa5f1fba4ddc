"""How an answer goes out: in as few pieces as can be, in the order of the requests, and a stream's head at once."""

import socket

from bench.server import Server
from tests.integration.answers import an_id
from tests.integration.test_unread_bodies import answer_on, connected

GET = b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
MORE_THAN_AN_ANSWER = 1 << 20


def test_an_answer_comes_in_one_piece(server: Server) -> None:
    """Head and body are sent together: whoever waits for an answer is woken once."""
    with connected(server) as connection:
        for _ in range(10):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _, body = connection.recv(MORE_THAN_AN_ANSWER).partition(b"\r\n\r\n")

            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"content-length: %d" % len(body) in head
            assert body


def test_answers_without_a_body_keep_their_place(server: Server) -> None:
    """Requests that were sent at once are answered in their order, heads alone among them."""
    with connected(server) as connection:
        connection.sendall(HEAD + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + HEAD + GET)

        assert _head_on(connection).startswith(b"HTTP/1.1 200")
        assert answer_on(connection).startswith(b"HTTP/1.1 404")
        assert _head_on(connection).startswith(b"HTTP/1.1 200")
        assert answer_on(connection).startswith(b"HTTP/1.1 200")


def test_the_last_answer_of_a_connection_is_whole(server: Server) -> None:
    """With or without a body; then the connection is closed."""
    closing = b"Connection: close\r\n\r\n"
    for request in (GET, HEAD):
        with connected(server) as connection:
            connection.sendall(request.removesuffix(b"\r\n") + closing)
            answer = b"".join(iter(lambda: connection.recv(MORE_THAN_AN_ANSWER), b""))

        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n") == (request == HEAD)


def test_the_head_of_a_stream_does_not_wait_for_its_first_line(server: Server) -> None:
    """A follower knows at once that its job was taken, long before there is a result."""
    job_id = an_id().encode()
    body = b"60\n"
    with connected(server) as connection:
        connection.sendall(
            b"PUT /v1/jobs/%b?task=slow_square&param.seconds=60&follow=1 HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (job_id, len(body), body)
        )

        assert _head_on(connection).startswith(b"HTTP/1.1 200")
    with server.client() as client:
        assert client.post(f"/v1/jobs/{job_id.decode()}/cancel?force=1").is_success


def _head_on(connection: socket.socket) -> bytes:
    """Status line and headers of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return head
