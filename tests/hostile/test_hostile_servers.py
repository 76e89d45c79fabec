"""Servers and accounts that lie, dawdle, overflow or send elsewhere; keys where none belongs."""

import gzip
import json
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
import yaml

from squbed_utils import cli, profiles, roles
from squbed_utils.collection import executors
from squbed_utils.commands import publish
from squbed_utils.models import openai, servers, spending, veo

KEY = "sk-test-4f6c1d0a9b"
ANSWER = {"role": "assistant", "content": '{"answer": "a small red circle"}'}


@contextmanager
def serving(talk):
    """Serve on a free port: `talk` gets each connection, once its request has been read.

    Yields the address, and the requests as they came.
    """
    asked, over = [], threading.Event()

    def serve(connection):
        with connection, suppress(OSError):
            connection.settimeout(5)
            head, _, body = connection.recv(2**16).partition(b"\r\n\r\n")
            size = [line for line in head.lower().split(b"\r\n") if b"content-length:" in line]
            while size and len(body) < int(size[0].split(b":")[1]):
                body += connection.recv(2**16)
            asked.append(head + b"\r\n\r\n" + body)
            talk(connection, over)

    def listen():
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def reply(body, status="200 OK", **headers):
    """Return what a server sends at once."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": len(body)} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode() + body


def at_once(*more, **headers):
    return lambda connection, over: connection.sendall(reply(*more, **headers))


def drip(start):
    """Send a byte now and then, so that no single read is slow."""

    def talk(connection, over):
        connection.sendall(start)
        while not over.wait(0.02):
            connection.sendall(b" ")

    return talk


def completion(tokens):
    choice = {"index": 0, "finish_reason": "stop", "message": ANSWER}
    about = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    return about | {"choices": [choice], "usage": {"total_tokens": tokens}}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Return a function that asks a language model once, at a price of a dollar a token."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)

    def ask(url, **settings):
        settings = {"retries": 0, "price": 1e6, "max_tokens": 100, "timeout": 60.0} | settings
        settings = roles.OpenAI("nano", "openai", base_url=url, **settings)
        return openai.Server(settings, tmp_path / "answers")("refine", "a circle", 1)

    return ask


USAGES = [
    ("negative", -1_000_000),
    ("none at all", 0),
    ("more than can be", 10**9),
    ("beyond any float", 10**400),
    ("not a number", float("nan")),
    ("a fraction", 1.5),
    ("a text", "12"),
    ("a word", True),
]


@pytest.mark.parametrize("tokens", [u[1] for u in USAGES], ids=[u[0] for u in USAGES])
def test_a_usage_that_cannot_be_counts_as_the_most(ask, tmp_path, tokens):
    with serving(at_once(completion(tokens))) as (url, asked):
        assert ask(url) == "a small red circle"
    question = json.loads(asked[0].partition(b"\r\n\r\n")[2])
    text = question["messages"][0]["content"]
    assert len(asked) == 1
    spent = spending.spent(tmp_path, spending.REFINER)
    assert 100 + len(text) < spent < 100 + len(text) + 1000


def test_a_usage_that_can_be_counts_as_it_is(ask, tmp_path):
    with serving(at_once(completion(120))) as (url, _):
        ask(url)
    assert spending.spent(tmp_path, spending.REFINER) == 120


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NESTED = b"[" * 100_000 + b"]" * 100_000
BIG = HEAD + b"\r\n" + b" " * 12_000_000

TALKS = [
    ("a byte now and then", drip(HEAD + b"Content-Length: 100000\r\n\r\n"), "APITimeoutError"),
    ("a head that never ends", drip(HEAD + b"X-More: "), "APITimeoutError"),
    ("a larger answer than any", lambda c, _: c.sendall(BIG), "APIConnectionError"),
    (
        "an answer that unpacks to a gigabyte",
        at_once(gzip.compress(b" " * 20_000_000), Content_Encoding="gzip"),
        "APIConnectionError",
    ),
    ("brackets without end", at_once(NESTED), "not of the form asked for .RecursionError"),
    ("a page", at_once(b"<html>" * 999, Content_Type="text/html"), "not of the form asked for"),
    ("an error that is called a success", at_once({"error": "no"}), "not of the form asked for"),
    ("an error of a megabyte", at_once(b"x" * 10**6, "500 No"), "InternalServerError"),
    ("nothing", lambda c, _: None, "APIConnectionError"),
]


@pytest.mark.parametrize(
    ("talk", "message"), [case[1:] for case in TALKS], ids=[case[0] for case in TALKS]
)
def test_what_is_no_answer_is_one_line(ask, talk, message):
    with serving(talk) as (url, _):
        with pytest.raises(RuntimeError, match=f"'nano' at http.* gives no answer: .*{message}"):
            ask(url, timeout=0.3 if "Timeout" in message else 60.0)


def test_neither_question_nor_key_follows_to_another_host(ask):
    with serving(at_once(completion(9))) as (other, taken):
        elsewhere = at_once(b"", "307 Temporary Redirect", Location=f"{other}/v1/chat/completions")
        with serving(elsewhere) as (url, asked):
            with pytest.raises(RuntimeError, match="sends elsewhere .status 307.*refiner.base_url"):
                ask(url)
        assert len(asked) == 1 and taken == []


@pytest.fixture
def film(tmp_path, monkeypatch):
    """Return a function that has one video made by Veo."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setattr(veo, "ATTEMPTS", 2)

    def film(url, timeout=1.0):
        sizes = {"height": 720, "width": 1280, "seconds": 8, "fps": 24.0}
        model = roles.Veo("veo-x", **sizes, price=0.5, budget=9.0, kind="veo", base_url=url)
        model = roles.Veo(**vars(model) | {"timeout": timeout, "poll": 0.01})
        (made,) = veo.load(model, tmp_path)(["a cat"], [1])
        return made

    return film


