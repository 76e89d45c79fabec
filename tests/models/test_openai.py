"""Language models behind an API, against a local server: answers, failures, cost and secrecy."""

import shutil
import time
import traceback

import httpx2
import pytest
import tenacity
from kit import clips, tiny
from kit.chat_server import completion, said, serving
from openai import APIStatusError

from squbed_utils import cli, files, roles
from squbed_utils.collection.collect import collect
from squbed_utils.models import language, openai, spending

KEY = "sk-test-4f6c1d0a9b"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as server:
        yield server


@pytest.fixture
def load(server, tmp_path):
    def load(*, n=3, answers=tmp_path / "answers", **settings):
        settings = {"model": "nano", "base_url": server.url, "retries": 2} | settings
        refiner = roles.OpenAI(kind="openai", **settings)
        return language.load(refiner, "cpu", n=n, answers=answers)

    return load


def test_what_is_asked(load, server):
    assert load().refine("a circle", 2**40 + 7) == "a small red circle"
    (asked,) = server.asked
    assert asked["model"] == "nano" and asked["seed"] == 7 and "temperature" not in asked
    (message,) = asked["messages"]
    assert message["content"].endswith("Prompt: a circle\n")
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_temperature_is_sent_if_the_profile_sets_it(load, server):
    load(temperature=0.5).refine("a circle", 1)
    assert server.asked[0]["temperature"] == 0.5


def test_braces_in_a_prompt_stay(load, server):
    load().refine("a {prompt} of {n} {", 1)
    assert server.asked[0]["messages"][0]["content"].endswith("Prompt: a {prompt} of {n} {\n")


def test_yes_no_and_categories(load, server):
    model = load()
    assert model.compatible("a small red circle", "a circle")
    server.script = [(200, said("no")), (200, said("games")), (200, said("people"))]
    assert not model.compatible("a square", "a circle")
    labels = model.label(["chess", "a crowd", "chess"])
    assert labels[0] == labels[2] and sorted(labels[:2]) == ["games", "people"]
    assert len(server.asked) == 4


def test_an_answer_is_paid_for_once(load, server, tmp_path):
    first = load()
    said_first = [first.refine("a circle", seed) for seed in (1, 2, 1)]
    assert len(server.asked) == 2
    assert [load().refine("a circle", seed) for seed in (1, 2, 1)] == said_first
    assert len(server.asked) == 2
    for different in ({"model": "mini"}, {"temperature": 1.0}):
        load(**different).refine("a circle", 1)
    assert len(server.asked) == 4
    assert len(list((tmp_path / "answers").iterdir())) == 4


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"answer": 3, "asked": {}}', '"\udcff"', "[" * 10**5]
)
def test_a_damaged_answer_is_asked_again(load, server, tmp_path, damage):
    load().refine("a circle", 1)
    (kept,) = (tmp_path / "answers").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage.encode(errors="surrogateescape"))
    assert load().refine("a circle", 1) == "a small red circle"
    assert len(server.asked) == 2 and kept.read_bytes() == whole


def test_of_two_workers_the_first_one_counts(load, server, tmp_path):
    def meanwhile(headers):
        assert load().refine("a circle", 1) == "by the other worker"
        return said("too late")

    server.script = [(200, meanwhile), (200, said("by the other worker"))]
    assert load().refine("a circle", 1) == "by the other worker"
    assert load().refine("a circle", 1) == "by the other worker"
    assert len(server.asked) == 2 and len(list((tmp_path / "answers").iterdir())) == 1


def test_throttled_and_failing_it_is_asked_again(load, server):
    server.script = [(429, {"error": {"message": "slow down"}}), (500, "oops")]
    assert load().refine("a circle", 1) == "a small red circle"
    assert len(server.asked) == 3


def test_after_so_many_failures_it_gives_up(load, server, tmp_path):
    server.script = [(500, {"error": {"message": "oops"}})] * 3
    expected = "'nano' at http://127.0.0.1.* gives no answer: InternalServerError: .*oops.*go on"
    with pytest.raises(RuntimeError, match=expected):
        load().refine("a circle", 1)
    assert len(server.asked) == 3 and not (tmp_path / "answers").exists()


def test_a_request_that_is_wrong_is_not_repeated(load, server):
    server.script = [(400, {"error": {"message": "unsupported: temperature"}})]
    with pytest.raises(RuntimeError, match="BadRequestError: .*unsupported: temperature"):
        load().refine("a circle", 1)
    assert len(server.asked) == 1


