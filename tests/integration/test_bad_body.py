"""A body that is broken, too large or of another kind is a problem that says so, and leaves no job behind."""

import gzip
import json
import random
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import serving
from tests.integration.answers import (
    JSON,
    JSONL,
    WAIT,
    Document,
    an_id,
    client,
    document_of,
    ended,
    post,
    problem_of,
    put,
    ran,
)

DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param("", "JSON", id="nothing"),
        pytest.param("{oops", "JSON", id="not JSON"),
        pytest.param('{"task":"sqrt","items":[1]} and more', "trailing", id="text after it"),
        pytest.param('{"task":"sqrt","items":[1]}{"task":"sqrt"}', "trailing", id="two of them"),
        pytest.param('{"task":"sqrt","items":[1,]}', "JSON", id="trailing comma"),
        pytest.param('{"task":"sqrt","items":[NaN]}', "JSON", id="NaN"),
        pytest.param('{"task":"sqrt","items":[-Infinity]}', "JSON", id="Infinity"),
        pytest.param('{"task":"echo","items":["\\ud800"]}', "lone surrogate", id="lone surrogate"),
        pytest.param(
            '{"task":"echo","items":[1],"label":"\\udc00 "}', "lone surrogate", id="lone low surrogate"
        ),
        pytest.param(b'{"task":"sqrt","items":["\xff"]}', "UTF-8", id="item not UTF-8"),
        pytest.param(b'{"task":"sqrt","items":[1],"label":"\xc3\x28"}', "UTF-8", id="label not UTF-8"),
        pytest.param('{"task":"echo","items":[1]}'.encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param("[1,2]", "object", id="an array"),
        pytest.param("null", "object", id="null"),
        pytest.param('"task"', "object", id="a string"),
        pytest.param(DEEP, "object", id="deep array"),
        pytest.param('{"a":' * 100_000, "depth", id="deep object"),
        pytest.param('{"task":"echo","items":[' + DEEP + "]}", "depth", id="deep item"),
        pytest.param('{"task":"echo","items":[],"params":{"value":' + DEEP + "}}", "depth", id="deep param"),
    ],
)
def test_a_body_that_cannot_be_parsed_is_malformed(api: httpx.Client, body: str | bytes, said: str) -> None:
    """400, saying what is expected or where the mistake is."""
    assert said in problem_of(post(api, body), 400)["detail"]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service with small limits."""
    limits = {"max_body_bytes": "4096", "max_item_bytes": "1024", "max_file_bytes": "2048"}
    with serving(tmp_path_factory.mktemp("narrow"), **limits) as server, client(server) as api:
        yield api


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_json_body_over_the_limit_is_sent_to_jsonl(
    narrow: httpx.Client, *, chunked: bool, packed: bool
) -> None:
    """413, with or without a length, and however small it is packed; the problem shows the line to type."""
    body = json.dumps({"task": "echo", "items": ["x" * 500] * 50}).encode()
    headers = JSON | ({"Content-Encoding": "gzip"} if packed else {})
    data = gzip.compress(body) if packed else body

    response = narrow.post("/v1/jobs", content=iter([data]) if chunked else data, headers=headers)

    detail = problem_of(response, 413)["detail"]
    assert "4096" in detail
    assert "curl -T" in detail


def test_jsonl_has_no_limit(narrow: httpx.Client) -> None:
    """Many times the limit of JSON is taken, as lines."""
    job = document_of(put(narrow, "task=echo", b'"x"\n' * 50_000))

    assert ended(narrow, job["id"])["counts"]["succeeded"] == 50_000


@pytest.mark.parametrize("size", [1025, 3000, 600_000])
def test_an_item_over_the_limit_is_named(narrow: httpx.Client, size: int) -> None:
    """413, with its line or index, and nothing is submitted; blank lines count as lines."""
    long = '"' + "x" * (size - 2) + '"'
    job_id = an_id()

    as_line = narrow.put(f"/v1/jobs/{job_id}?task=echo", content=f"1\n\n2\n{long}\n3\n")
    as_member = post(narrow, f'{{"task":"echo","items":[1,{long}]}}')

    assert "Line 4 " in problem_of(as_line, 413)["detail"]
    assert "/v1/files" in problem_of(as_line, 413)["detail"]
    assert ("Item 1 " in problem_of(as_member, 413)["detail"]) == (size < 4000)
    problem_of(narrow.get(f"/v1/jobs/{job_id}"), 404)


def test_an_item_at_the_limit_is_taken(narrow: httpx.Client) -> None:
    """The limit itself is allowed."""
    longest = "x" * 1022

    assert ran(narrow, "echo", [longest])[0]["output"] == longest


@pytest.mark.parametrize("form", [False, True])
def test_a_file_over_the_limit_is_refused(narrow: httpx.Client, *, form: bool) -> None:
    """413, raw or in a form."""
    data = b"x" * 2049
    sent = {"files": {"file": ("a", data)}} if form else {"content": data}

    problem_of(narrow.post("/v1/files", **sent), 413)


@pytest.mark.parametrize(
    ("media_type", "said"),
    [
        ("application/x-www-form-urlencoded", "use --json or -T"),
        ("text/plain", "application/jsonl"),
        ("application/xml", "multipart/form-data"),
        ("", "Content-Type"),
        ("nonsense", "application/json"),
    ],
)
def test_another_media_type_is_told_those_that_are_read(
    api: httpx.Client, media_type: str, said: str
) -> None:
    """415 names the three forms; to a web form it says what was meant to be typed."""
    body = b'{"task":"sqrt","items":[1]}'

    response = api.post("/v1/jobs", content=body, headers={"Content-Type": media_type})

    assert said in problem_of(response, 415)["detail"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"1\n4\n", "gzip", 400),
        (b"", "gzip", 400),
        (gzip.compress(b"1\n4\n" * 999)[:-9], "gzip", 400),
        (gzip.compress(b"1\n4\n")[:-4] + b"oops", "gzip", 400),
        (gzip.compress(b"1\n4\n") + b"junk", "gzip", 400),
        (b"1\n", "br", 415),
        (b"1\n", "gzip, gzip", 415),
    ],
    ids=["not gzip", "nothing", "truncated", "wrong checksum", "junk after it", "brotli", "twice"],
)
def test_a_body_that_cannot_be_unpacked_makes_no_job(
    api: httpx.Client, body: bytes, encoding: str, status: int
) -> None:
    """Broken gzip is malformed, another encoding is not read; no half of it is submitted."""
    job_id = an_id()

    response = api.put(f"/v1/jobs/{job_id}?task=sqrt", content=body, headers={"Content-Encoding": encoding})

    assert "gzip" in problem_of(response, status)["detail"]
    problem_of(api.get(f"/v1/jobs/{job_id}"), 404)


@pytest.mark.parametrize(
    ("query", "headers", "body"),
    [
        ("", JSON, b'{"task":"sqrt","items":[1]}'),
        ("?task=sqrt", {}, b"1\n4\n"),
        ("?task=echo", JSONL, b'"%b"\n' % random.Random(0).randbytes(600_000).hex().encode()),
    ],
    ids=["JSON", "JSON lines", "more than a block"],
)
def test_gzip_that_does_not_say_so_makes_no_job(
    api: httpx.Client, query: str, headers: dict[str, str], body: bytes
) -> None:
    """400, which names the header: taken as lines it would be items, none of which is JSON."""
    place = f"/v1/jobs/{an_id()}"

    response = api.put(place + query, content=gzip.compress(body), headers=headers)

    assert "Content-Encoding: gzip" in problem_of(response, 400)["detail"]
    problem_of(api.get(place), 404)


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "status", "said"),
    [
        ("multipart/form-data", PART + b"--b--\r\n", 400, "boundary"),
        ('multipart/form-data; boundary=""', PART + b"--b--\r\n", 400, "boundary"),
        (f"multipart/form-data; boundary={'b' * 999}", PART + b"--b--\r\n", 400, "boundary"),
        ("multipart/form-data; boundary=c", PART + b"--b--\r\n", 400, "multipart"),
        ("multipart/form-data; boundary=b", b"hello", 400, "multipart"),
        ("multipart/form-data; boundary=b", b"", 400, "ends"),
        ("multipart/form-data; boundary=b", PART, 400, "ends"),
        ("multipart/form-data; boundary=b", PART[:-9], 400, ""),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400, "name"),
        ("multipart/form-data; boundary=b", b"--b\r\nbad\0header\r\n\r\nx\r\n--b--\r\n", 400, "multipart"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422, "no file"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="label"\r\n\r\nx\r\n--b--\r\n',
            422,
            "no file",
        ),
        (
            "multipart/form-data; boundary=b",
            PART + b'--b\r\nContent-Disposition: form-data; name="label"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
            422,
            "label",
        ),
        (
            "multipart/form-data; boundary=b",
            PART + b'--b\r\nContent-Disposition: form-data; name="param.width"\r\n\r\nx\r\n--b--\r\n',
            422,
            "param.width",
        ),
        (
            "multipart/form-data; boundary=b",
            PART + b'--b\r\nContent-Disposition: form-data; name="colour"\r\n\r\nx\r\n--b--\r\n',
            422,
            "colour",
        ),
    ],
)
def test_a_form_that_is_wrong_says_why(
    api: httpx.Client, content_type: str, body: bytes, status: int, said: str
) -> None:
    """A broken form is malformed; one without files, or with wrong fields, is invalid."""
    headers = {"Content-Type": content_type}

    response = api.post("/v1/jobs?task=resize_image", content=body, headers=headers)

    assert said in problem_of(response, status)["detail"]


def test_a_task_without_files_takes_no_form(api: httpx.Client) -> None:
    """The problem says which forms it takes."""
    response = api.post("/v1/jobs?task=sqrt", files={"file": ("a.jpg", b"x")})

    assert "JSON" in problem_of(response, 422)["detail"]


BAD_LINES: list[tuple[bytes, object]] = [
    (b"4", 2.0),
    (b"{oops", None),
    (b"9 9", None),
    (b"NaN", None),
    (b"1e999", None),
    (DIGITS.encode(), None),
    (b'"\xff\xfe"', None),
    (b'"\\ud800"', None),
    (b"[" * 100_000, None),
    (DEEP.encode(), None),
    (b"\0", None),
    (b'{"x":25}\r', 5.0),
]


def test_a_bad_line_is_that_items_failure(api: httpx.Client) -> None:
    """In JSON lines a line that is no item fails alone, as `invalid_input`; the body is taken."""
    body = b"\n".join(line for line, _ in BAD_LINES)

    response = api.post("/v1/jobs?task=sqrt", content=body, headers=JSONL | WAIT)

    results = document_of(response)["results"]
    assert [result.get("output") for result in results] == [output for _, output in BAD_LINES]
    errors = [result["error"] for result in results if "error" in result]
    assert {error["kind"] for error in errors} == {"invalid_input"}
    assert all(len(error["message"]) < 500 for error in errors)


@pytest.mark.parametrize("number", ["1e999", "-1e999", DIGITS, "0." + DIGITS, "1e-999"])
def test_a_huge_number_is_at_most_its_items_failure(api: httpx.Client, number: str) -> None:
    """What no float holds harms neither the worker nor the other items."""
    response = post(api, f'{{"task":"sqrt","items":[4,{number},9]}}', **WAIT)

    results: list[Document] = document_of(response)["results"]
    assert (results[0]["output"], results[2]["output"]) == (2.0, 3.0)
    assert results[1].get("error", {"kind": "invalid_input"})["kind"] in ("invalid_input", "exception")


@pytest.mark.parametrize(("name", "kib"), [("params", 64), ("metadata", 16), ("label", 16)])
def test_a_member_over_its_limit_names_both(api: httpx.Client, name: str, kib: int) -> None:
    """422 with the member's pointer, or the parameter's name, and how much it may have."""
    large = {"task": "echo", "items": [1], name: {"value": "x" * (kib << 10)}}
    said = problem_of(post(api, json.dumps(large)), 422)

    assert said["errors"] == [{"pointer": f"/{name}", "detail": f"more than {kib << 10} bytes"}]
    if name != "label":
        form = {"task": (None, "resize_image"), name: (None, json.dumps(large[name]))}
        said = problem_of(api.post("/v1/jobs", files=form), 422)
        assert said["errors"] == [{"parameter": name, "detail": f"more than {kib << 10} bytes"}]


def test_a_large_body_that_is_not_text_is_told_so(api: httpx.Client) -> None:
    """Also where it is no JSON before that, and wherever a character was cut on the way."""
    text = '{"task":"echo","items":[' + '"é",' * 100_000
    for end in (b"\xff", "é".encode()[:1]):
        body = text.encode() + end
        said = problem_of(post(api, body.replace(b'"items":[', b'"items"[ ')), 400)

        assert said["detail"].startswith("The body is not UTF-8")
        assert said["detail"].endswith(f"at byte {len(body) - 1}.")