def test_the_key_of_veo_goes_to_no_other_host(film):
    with serving(at_once({})) as (other, taken):
        with serving(at_once(b"", "307 Temporary Redirect", Location=f"{other}/x")) as (url, asked):
            made = film(url)
        assert isinstance(made, RuntimeError) and KEY not in str(made)
        assert asked and taken == []


@pytest.mark.parametrize(
    "talk",
    [
        drip(HEAD + b"Content-Length: 100000\r\n\r\n"),
        drip(HEAD + b"X-More: "),
        at_once({"error": {"code": 400, "message": f"{KEY} " * 9999}}, "400 No"),
        at_once(b"<html>no</html>"),
        at_once({"error": {"code": 429, "message": "later"}}, "429 No", Retry_After="1e999"),
    ],
    ids=["a byte now and then", "an endless head", "a long error", "a page", "a wait for ever"],
)
def test_what_is_no_video_is_one_short_line(film, talk):
    with serving(talk) as (url, _):
        made = film(url, timeout=0.5)
    assert isinstance(made, RuntimeError)
    assert KEY not in str(made) and len(str(made)) <= 300


def write(tmp_path, **settings):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": "wan2.1-1.3b", "name": "mine"} | settings))
    return path


VEO = {"kind": "veo", "model": "v", "height": 720, "width": 1280, "seconds": 8, "fps": 24}
VEO |= {"price": 1, "budget": 1}

PROFILES = [
    ("a key for a name", {"refiner": {"key": "sk-proj-Zm9vYmFy"}}, "refiner: key does not name"),
    ("one that could be a name", {"refiner": {"key": "gsk7Zm9vYmFy"}}, "refiner: key does not"),
    ("one in capitals", {"refiner": {"key": "ZM9VYMFY0123"}}, "refiner: key does not name"),
    (
        "a key among options",
        {"video_model": {"options": {"token": "hf_" + "Zm9vYmFy" * 5}}},
        "video_model holds what looks like a key",
    ),
    (
        "a key in a text",
        {"captioner": {"path": "x", "instruction": "use AIza" + "Zm9vYmFy" * 5}},
        "captioner holds what looks like a key",
    ),
    ("a file for an address", {"refiner": {"base_url": "file:///etc/passwd"}}, "no address that"),
    ("an address without scheme", {"refiner": {"base_url": "localhost:80/v1"}}, "no address that"),
    ("an address without host", {"refiner": {"base_url": "http:///v1"}}, "no address that"),
    ("half an address", {"refiner": {"base_url": "http://[::1"}}, "no address that"),
    (
        "a key in the address of Veo",
        {"video_model": VEO | {"base_url": "https://h/?key=Zm9vYmFy"}},
        "video_model: base_url holds a user or a query",
    ),
]


@pytest.mark.parametrize(
    ("settings", "message"), [case[1:] for case in PROFILES], ids=[case[0] for case in PROFILES]
)
def test_no_profile_holds_a_key_or_an_address_of_a_file(tmp_path, capsys, settings, message):
    path = write(tmp_path, **settings)
    assert cli.main(["collect", "--profile", str(path), "--output", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert message in shown and "Zm9vYmFy" not in shown and "ZM9VYMFY" not in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spent", ["-1000.0", "NaN", "Infinity", "1e999", "[1]", '"1"x', "1" * 400])
def test_an_account_that_cannot_be_never_pays_for_more(tmp_path, spent):
    (tmp_path / spending.ACCOUNT).write_text(f'{{"dollars": {spent}}}')
    with pytest.raises(ValueError, match="spending.json cannot be read .*write .*dollars"):
        spending.reserve(tmp_path, {"dollars": 5.0}, {"dollars": 4.0})


@pytest.mark.parametrize("size", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_tar_has_a_size(tmp_path, size):
    with pytest.raises(ValueError, match=r"shard_mb is .*; expected a size above 0, and finite"):
        publish.export(tmp_path, tmp_path / "out", format="webdataset", shard_mb=size)


def test_what_takes_too_long_is_given_up_and_what_fails_is_raised():
    late, never = TimeoutError("too long"), threading.Event()
    with pytest.raises(TimeoutError, match="too long"):
        servers.within(0.01, never.wait, late)
    never.set()
    assert servers.within(60, lambda: "said", late) == "said"
    with pytest.raises(ZeroDivisionError):
        servers.within(60, lambda: 1 / 0, late)


def test_a_cluster_of_ray_that_never_answers(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(executors, "LONGEST_WAIT", 0.01)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **_: never.wait()))
    with pytest.raises(RuntimeError, match=r"no cluster of Ray at '10.0.0.1:1' \(no answer after"):
        executors._connect("10.0.0.1:1", 1)
    monkeypatch.setattr(executors, "LONGEST_WAIT", 60)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **_: sys.exit(15)))
    with pytest.raises(RuntimeError, match="no cluster of Ray at '10.0.0.1:1' .*correct --address"):
        executors._connect("10.0.0.1:1", 1)
    never.set()


def test_names_of_the_profiles_that_come_with_the_package():
    assert {"world", "paper"} <= set(profiles.names())