BAD = [
    "not json",
    "null",
    {},
    {"choices": []},
    completion("not json"),
    completion('{"answer": 3}'),
    completion('{"answer": "a", "more": 1}'),
    completion(None),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_malformed_answer_is_asked_again_and_then_an_error(load, server, tmp_path, bad):
    server.script = [(200, bad)]
    assert load(answers=tmp_path / "others").refine("a circle", 1) == "a small red circle"
    assert len(server.asked) == 2
    server.script = [(200, bad)] * 3
    with pytest.raises(RuntimeError, match="gives no answer: .*form asked for"):
        load().refine("a circle", 1)
    assert len(server.asked) == 5 and not (tmp_path / "answers").exists()


@pytest.mark.parametrize(
    "declined",
    [completion(None, refusal="I will not"), completion(None, finish_reason="content_filter")],
)
def test_what_the_model_declines_is_an_empty_answer(load, server, declined):
    server.script = [(200, declined)] * 4
    model = load()
    assert model.refine("a circle", 1) == ""
    assert not model.compatible("a red circle", "a circle")
    assert model.label(["a crowd"]) == ["unclear"]
    assert model.refine("a circle", 1) == "" and len(server.asked) == 3


def test_a_server_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    settings = roles.OpenAI("nano", "openai", base_url="http://127.0.0.1:9", retries=0)
    model = language.load(settings, "cpu", n=3, answers=tmp_path)
    with pytest.raises(RuntimeError, match="gives no answer: APIConnectionError"):
        model.refine("a circle", 1)


def test_a_server_that_is_too_slow(load, server):
    server.script = [(200, lambda headers: time.sleep(0.5) or said("late"))]
    with pytest.raises(RuntimeError, match="gives no answer: APITimeoutError"):
        load(timeout=0.1, retries=0).refine("a circle", 1)


def test_a_list_is_asked_for_once(load, server):
    model = load(draws="list")
    assert model.listed and model.refine("a circle", 1) == ["one", "two", "three"]
    assert model.refine("a circle", 1) == ["one", "two", "three"]
    assert load(draws="list").refine("a circle", 1) == ["one", "two", "three"]
    assert len(server.asked) == 1
    assert "Write 3 different videos" in server.asked[0]["messages"][0]["content"]


def test_a_list_with_duplicates_is_asked_for_again(load, server):
    short, doubled = said(["a", "b"]), said(["a cat", "A  cat", "b"])
    server.script = [(200, short), (200, doubled), (200, said(["1. a", "- b", "c\nd"]))]
    assert load(draws="list").refine("a circle", 1) == ["a", "b", "c d"]


def test_lists_of_the_wrong_length_are_not_kept(load, server, tmp_path):
    server.script = [(200, said(["a", "b"]))] * 2 + [(200, said(["a", "b", "c", "d"]))]
    message = "asked 3 times for 3 distinct prompts and gave 4 the last time; .*--retry-failed"
    with pytest.raises(ValueError, match=message):
        load(draws="list").refine("a circle", 2)
    assert len(server.asked) == 3 and not list((tmp_path / "answers").iterdir())
    assert load(draws="list").refine("a circle", 2) == ["one", "two", "three"]
    assert len(server.asked) == 4


def test_all_workers_take_the_same_redrawn_list(load, server):
    server.script = [(200, said(["a", "b"])), (200, said(["a", "b", "c"]))]
    assert load(draws="list").refine("a circle", 1) == ["a", "b", "c"]
    assert load(draws="list").refine("a circle", 1) == ["a", "b", "c"]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "nano needs an API key; set the environment variable OPENAI_API_KEY "),
        ("sk-a b", "OPENAI_API_KEY holds characters that no key has"),
        ("sk-\u00fc", "OPENAI_API_KEY holds characters that no key has"),
    ],
)
def test_keys_that_cannot_be(monkeypatch, tmp_path, key, message):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match=message) as caught:
        language.load(roles.OpenAI("nano", "openai"), "cpu", n=3, answers=tmp_path)
    assert "sk-" not in repr(caught.value)


def test_a_missing_key_is_one_sentence_on_the_command_line(
    paid_profile, monkeypatch, tmp_path, capsys
):
    monkeypatch.delenv("OPENAI_API_KEY")
    line = ["collect", "--profile", str(paid_profile()), "--output", str(tmp_path / "paid")]
    assert cli.main(line) == cli.USER_ERROR
    shown = capsys.readouterr().err
    assert "squbed: nano needs an API key; set the environment variable OPENAI_API_KEY" in shown
    assert "Traceback" not in shown


