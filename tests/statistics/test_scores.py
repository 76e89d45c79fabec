"""The table of every estimator: which rows there are, and that they are the estimators' own."""

import numpy as np
import pyarrow as pa
import pytest
from kit import small, small_archive

from squbed_utils.archive import layout
from squbed_utils.archive.archive import open_archive
from squbed_utils.estimators.estimate import ESTIMATORS, estimate
from squbed_utils.estimators.registry import Estimator, Terms
from squbed_utils.statistics.controls import CONTROLS, random_number
from squbed_utils.statistics.summary import equal_counts, score_tasks, sources

PROMPTS = {"a": "a dog", "b": "a red ball", "c": "two cats", "d": "rain"}


def flashing(task, latent, sample):
    return np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 10 + latent)])


def components(table, estimator):
    return list(table[table.estimator == estimator].component.unique())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    given = {"frames": flashing, "caption": lambda *place: f"a dog {place[2]}"}
    return small_archive.make(tmp_path_factory.mktemp("small"), PROMPTS, **given)


@pytest.fixture(scope="module")
def table(archive):
    return score_tasks(archive)


class TestRows:
    def test_columns_and_order(self, table):
        assert list(table.columns) == ["estimator", "component", "task", "value"]
        assert list(table.estimator.unique()) == [*ESTIMATORS, *CONTROLS]
        assert np.isfinite(table.value).all()

    def test_one_row_a_component_and_task(self, table):
        assert not table.duplicated(["estimator", "component", "task"]).any()
        sizes = table.groupby(["estimator", "component"]).task.agg(sorted)
        assert all(tasks == list(PROMPTS) for tasks in sizes)

    def test_a_missing_component_has_no_rows(self, table):
        assert components(table, "squbed") == ["aleatoric", "epistemic", "total"]
        assert components(table, "graph_laplacian") == ["epistemic", "total"]
        assert components(table, "prompt_length") == ["aleatoric"]
        assert components(table, "motion") == ["epistemic"]
        assert components(table, "random") == ["total"]
        assert components(table, "alignment") == ["total"]
        assert components(table, "punc") == ["aleatoric", "epistemic"]

    @pytest.mark.parametrize("name", ESTIMATORS)
    def test_values_are_those_of_estimate(self, archive, table, name):
        expected = estimate(*archive.embeddings("c"), estimator=name)
        rows = table[(table.estimator == name) & (table.task == "c")]
        for row in rows.itertuples():
            assert row.value == pytest.approx(getattr(expected, row.component), rel=1e-12)

    def test_values_of_a_control(self, archive, table):
        rows = table[table.estimator == "random"].set_index("task").value
        assert rows.to_dict() == random_number(archive).to_dict()

    def test_the_same_again(self, archive, table):
        assert score_tasks(archive).equals(table)

    def test_without_reading_videos(self, archive, table):
        found = score_tasks(archive, read_videos=False)
        assert found.equals(table[table.estimator != "motion"].reset_index(drop=True))


class TestMissing:
    def test_without_latent_prompts_the_epistemic_terms_are_left(self, tmp_path):
        archive = small_archive.make(tmp_path, PROMPTS, text=False)
        found = score_tasks(archive)
        of_estimators = found[found.estimator.isin(ESTIMATORS)]
        assert set(of_estimators.component) == {"epistemic"}
        assert set(ESTIMATORS) - set(of_estimators.estimator) == {"conditional_vendi"}
        assert set(found.estimator) - set(ESTIMATORS) == set(CONTROLS) - {"motion", "punc"}

    def test_unequal_counts_are_made_equal_where_it_matters(self, tmp_path):
        whole = small_archive.make(tmp_path / "whole", PROMPTS, n=4, m=4)
        failed = {("b", 1, 3), *(("c", 3, k) for k in range(3))}
        holed = small_archive.make(tmp_path / "holed", PROMPTS, n=4, m=4, failed=failed)
        message = "3 to 4 videos of a latent prompt and 3 to 4 latent prompts; .* the first 3 and 3"
        with pytest.warns(UserWarning, match=message):
            found = score_tasks(holed).set_index(["estimator", "component", "task"]).value
        text, videos = whole.embeddings("a")
        assert found["squbed", "total", "a"] == estimate(text, videos).total
        cut = estimate(text[:3], [v[:3] for v in videos[:3]], estimator="von_neumann")
        assert found["von_neumann", "total", "a"] == pytest.approx(cut.total, rel=1e-12)

    def test_as_many_latent_prompts_have_videos_where_it_matters(self):
        text, made, none = np.ones((5, 8)), np.ones((5, 3, 16)), np.empty((5, 0, 16))
        whole = {task: (text, [*made[:k], *none[k:]]) for task, k in (("a", 4), ("b", 3))}
        with pytest.warns(UserWarning, match="estimators that depend on the counts"):
            cut = equal_counts((True, [len(x) for x in videos]) for _, videos in whole.values())
        for kept, videos in (cut(*pair) for pair in whole.values()):
            assert len(kept) == 5 and [len(x) for x in videos] == [3, 3, 3, 0, 0]

    def test_a_thin_task_has_no_rows(self, tmp_path):
        failed = {("b", latent, k) for latent in range(3) for k in range(2)}
        archive = small_archive.make(tmp_path, PROMPTS, failed=failed)
        with pytest.warns(UserWarning, match="1 of 4 tasks left out for want of videos: b"):
            found = score_tasks(archive)
        assert "b" not in set(found.task)

    def test_identical_videos_are_in_no_ranking(self, tmp_path):
        archive = small_archive.make(tmp_path, PROMPTS)
        whole = score_tasks(archive).set_index(["estimator", "component", "task"]).value
        rows = [row | {"embedding": [1.0] * 16} for row in archive.rows("b", 1)]
        layout.write_table(archive.shard("b", 1), pa.Table.from_pylist(rows, schema=layout.SHARD))
        small.resum(tmp_path)
        with pytest.warns(UserWarning, match="1 of 4 tasks are in no ranking, as identical .*: b$"):
            found = score_tasks(open_archive(tmp_path))
        found = found.set_index(["estimator", "component", "task"]).value
        assert set(found.index.get_level_values("task")) == set(PROMPTS) - {"b"}
        assert found["squbed", "total", "a"] == whole["squbed", "total", "a"]

    def test_a_value_that_is_not_finite_is_refused(self, archive):
        broken = Estimator("broken", "Broken", "", "none").register
        broken(lambda text, videos: Terms(0.0, np.inf, 0.0))
        try:
            with pytest.raises(ValueError, match="'broken' returned Terms.*must be finite"):
                score_tasks(archive)
        finally:
            del ESTIMATORS["broken"]


def test_sources_name_every_row(table):
    found = sources()
    assert list(found.index) == list(table.estimator.unique())
    assert list(found.columns) == ["label", "unit", "source"]
    assert found.notna().all(axis=None) and found.label.is_unique
    assert found.loc["conditional_vendi", "source"] == "Jalali et al. 2024, arXiv 2411.02817"
