"""A bare folder of clips: what names and tables beside them say, or a line on what is wrong."""

import string

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squbed_utils.tasks import folder, manifest

PREFERENCES = "video_a,video_b,preferred"


def make(path, names, **tables):
    """Write a folder of empty clips, and tables beside them."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    for name, lines in tables.items():
        (path / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    return path


def rows(table, *columns):
    return list(table[list(columns)].itertuples(index=False, name=None))


def test_names_of_vbench(tmp_path):
    names = ["a cat-0.mp4", "a cat-10.mp4", "a T-shirt-2.webm", "notes.txt", ".a cat-1.mp4"]
    table = folder.read(make(tmp_path, names))
    assert rows(table, "prompt", "latent", "sample", "video") == [
        ("a T-shirt", 0, 2, "a T-shirt-2.webm"),
        ("a cat", 0, 0, "a cat-0.mp4"),
        ("a cat", 0, 10, "a cat-10.mp4"),
    ]
    assert table.task.nunique() == 2 and table.task[1].startswith("a-cat-")
    assert table.latent_prompt.isna().all() and table.reference.isna().all()


def test_folders_of_tasks_and_latent_prompts(tmp_path):
    latents = ["a red ball", "a_blue_ball", "a ball"]
    names = [f"a_ball/{latent}/take {k}.mp4" for latent in latents for k in "xy"]
    names += [f"star/{latent}/{sample}.mp4" for latent in (2, 10) for sample in ("01", "7")]
    table = folder.read(make(tmp_path, [*names, "moon/1.mp4"]))
    assert list(dict.fromkeys(table.prompt)) == ["a ball", "moon", "star"]
    ball = table[table.task == "a_ball"]
    assert set(ball.latent_prompt) == {"a red ball", "a blue ball", "a ball"}
    assert sorted(rows(ball, "latent", "sample")) == [(i, j) for i in range(3) for j in range(2)]
    star = table[table.task == "star"]
    assert rows(star, "latent", "sample") == [(2, 1), (2, 7), (10, 1), (10, 7)]
    assert star.latent_prompt.isna().all()


def test_prompts_by_task_and_by_latent_prompt(tmp_path):
    names = [f"t/{i}/{j}.mp4" for i in range(3) for j in range(2)] + ["u-0.mp4"]
    said = ["task,latent,prompt,latent_prompt,category,vagueness_rank,rating"]
    said += [f"t,{i},a ball,a ball {i},round,1,{i}" for i in range(3)] + ["u,,a unicorn,,odd,2,"]
    table = folder.read(make(tmp_path, names, prompts=said))
    expected = [("a ball", f"a ball {i}", "round", 1.0, i) for i in range(3) for _ in range(2)]
    columns = ("prompt", "latent_prompt", "category", "vagueness_rank", "rating")
    assert rows(table[table.task == "t"], *columns) == expected
    last = table.iloc[-1]
    assert (last.prompt, last.category, pd.isna(last.rating)) == ("a unicorn", "odd", True)


def test_prompts_by_video_and_ratings(tmp_path):
    said = ["video,prompt,latent_prompt,rating_visual_quality,rating_text_alignment"]
    said += [f"x{i}{j}.mp4,a ball,ball {i},{i + j},{j or ''}" for i in range(3) for j in range(2)]
    names = [f"x{i}{j}.mp4" for i in range(3) for j in range(2)] + ["other.mp4"]
    table = folder.read(make(tmp_path, names, prompts=said))
    assert "other.mp4" not in set(table.video)
    assert rows(table, "latent", "sample", "video") == [
        (i, j, f"x{i}{j}.mp4") for i in range(3) for j in range(2)
    ]
    assert list(table.rating_visual_quality) == [0, 1, 1, 2, 2, 3]
    assert table.rating_text_alignment.notna().tolist() == [False, True] * 3
    assert "6 rated" in folder.understood(table) and "3 rated" in folder.understood(table)


def test_preferences_are_the_share_of_comparisons_won(tmp_path):
    votes = [f"{PREFERENCES},dimension", "a-0.mp4,./a-1.mp4,a,", "a-0.mp4,b/else.mp4,tie,"]
    votes += ["a-2.mp4,a-1.mp4,b,motion smoothness", "a-0.mp4,a-1.mp4,b,"]
    table = folder.read(make(tmp_path, [f"a-{i}.mp4" for i in range(3)], preferences=votes))
    assert table.rating_preference.tolist()[:2] == [0.5, 0.5] and table.rating_preference.isna()[2]
    assert table.rating_motion_smoothness.tolist()[1:] == [1.0, 0.0]


def test_a_manifest_is_written_once_and_says_the_same(tmp_path):
    names = ["=1+1-0.mp4", "-a-1.mp4", "t/1/x.mp4"]
    table = folder.read(make(tmp_path, names, preferences=[PREFERENCES, "-a-1.mp4,no.mp4,a"]))
    written = folder.write_manifest(tmp_path)
    pd.testing.assert_frame_equal(manifest.read(written), table)
    with pytest.raises(ValueError, match="manifest.csv is there already, and is what is scored"):
        folder.write_manifest(tmp_path)


@given(st.text(string.ascii_letters + " -,'é", min_size=1).filter(str.strip))
def test_a_name_gives_back_its_prompt(prompt):
    found = folder.NAME.fullmatch(f"{prompt}-12")
    assert (found["prompt"], found["number"]) == (prompt, "12")


@pytest.mark.parametrize(
    ("names", "tables", "message"),
    [
        (["notes.txt"], {}, "is no archive .no profile.yaml in it. and has no clips; expected"),
        (["cat.mp4"], {}, "cat.mp4 is not named <prompt>-<number>.mp4, .*name it in prompts.csv"),
        (["-1.mp4"], {}, "-1.mp4 is not named"),
        (["a/b/c/0.mp4"], {}, "a/b/c/0.mp4 is not named"),
        (["a-1.mp4", "a-01.webm"], {}, "a-01.webm and a-1.mp4 are the same sample; rename one"),
        (["a-0.mp4"], {"prompts": ["task,promt", "a,b"]}, r"'promt' \(did you mean 'prompt'"),
        (["a-0.mp4"], {"prompts": ["task,prompt", "b,x"]}, "line 2: no clips of the task 'b'"),
        (["a-0.mp4"], {"prompts": ["prompt", "x"]}, "line 2: no clips of the task None"),
        (
            ["a-0.mp4", "b-0.mp4"],
            {"prompts": ["task,prompt", "a,x"]},
            "b-0.mp4 is of the task 'b', which has no row",
        ),
        (
            ["a-0.mp4"],
            {"prompts": ["video,prompt", "a-1.mp4,x"]},
            r"line 2: no clip 'a-1.mp4' in this folder \(did you mean 'a-0.mp4'",
        ),
        (
            ["a-0.mp4", "a-1.mp4"],
            {"prompts": ["video,prompt", "a-0.mp4,x", ",x"]},
            "line 3: video is empty",
        ),
        (
            ["a-0.mp4"],
            {"prompts": ["video,prompt", "a-0.mp4,x", "a-0.mp4,x"]},
            "line 3: .* sample 0 is already in line 2",
        ),
        (
            ["a-0.mp4"],
            {"prompts": ["video,prompt,reference", "a-0.mp4,x,gone.mp4"]},
            "line 2: reference: no video .*gone.mp4",
        ),
        (
            ["a-0.mp4"],
            {"prompts": ["video,prompt,rating", "a-0.mp4,x,good"]},
            "line 2: rating is 'good'; expected a number",
        ),
        (
            ["a-0.mp4"],
            {"prompts": ["video,prompt,rating_x", "a-0.mp4,x,nan"]},
            "line 2: rating_x is 'nan'; expected a number",
        ),
        (
            ["a-0.mp4"],
            {"prompts": ["video,prompt,rating_a b", "a-0.mp4,x,1"]},
            "line 1: the column 'rating_a b' is not rating_ and letters, digits or _",
        ),
        (
            ["a-0.mp4"],
            {"preferences": [PREFERENCES, "a-0.mp4,b.mp4,left"]},
            "line 2: preferred is 'left'; expected 'a', 'b' or 'tie'",
        ),
        (
            ["a-0.mp4"],
            {"preferences": [PREFERENCES, "x.mp4,y.mp4,a"]},
            "line 2: expected two videos, one of them a clip in this folder",
        ),
        (["a-0.mp4"], {"preferences": [PREFERENCES, "a-0.mp4,a-0.mp4,a"]}, "expected two videos"),
        (["a-0.mp4"], {"preferences": ["video_a,video_b", "x,y"]}, "lacks the column preferred"),
    ],
)
def test_what_cannot_be_understood_is_one_line(tmp_path, names, tables, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        folder.read(make(tmp_path, names, **tables))
    assert "\n" not in str(error.value)