def test_the_variable_can_be_another(monkeypatch, load, server):
    monkeypatch.setenv("MY_KEY", "sk-other")
    load(key="MY_KEY").refine("a circle", 1)
    assert server.headers[0]["Authorization"] == "Bearer sk-other"


@pytest.mark.parametrize("url", ["https://me:sk-1@host/v1", "https://host/v1?key=sk-1"])
def test_an_address_with_a_key_is_refused(url):
    with pytest.raises(ValueError, match="base_url holds a user or a query") as caught:
        roles.OpenAI("nano", "openai", base_url=url)
    assert "sk-1" not in str(caught.value)


def echo(headers):
    """Say the key back, as careless servers do."""
    return {"error": {"message": f"bad key {headers['Authorization']}", "code": "invalid"}}


@pytest.mark.parametrize("status", [401, 403, 400, 500])
def test_no_error_holds_the_key(load, server, status):
    server.script = [(status, echo)] * 3
    with pytest.raises(RuntimeError, match="gives no answer") as caught:
        load().refine("a circle", 1)
    error = caught.value
    assert error.__cause__ is None and error.__context__ is None
    assert KEY not in f"{error!r} {error} {''.join(traceback.format_exception(error))}"


@pytest.fixture
def paid_profile(server, tiny_profile, tmp_path):
    def paid_profile(**changes):
        refiner = {"kind": "openai", "model": "nano", "base_url": server.url, "retries": 0}
        refiner["price"] = 0
        world = {"kind": "world", "path": str(tiny_profile.parent / "tasks.csv")}
        dataset = world | {"tasks": tiny.TASKS[:1]}
        path = tmp_path / "world-paid.yaml"
        refiner |= changes
        return tiny.write_profile(tiny_profile.parent, path, dataset=dataset, refiner=refiner, m=2)

    return paid_profile


