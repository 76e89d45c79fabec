"""Veo against a server on this machine, which also fails, dawdles, throttles and refuses."""

import base64
import json
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
import yaml
from kit import tiny

from squbed_utils import cli, roles, video
from squbed_utils.archive.archive import Archive
from squbed_utils.collection.collect import collect
from squbed_utils.models import servers, spending, veo

KEY = "AIza-a-secret-key"
FRAMES = np.random.default_rng(0).integers(0, 256, (6, 36, 64, 3), dtype=np.uint8)


class Service(BaseHTTPRequestHandler):
    """Starts a video, is asked for it once in vain, and then hands it over.

    `server.plan` holds what to do with the next requests instead: (status, headers, body).
    """

    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"]))
        request, server = json.loads(text), self.server
        server.requests.append((self.path, request, self.headers.get("x-goog-api-key")))
        if server.plan:
            self.answer(*server.plan.pop(0))
        elif self.path.endswith(":predictLongRunning"):
            name = self.path.split("/", 2)[2].split(":")[0]
            self.answer(200, {}, {"name": f"{name}/operations/{len(server.requests)}"})
        else:
            server.asked += 1
            done = server.asked % 2 == 0
            self.answer(
                200, {}, {"name": request["operationName"], **(server.done if done else {})}
            )

    def answer(self, status, headers, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": len(body)}.items():
            self.send_header(name, str(value))
        with suppress(ConnectionError):  # of a client that waits no longer
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    path = tmp_path_factory.mktemp("veo") / "made.mp4"
    video.write(path, FRAMES, 12)
    return path.read_bytes()


@pytest.fixture
def server(mp4):
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.plan, server.requests, server.asked = [], [], 0
        server.done = finished(videos=[{"bytesBase64Encoded": base64.b64encode(mp4).decode()}])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def finished(**response):
    return {"done": True, "response": response}


def error(code, message):
    return {"error": {"code": code, "message": message, "status": "X"}}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setattr(veo, "FIRST_WAIT", 0.01)


@pytest.fixture
def pauses(monkeypatch):
    """Let time pass in pauses alone, which are recorded and not slept."""
    pauses = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(veo, "time", clock)
    return pauses


def settings(server, **changes):
    url = f"http://127.0.0.1:{server.server_port}"
    model = {"kind": "veo", "model": "veo-x", "height": 720, "width": 1280, "seconds": 8, "fps": 24}
    return model | {"price": 0.5, "budget": 100, "poll": 0.01, "base_url": url} | changes


@pytest.fixture
def load(server, tmp_path):
    def load(**changes):
        return veo.load(roles.Veo(**settings(server, timeout=120.0) | changes), tmp_path)

    return load


def starts(server):
    return [body for path, body, _ in server.requests if path.endswith(":predictLongRunning")]


def test_the_video_comes_as_the_service_made_it(load, server, tmp_path):
    first, second = load()(["a cat", "a dog"], [2**32 + 7, 8])
    assert (first.frames == FRAMES).all() and first.fps == 12 == second.fps
    assert [body["instances"][0]["prompt"] for body in starts(server)] == ["a cat", "a dog"]
    assert [body["parameters"]["seed"] for body in starts(server)] == [7, 8]
    parameters = starts(server)[0]["parameters"]
    assert parameters["durationSeconds"] == 8 and parameters["resolution"] == "720p"
    assert parameters["aspectRatio"] == "16:9" and parameters["generateAudio"] is False
    assert {sent for *_, sent in server.requests} == {KEY}
    assert spending.spent(tmp_path) == 8.0


def test_throttled_and_then_served(load, server, pauses):
    server.plan = [(429, {}, error(429, "slow down")), (503, {}, error(503, "x"))]
    (made,) = load()(["a cat"], [1])
    assert made.fps == 12 and pauses[:2] == [veo.FIRST_WAIT, 2 * veo.FIRST_WAIT]
    assert len(starts(server)) == 3


def test_throttled_for_ever_is_a_failure_and_not_paid(load, server, tmp_path):
    server.plan = [(429, {}, error(429, "quota"))] * veo.ATTEMPTS
    (made,) = load()(["a cat"], [1])
    assert "veo-x is refused: 429" in str(made) and "quota" in str(made)
    assert len(server.requests) == veo.ATTEMPTS
    assert spending.spent(tmp_path) == 0


def test_no_wait_is_longer_than_the_timeout(load, server, pauses, monkeypatch):
    monkeypatch.setattr(veo, "FIRST_WAIT", 200.0)
    monkeypatch.setattr(veo, "LONGEST_WAIT", 200.0)
    server.plan = [(429, {}, error(429, "later"))]
    (made,) = load()(["a cat"], [1])
    assert "refused: 429" in str(made) and pauses == [] and len(server.requests) == 1


@pytest.mark.parametrize("lost", [httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.ReadError])
def test_a_start_that_may_have_been_seen_is_not_repeated(load, server, monkeypatch, lost, tmp_path):
    asked = []

    def ask(transport, request):
        asked.append(request)
        raise lost("no answer", request=request)

    monkeypatch.setattr(servers.Bounded, "handle_request", ask)
    (made,) = load()(["a cat"], [1])
    assert "no answer" in str(made) and len(asked) == 1 and spending.spent(tmp_path) == 4.0


@pytest.mark.parametrize("lost", [httpx2.ConnectError, httpx2.ConnectTimeout])
def test_a_start_that_was_not_seen_is_repeated_and_not_paid(
    load, server, monkeypatch, lost, tmp_path, pauses
):
    asked = []

    def ask(transport, request):
        asked.append(request)
        raise lost("no way there", request=request)

    monkeypatch.setattr(servers.Bounded, "handle_request", ask)
    (made,) = load()(["a cat"], [1])
    assert "veo-x cannot be reached: no way there" in str(made)
    assert len(asked) == veo.ATTEMPTS and spending.spent(tmp_path) == 0


def test_a_server_error_is_that_videos_failure(load, server, tmp_path):
    server.plan = [(500, {}, error(500, f"broken; you sent {KEY}"))]
    bad, good = load()(["a cat", "a dog"], [1, 2])
    assert "veo-x is refused: 500" in str(bad) and KEY not in str(bad) and "***" in str(bad)
    assert good.fps == 12 and len(starts(server)) == 2
    assert spending.spent(tmp_path) == 4.0


def test_a_prompt_that_is_refused_is_that_videos_failure(load, server):
    server.plan = [(400, {}, error(400, "violates the guidelines"))]
    bad, good = load()(["a cat", "a dog"], [1, 2])
    assert "violates the guidelines" in str(bad) and good.fps == 12


@pytest.mark.parametrize(
    "answer", [(401, {}, error(401, "no")), (400, {}, error(400, "API key not valid"))]
)
def test_a_bad_key_stops_the_run_and_nothing_is_paid(load, server, tmp_path, answer):
    server.plan = [answer]
    with pytest.raises(RuntimeError, match="veo-x is refused: 40"):
        load()(["a cat", "a dog"], [1, 2])
    assert len(server.requests) == 1 and spending.spent(tmp_path) == 0


@pytest.mark.parametrize(
    ("done", "message"),
    [
        (
            finished(raiMediaFilteredCount=1, raiMediaFilteredReasons=["shows a person"]),
            "the service returned no video: shows a person",
        ),
        (finished(), "the service returned no video: no reason given"),
        (
            {"done": True, "error": {"code": 13, "message": "internal"}},
            "the service failed: .*inter",
        ),
        (finished(videos=[{"bytesBase64Encoded": "AAAA"}]), "cannot be read"),
        ({}, "no video after 120 s"),
    ],
)
def test_what_comes_back_is_no_video(load, server, tmp_path, pauses, done, message):
    server.done = done
    (made,) = load(poll=50.0)(["a cat"], [1])
    assert re.search(message, str(made))
    assert spending.spent(tmp_path) == 4.0


def test_a_service_that_is_busy_while_it_is_polled(load, server):
    started = (200, {}, {"name": "publishers/google/models/veo-x/operations/1"})
    server.plan = [started, (503, {}, error(503, "busy")), (429, {}, error(429, "busy"))]
    (made,) = load()(["a cat"], [1])
    assert made.fps == 12 and len(starts(server)) == 1


def test_no_server_at_all(load, tmp_path):
    (made,) = load(base_url="http://127.0.0.1:9")(["a cat"], [1])
    assert isinstance(made, RuntimeError) and KEY not in str(made)
    assert "veo-x cannot be reached" in str(made) and spending.spent(tmp_path) == 0


def test_no_key(load, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY")
    message = "veo-x needs an API key; set the environment variable GEMINI_API_KEY or GOOGLE_API_K"
    with pytest.raises(ValueError, match=message):
        load()
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    load()


def test_a_missing_key_is_one_sentence_on_the_command_line(profile, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("GEMINI_API_KEY")
    line = ["collect", "--profile", str(profile()), "--output", str(tmp_path / "a"), "--yes"]
    assert cli.main(line) == cli.USER_ERROR
    shown = capsys.readouterr().err
    assert "squbed: veo-x needs an API key; set the environment variable GEMINI_API_KEY or" in shown
    assert "Traceback" not in shown


def test_the_account_by_hand(tmp_path):
    assert spending.spent(tmp_path) == 0
    limits = {"dollars": 0.3}
    spending.reserve(tmp_path, {"dollars": 0.1}, limits)
    spending.reserve(tmp_path, {"dollars": 0.2}, limits)
    with pytest.raises(
        RuntimeError, match=r"budget of \$0.30 is used up: \$0.30 are spent .*raise"
    ):
        spending.reserve(tmp_path, {"dollars": 0.1}, limits)
    spending.give_back(tmp_path, {"dollars": 0.2})
    assert spending.spent(tmp_path) == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"dollars": null}', "[" * 10**5])
def test_a_damaged_account(tmp_path, text):
    (tmp_path / spending.ACCOUNT).write_text(text)
    with pytest.raises(ValueError, match="spending.json cannot be read .*write .*dollars"):
        spending.spent(tmp_path)


def test_cost(server):
    assert spending.cost(roles.Veo(**settings(server)), 30) == 120
    free = roles.Diffusers(path="x", height=16, width=16, frames=9, fps=8, steps=1)
    assert spending.cost(free, 30) == 0


@pytest.fixture
def profile(server, tiny_profile, tmp_path):
    """Write a profile of one task, 3 latent prompts and 2 videos each, with Veo as the model."""

    def write(**changes):
        data = {"kind": "world", "path": str(tiny_profile.parent / "tasks.csv")}
        data["tasks"] = tiny.TASKS[:1]
        model = settings(server, **changes)
        path = tmp_path / "veo.yaml"
        return tiny.write_profile(
            tiny_profile.parent, path, video_model=model, dataset=data, n=3, m=2
        )

    return write


def test_nothing_is_paid_without_consent(profile, server, tmp_path, capsys, monkeypatch):
    message = r"6 videos of veo-x cost about \$24.00; \$0.00 of the budget of \$100.00 are spent"
    with pytest.raises(RuntimeError, match=message):
        collect(profile(), output=tmp_path / "a")
    line = ["collect", "--profile", str(profile()), "--output", str(tmp_path / "a")]
    assert cli.main(line) == 2
    assert "until this is confirmed (--yes)" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("n", "", "no"):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert cli.main(line) == 2
    assert server.requests == []


def test_the_budget_stops_the_run_and_a_larger_one_goes_on(profile, server, tmp_path, capsys):
    folder = tmp_path / "archive"
    line = ["collect", "--profile", str(profile(budget=20)), "--output", str(folder), "--yes"]
    assert cli.main(line) == 2
    assert "budget of $20.00 is used up: $20.00 are spent" in capsys.readouterr().err
    assert len(starts(server)) == 5 and len(list(folder.glob("shards/*/*.parquet"))) == 2
    assert len(list(folder.glob("videos/*/*.mp4"))) == 5  # each is stored as it comes
    assert cli.main(line) == 2 and len(starts(server)) == 5
    profile(budget=30)
    assert cli.main(line) == 0
    assert len(starts(server)) == 6 and spending.spent(folder) == 24
    rows = Archive(folder).videos()
    assert (rows.status == "ok").all()
    stored = video.read(folder / rows.path[0])
    assert stored.fps == 12 and (stored.frames == FRAMES).all()


def test_the_key_reaches_no_file_and_no_message(profile, server, tmp_path, capsys):
    server.plan = [(500, {}, error(500, f"you sent {KEY}"))]
    folder = tmp_path / "archive"
    archive = collect(profile(), output=folder, confirm=lambda question: True)
    failed = archive.videos().query("status == 'failed'")
    assert len(failed) == 1 and "***" in failed.error.iloc[0]
    server.plan = [(401, {}, error(401, f"you sent {KEY}"))]
    line = ["collect", "--profile", str(profile()), "--output", str(folder), "--yes"]
    assert cli.main([*line, "--retry-failed"]) == 2
    shown = capsys.readouterr()
    assert "you sent ***" in shown.err and KEY not in shown.err + shown.out
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not any(KEY.encode() in path.read_bytes() for path in files)
    assert yaml.safe_load((folder / "profile.yaml").read_text())["video_model"]["model"] == "veo-x"
