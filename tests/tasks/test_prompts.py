"""Lists of prompts: every form is read as it stands, and every mistake is one clear line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils import profiles, video
from squbed_utils.roles import Prompts
from squbed_utils.tasks import captioned, prompts

CAT, DOG = "a cat, napping", "a dog"
VBENCH = [
    {"prompt_en": CAT, "dimension": ["color", "scene"], "auxiliary_info": {"color": "red"}},
    {"prompt_en": DOG, "dimension": ["color"], "auxiliary_info": ["is it a dog?"]},
    {"prompt_en": CAT, "dimension": ["human_action"]},
]


def tasks_of(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return prompts.read(Prompts(path=str(path), kind="prompts")).tasks


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", f"{CAT}\n\n  a   dog \n"),
        ("list", f"{CAT}\r\n{DOG}"),
        ("p.csv", f'prompt\n"{CAT}"\n{DOG}\n'),
        ("p.tsv", f"category\tprompt\n\t{CAT}\n\t{DOG}\n"),
        ("p.csv", f'prompt;task\n"{CAT}";\n{DOG};\n'),
        ("p.jsonl", f'{{"prompt": "{CAT}", "vagueness_rank": null}}\n\n"{DOG}"\n'),
        ("p.json", json.dumps([CAT, {"prompt": DOG}])),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_form_gives_the_same_tasks(tmp_path, name, text, encoding):
    tasks = tasks_of(tmp_path / name, text, encoding)
    assert [task.prompt for task in tasks] == [CAT, DOG]
    assert tasks[1].id.startswith("a-dog-") and tasks[0].id != tasks[1].id
    assert {(t.dataset, t.category, t.reference, t.vagueness_rank) for t in tasks} == {
        ("prompts", "", None, None)
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "task,prompt,category,vagueness_rank\n007,a cat,animals,1.5\n8,a cat,,\n"),
        (
            "p.jsonl",
            '{"task": "007", "prompt": "a cat", "category": "animals", "vagueness_rank": 1.5}\n'
            '{"task": 8, "prompt": "a cat"}',
        ),
    ],
)
def test_what_is_known_of_a_prompt_is_kept(tmp_path, name, text):
    first, second = tasks_of(tmp_path / name, text)
    assert (first.id, first.category, first.vagueness_rank) == ("007", "animals", 1.5)
    assert (second.id, second.category, second.vagueness_rank) == ("8", "", None)


def test_a_repeated_prompt_is_one_task_of_all_its_categories(tmp_path):
    cat, dog = tasks_of(tmp_path / "VBench_full_info.json", json.dumps(VBENCH))
    assert cat.category == "color, scene, human_action" and dog.category == "color"
    assert len(tasks_of(tmp_path / "p.txt", "a cat\na  cat\n")) == 1


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)))
def test_ids_are_of_the_prompts_alone(tmp_path_factory, texts):
    texts = [f"a {text}" for text in texts if "\ufffd" not in text] or ["a cat"]
    folder = tmp_path_factory.mktemp("ids")
    tasks = tasks_of(folder / "p.json", json.dumps(texts))
    assert {task.prompt: task.id for task in tasks} == {
        task.prompt: task.id for task in tasks_of(folder / "q.json", json.dumps(texts[::-1]))
    }
    assert len({task.id for task in tasks}) == len(set(texts)) == len(tasks)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.txt", "", "has no prompts; expected a text file with a prompt a line, .csv"),
        ("p.txt", " \n\t\n", "has no prompts"),
        ("p.txt", "a cat\nprompt \ufffd", "line 2: prompt is .*; a prompt is a text of"),
        ("p.txt", "a\0cat", "line 1: holds a NUL character"),
        ("p.txt", "prompt,category\na cat,animals", "line 1 is no prompt, but begins a table"),
        ("p.txt", '{"prompt": "a cat"}', "line 1 is no prompt, but begins a table or JSON"),
        (
            "p.txt",
            "a cat\n" + "x" * 20_001,
            "line 2: prompt .* text of at most 20,000 ch",
        ),
        ("p.csv", "", "is empty; expected a header: prompt"),
        ("p.csv", "prompt\n", "has no rows"),
        ("p.csv", "text\na cat\n", "line 1: lacks the column prompt"),
        ("p.csv", "prompt,catgory\na cat,x\n", r"unknown column 'catgory' \(did you mean 'categ"),
        ("p.csv", "prompt\na cat, napping\n", "line 2: has another number of fields"),
        ("p.csv", "prompt,category\n,x\n", "line 2: prompt is empty"),
        ("p.csv", "prompt,task\na cat,a/b\n", "line 2: task is 'a/b'; expected letters"),
        ("p.csv", "prompt,task\na cat,1\na dog,1\n", "line 3: task 1 is already in line 2"),
        ("p.csv", "prompt,vagueness_rank\na cat,high\n", "line 2: vagueness_rank is 'high'; expec"),
        ("p.csv", "prompt,vagueness_rank\na cat,1\na cat,2", "line 3: task a-cat-.* is already in"),
        ("p.csv", "prompt,reference\na cat,gone.mp4\n", "line 2: reference: no video .*gone.mp4"),
        ("p.jsonl", '"a cat"\n{"prompt": "a', "line 2: not valid JSON"),
        ("p.jsonl", '"a cat"\n["a dog"]', r"line 2: prompt is \['a dog'\]; a prompt is a"),
        (
            "p.jsonl",
            '{"promt": "a"}',
            "line 1: prompt is empty; line 1: promt is 'a'; it has",
        ),
        ("p.jsonl", '{"task": "a"}', "line 1: prompt is empty"),
        ("p.jsonl", '{"prompt": ["a"]}', r"line 1: prompt is \['a'\]; a prompt is a text"),
        (
            "p.jsonl",
            '{"prompt": "a", "category": {"b": 1}}',
            "line 1: category is {'b': 1}; expected",
        ),
        ("p.json", '{"a": "b"}', "entry 1: a is 'b'; it has no such entry"),
        ("p.json", "[1]", "entry 1: prompt is 1; a prompt is a text"),
        ("p.json", '["a", ""]', "entry 2: prompt is empty"),
        ("p.json", "[" * 100_000, "not valid JSON"),
        ("p.json", '[{"prompt_en": 3, "dimension": 4}]', "entry 1: prompt is 3; a prompt"),
    ],
)
def test_every_mistake_is_one_clear_line(tmp_path, name, text, said):
    with pytest.raises(ValueError, match=said) as error:
        tasks_of(tmp_path / name, text)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    for path, kind, said in (
        (tmp_path / "gone.txt", FileNotFoundError, "no prompts .*gone.txt; expected a text file"),
        (tmp_path, ValueError, "is a folder or a device"),
    ):
        with pytest.raises(kind, match=said):
            prompts.read(Prompts(path=str(path), kind="prompts"))
    (tmp_path / "p.txt").write_bytes("a cat\né".encode("latin-1"))
    with pytest.raises(ValueError, match="line 2: not UTF-8; save it as UTF-8"):
        prompts.read(Prompts(path=str(tmp_path / "p.txt"), kind="prompts"))


def test_references_are_found_beside_the_file_and_copied(tmp_path):
    video.write(tmp_path / "cat.mp4", np.zeros((2, 32, 32, 3), np.uint8), 8)
    path = tmp_path / "p.csv"
    path.write_text("prompt,reference\na cat,cat.mp4\na dog,\n")
    dataset = Prompts(path=str(path), kind="prompts")
    source = prompts.read(dataset)
    cat, dog = source.tasks
    assert cat.reference == f"references/{cat.id}.mp4" and dog.reference is None
    source.write_reference(cat, tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").read_bytes() == (tmp_path / "cat.mp4").read_bytes()
    assert "lpips" in captioned.roles_of(dataset) and captioned.size(dataset) == 2


def test_an_installed_package_is_found_and_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "vbench"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it needs a GPU')")
    (package / "VBench_full_info.json").write_text(json.dumps(VBENCH))
    monkeypatch.syspath_prepend(tmp_path)
    dataset = Prompts(path="vbench", kind="prompts")
    assert len(prompts.read(dataset).tasks) == 2 and "vbench" not in sys.modules
    assert Path(dataset.places()["path"].path) == package / "VBench_full_info.json"
    assert "lpips" not in captioned.roles_of(dataset)


def test_an_absent_package_says_how_to_get_it():
    with pytest.raises(FileNotFoundError, match="pip install --no-deps vbench2, or give the path"):
        prompts.read(Prompts(path="vbench2", kind="prompts"))


def test_a_file_takes_the_place_of_a_profiles_dataset(tiny_profile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile = prompts.instead(profiles.load(tiny_profile), "my.txt")
    assert profile.dataset == Prompts(path=str(tmp_path / "my.txt"), kind="prompts")
    assert profile.name == "world-tiny" and profile.n == profiles.load(tiny_profile).n


def test_what_the_world_cannot_say_is_named(tiny_profile):
    world = profiles.load("world")
    prompts.require_sayable(["a star", "a small red thing"], world)
    with pytest.raises(ValueError, match="cannot say 'a cat': it says a thing"):
        prompts.require_sayable(["a cat", "a star", "a dog"], world)
    prompts.require_sayable(["a cat"], profiles.load(tiny_profile))  # whose draws are not checked


def test_a_ladder_takes_each_rung_in_turn_and_of_more_the_same_first(tmp_path):
    said = {"object_class": "thing {}", "human_action": "A person is {}", "color": "a red {}"}
    said |= {"temporal_flickering, scene": "word " * 14 + "{}", "overall_consistency": "short {}"}
    rows = [
        {"prompt_en": text.format(i), "dimension": dimension.split(", ")}
        for dimension, text in said.items()
        for i in range(6)
    ]
    tasks = tasks_of(tmp_path / "p.json", json.dumps(rows))
    five, three = prompts.ladder(tasks, 5), prompts.ladder(tasks, 3)
    assert five.category.tolist() == [*prompts.RUNGS] * 5
    assert three.equals(five.head(9)) and five.prompt.is_unique
    assert len(prompts.ladder(tasks, 1000)) == 18
    assert five.prompt[five.category == "an object"].str.startswith("thing").all()
    assert {len(text.split()) for text in five.prompt[five.category == "a sentence"]} == {15}