def all_bytes(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_archive_pays_once_and_does_not_hold_the_key(paid_profile, server, tmp_path, capfd):
    server.script = [(200, said("a circle and 0")), (200, said("no"))]
    server.script += [(200, lambda headers: said(f"key {headers['Authorization']}"))]
    folder = tmp_path / "paid"
    archive = collect(paid_profile(), output=folder)
    assert archive.latents().rejected.map(list).tolist() == [["a circle and 0"], [], []]
    assert archive.latents().prompt.tolist()[0] == "key Bearer [key]"
    asked = len(server.asked)
    assert asked == 7 and len(list((folder / "answers").iterdir())) == 7
    for shard in folder.glob("shards/*/*.parquet"):
        shard.unlink()
    again = collect(paid_profile(), output=folder)
    assert again.latents().prompt.tolist() == archive.latents().prompt.tolist()
    assert len(server.asked) == asked
    assert b"a circle and 0" in all_bytes(folder) and KEY.encode() not in all_bytes(folder)
    assert KEY not in "".join(capfd.readouterr())


def test_an_archive_of_lists(paid_profile, server, tmp_path):
    archive = collect(paid_profile(draws="list", check="none"), output=tmp_path / "paid")
    assert archive.latents().prompt.tolist() == ["one", "two", "three"]
    assert len(server.asked) == 1


def test_a_changed_instruction_is_another_run(paid_profile, tmp_path):
    folder = shutil.copytree(files.ROOT / "data" / "instructions", tmp_path / "instructions")
    profile = paid_profile(instructions=str(folder))
    collect(profile, output=tmp_path / "paid")
    (folder / "refine.txt").write_text("Say more: {prompt}")
    next(tmp_path.glob("paid/shards/*/*.parquet")).unlink()
    with pytest.raises(ValueError, match=r"checkpoints.instructions/refine.txt is .* there and "):
        collect(profile, output=tmp_path / "paid")


def test_a_refused_key_is_one_line_without_it(paid_profile, server, tmp_path, capfd):
    server.script = [(401, echo)]
    line = ["collect", "--profile", str(paid_profile()), "--output", str(tmp_path / "paid")]
    assert cli.main(line) == cli.USER_ERROR
    shown = "".join(capfd.readouterr())
    expected = f"squbed: the language model 'nano' at {server.url}/ gives no answer: it refuses"
    assert shown.splitlines()[-1].startswith(f"{expected} the key (status 401); what is finished")
    assert KEY not in shown and KEY.encode() not in all_bytes(tmp_path / "paid")
    assert "OPENAI_API_KEY" in (tmp_path / "paid" / "profile.yaml").read_text()


def test_lists_of_the_wrong_length_fail_and_are_asked_again(paid_profile, server, tmp_path):
    profile, folder = paid_profile(draws="list", check="none"), tmp_path / "paid"
    server.script = [(200, said(["a", "b"]))] * 9
    archive = collect(profile, output=folder)
    assert archive.videos().error.str.contains("for 3 distinct prompts and gave 2").all()
    assert len(server.asked) == 9
    archive = collect(profile, output=folder, retry_failed=True)
    assert archive.latents().prompt.tolist() == ["one", "two", "three"]
    assert len(server.asked) == 10


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_server_is_told_how_long_an_answer_may_be(load, server, monkeypatch, name):
    monkeypatch.setattr(openai, "OPENAI_URL", server.url)
    url = server.url if name == "max_tokens" else None
    load(base_url=url, max_tokens=50).refine("a circle", 1)
    assert server.asked[0][name] == 50
    assert len({"max_tokens", "max_completion_tokens"} & set(server.asked[0])) == 1
    load(base_url=url, max_tokens=60).refine("a circle", 1)  # a whole answer stays one
    assert len(server.asked) == 1


def test_an_answer_that_is_too_long(load, server):
    server.script = [(200, completion('{"answer": "a b', finish_reason="length"))] * 4
    with pytest.raises(RuntimeError, match="longer than refiner.max_tokens, 50; raise that; what"):
        load(max_tokens=50).refine("a circle", 1)
    assert len(server.asked) == 3


def used(folder):
    return spending.spent(folder, "refiner_calls"), spending.spent(folder, "refiner_dollars")


def test_what_the_server_says_was_used_is_booked(load, server, tmp_path):
    model = load(price=2.0)
    server.script = [(200, said("a red circle", tokens=1000))]
    model.refine("a circle", 1)
    assert used(tmp_path) == (1, 0.002)
    model.refine("a circle", 1)
    assert used(tmp_path) == (1, 0.002)


def test_what_is_not_known_is_booked_at_its_most(load, server, tmp_path):
    load(price=1e6, max_tokens=10).refine("a circle", 1)
    calls, dollars = used(tmp_path)
    assert calls == 1 and dollars > 10 + len(server.asked[0]["messages"][0]["content"])


def test_a_request_that_is_refused_is_not_paid(load, server, tmp_path):
    server.script = [(400, {"error": {"message": "unsupported"}})]
    with pytest.raises(RuntimeError, match="unsupported"):
        load(price=2.0).refine("a circle", 1)
    assert used(tmp_path) == (0, 0)


def test_nothing_is_asked_that_the_budget_may_not_cover(load, server, tmp_path):
    answer, least = said("a red circle", tokens=1000), 2e-6 * 4096
    server.script = [(200, answer)] * 9
    model = load(price=2.0, budget=0.015)
    with pytest.raises(RuntimeError, match=r"budget of \$0.0\d* is used .*raise refiner.budget in"):
        for seed in range(9):
            model.refine("a circle", seed)
    calls, dollars = used(tmp_path)
    assert len(server.asked) == calls and dollars == pytest.approx(0.002 * calls)
    assert 0 < calls < 9 and dollars + least < 0.015 + 0.002
    load(price=2.0, budget=1.0).refine("a circle", 8)
    assert len(server.asked) == calls + 1


def test_each_request_whose_answer_is_lost_is_booked(load, server, tmp_path):
    """A request that the server has seen may be paid, and it is made again."""
    late = (200, lambda headers: time.sleep(0.5) or said("late"))
    server.script = [late] * 9
    model = load(price=2.0, max_calls=2, timeout=0.1, retries=5)
    with pytest.raises(RuntimeError, match="budget of 2 calls is used up: 2 calls are spent"):
        model.refine("a circle", 1)
    calls, dollars = used(tmp_path)
    assert len(server.asked) == calls == 2 and dollars > 2 * 2e-6 * 4096


def test_a_server_that_is_not_there_costs_nothing(load, tmp_path):
    model = load(price=2.0, base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(RuntimeError, match="gives no answer: APIConnectionError"):
        model.refine("a circle", 1)
    assert used(tmp_path) == (0, 0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({"retry-after": "7.5"}, 7.5), ({"retry-after": "1e9"}, 2.0), ({"retry-after": "nan"}, 2.0)]
    + [({"retry-after": "Sat, 28 Nov 2026 10:00:00 GMT"}, 2.0), ({}, 2.0)],
)
def test_a_server_says_how_long_to_wait(header, seconds):
    request = httpx2.Request("POST", "http://localhost")
    response = httpx2.Response(429, headers=header, request=request)
    state = tenacity.RetryCallState(None, None, (), {})
    state.attempt_number = 3
    state.set_exception((None, APIStatusError("busy", response=response, body=None), None))
    assert openai._wait(state) == seconds


def test_a_budget_without_a_price_is_refused():
    with pytest.raises(ValueError, match=r"budget is 5 dollars, but price is not"):
        roles.OpenAI("nano", "openai", budget=5.0)


def test_no_call_is_made_without_consent(paid_profile, server, tmp_path):
    profile, folder = paid_profile(price=None), tmp_path / "paid"
    message = "about 6 calls of nano: price not stated; 0 calls are made; nothing more is paid unti"
    with pytest.raises(RuntimeError, match=message):
        collect(profile, output=folder)
    profile = paid_profile(price=10.0, budget=1.0, max_calls=50)
    message = (
        r"6 calls of nano: their answers cost at most \$0.25; 0 calls of 50 are made, \$0.00 of "
        r"the budget of \$1.00 are spent; nothing"
    )
    with pytest.raises(RuntimeError, match=message):
        collect(profile, output=folder, confirm=lambda question: False)
    assert server.asked == []


def test_the_limit_of_calls_stops_the_run_and_a_larger_one_goes_on(
    paid_profile, server, tmp_path, capsys
):
    folder = tmp_path / "paid"
    profile = paid_profile(price=None, max_calls=3)
    line = ["collect", "--profile", str(profile), "--output", str(folder), "--yes"]
    assert cli.main(line) == cli.USER_ERROR
    shown = capsys.readouterr().err
    assert "squbed: the budget of 3 calls is used up: 3 calls are spent" in shown
    assert "raise refiner.max_calls in the profile" in shown and len(server.asked) == 3
    paid_profile(price=None, max_calls=50)
    assert cli.main(line) == 0
    assert len(server.asked) == len(list((folder / "answers").iterdir())) == 4


@pytest.fixture
def paid_labels(server, tiny_profile, tmp_path):
    """Write a profile whose one task is sampled from three captions that the server labels."""
    clips.make_panda(tmp_path, [(f"-{i}video", [f"soup boils {i}"]) for i in range(3)])
    dataset = {"kind": "panda70m", "path": str(tmp_path / "panda.csv"), "pool": 3, "tasks": 1}
    dataset["videos"] = str(tmp_path / "videos")
    refiner = {"kind": "openai", "model": "nano", "base_url": server.url, "retries": 0}

    def paid_labels(**changes):
        path = tmp_path / "labels.yaml"
        settings = {"dataset": dataset, "refiner": refiner | {"check": "none"} | changes, "m": 2}
        return tiny.write_profile(tiny_profile.parent, path, **settings)

    return paid_labels


def test_no_caption_is_labelled_without_consent(paid_labels, server, tmp_path):
    folder, questions = tmp_path / "paid", []
    with pytest.raises(RuntimeError, match="about 6 calls of nano: price not stated; .*--yes"):
        collect(paid_labels(), output=folder)
    assert server.asked == []
    collect(paid_labels(), output=folder, confirm=lambda text: not questions.append(text))
    assert len(questions) == 1 and len(server.asked) == 6 and used(folder)[0] == 6


def test_labelling_stops_at_the_limit_and_goes_on(paid_labels, server, tmp_path):
    folder, questions = tmp_path / "paid", []
    with pytest.raises(RuntimeError, match="budget of 2 calls is used up"):
        collect(paid_labels(max_calls=2), output=folder, confirm=lambda text: True)
    assert len(server.asked) == 2
    profile = paid_labels(max_calls=9)
    collect(profile, output=folder, confirm=lambda text: not questions.append(text))
    assert len(server.asked) == 6
    assert "about 6 calls of nano: price not stated; 2 calls of 9 are made" in questions[0]


@pytest.mark.slow
def test_two_workers_share_the_answers(paid_profile, server, tmp_path):
    archive = collect(paid_profile(check="none"), output=tmp_path / "paid", workers=2)
    assert archive.latents().prompt.tolist() == ["a small red circle"] * 3
    assert len(server.asked) == 3
