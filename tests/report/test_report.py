"""The report: its numbers, that texts are data, its size, and the command that writes it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread

import supervised
from minivec import LinearMap, MiniVec2VecAligner, NotAlignedError, evaluate_alignment
from minivec.report import Report, words
from minivec.report import gather as gather_module
from minivec.report.gather import stages_of
from minivec.report.texts import read_texts

A, B = supervised.spaces(16, 12, rows=400)
EVIL = "</script><script>alert(1)</script> & <b>bold</b>"
TEXTS = [f"text {i} about {'birds' if i % 2 else 'fishes'}" for i in range(399)] + [EVIL]


@pytest.fixture(scope="module")
def aligner():
    with pytest.MonkeyPatch.context() as monkeypatch:
        supervised.install(monkeypatch)
        model = MiniVec2VecAligner(16)
        model.align(A, B)
    return model


@pytest.fixture(scope="module")
def paired(aligner):
    return aligner.report(A, B, source_texts=TEXTS, paired=True).facts


@pytest.fixture(scope="module")
def page(aligner):
    pytest.importorskip("bokeh")
    return aligner.report(A, B, source_texts=TEXTS, paired=True).html


def data_of(page, name="data"):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)[1])


def test_metrics_are_those_of_evaluate(aligner, paired):
    assert paired.metrics == pytest.approx(evaluate_alignment(aligner, A, B))
    assert (paired.rank == 1).mean() == paired.metrics["top1_accuracy"]


def test_matches_are_the_nearest_rows(aligner, paired):
    cosine = np.asarray(aligner(A)) @ (B / np.linalg.norm(B, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(paired.near, np.argsort(-cosine, axis=1)[:, :3])
    assert paired.mutual == np.mean([cosine[:, j].argmax() == i for i, j in enumerate(paired.near[:, 0])])


def test_a_map_that_works_shows_it(paired):
    """An exact rotation: pairs lie together in the picture, agree along every direction, and are mutual."""
    assert paired.mutual == 1 and np.abs(paired.source.after - paired.target.after).max() < 0.05
    assert all(direction.correlation > 0.95 for direction in paired.directions[:8])
    assert sum(c.source for c in paired.clusters) == sum(c.target for c in paired.clusters) == 400
    assert [c.found for _, c in paired.weakest_clusters] == sorted(c.found for c in paired.clusters)


def test_a_map_that_does_not_work_shows_it(aligner, paired):
    wrong = aligner.report(A, B[::-1].copy(), paired=True).facts
    assert wrong.metrics["top1_accuracy"] < 0.02
    assert np.abs(wrong.source.after - wrong.target.after).mean() > 0.3 * np.abs(wrong.target.after).mean()
    assert max(abs(direction.correlation) for direction in wrong.directions) < 0.4
    assert "overrule" in " ".join(words.reasons(wrong)) and "overrule" not in " ".join(words.reasons(paired))


def test_stages_tell_what_they_recorded():
    """Two runs of iterations, and a diagnostic of another name than the objective."""
    steps = [{"stage": "refine1", "step": i, "objective": v} for i, v in ((1, 0.1), (2, 0.2), (1, 0.3))]
    steps.append({"stage": "anchors", "step": 1, "agreement": 0.5})
    found = stages_of({"seconds": {"anchors": 1.0, "refine1": 2.0, "frame": 0.1}, "steps": steps})
    assert [stage.runs for stage in found] == [[], [[0.1, 0.2], [0.3]], []]
    assert found[0].told == {"agreement": 0.5} and found[1].told == {} and found[1].steps == 3


def test_hubs_are_counted(paired):
    assert paired.occurrences.sum() == 10 * 400
    assert paired.orphans == (paired.occurrences == 0).mean()


def test_points_of_both_sides_take_turns(paired):
    pytest.importorskip("bokeh")
    from minivec.report.charts import charts

    data = charts(paired)["after"].renderers[0].data_source.data
    of_A = data["at"] < 400
    assert sorted(data["at"]) == list(range(800)) and 150 < of_A[:400].sum() < 250
    np.testing.assert_array_equal(
        data["x1"][np.argsort(data["at"])][:400], paired.source.after[:, 0].astype(np.float32)
    )


def test_the_report_knows_no_aligner():
    """It takes rows, a callable and a history, so that no circle of imports arises."""
    import minivec.report

    for path in Path(minivec.report.__file__).parent.glob("*.py"):
        assert "minivec.aligner" not in path.read_text(encoding="utf-8"), path


def test_whether_it_was_this_data(aligner):
    assert aligner.report(A, B).facts.same_data == (True, True)
    assert aligner.report(A[:300], B).facts.same_data == (False, True)


def test_large_inputs_are_sampled_and_pairs_stay_pairs(aligner, monkeypatch):
    monkeypatch.setattr(gather_module, "SHOWN", 100)
    some = aligner.report(A, B, source_texts=TEXTS, paired=True).facts
    assert len(some.source.rows) == len(some.rank) == 100 and some.source.count == 400
    assert some.metrics["top1_accuracy"] == 1.0
    assert some.source.texts == [TEXTS[row] for row in some.source.rows]
    unpaired = aligner.report(A, B[:150]).facts
    assert len(unpaired.target.rows) == 100 and unpaired.metrics is None


def test_clusters_are_named_by_their_texts(aligner, paired):
    birds = "gull tern wren lark rook swan duck hawk".split()
    texts = [f"it was a {birds[c]} that was" if i % 4 else "that it was" for i, c in enumerate(paired.source.cluster)]
    found = aligner.report(A, B, source_texts=texts, paired=True).facts.clusters
    assert [cluster.words for cluster in found] == birds


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(A=A[:19], B=B), "A must have at least 20 rows"),
        (dict(A=A[:, :5], B=B), "A must have 16 dimensions"),
        (dict(A=A, B=B[:, :5]), "B must have 12 dimensions"),
        (dict(A=A, B=B[:399], paired=True), "A has 400 rows, B has 399"),
        (dict(A=A, B=B, source_texts=TEXTS[:5]), "source_texts .* 400 rows; got 5"),
        (dict(A=A, B=B, target_texts="abc"), "target_texts .* got one"),
    ],
)
def test_bad_input_is_named(aligner, given, words):
    with pytest.raises(ValueError, match=words):
        aligner.report(**given)


def test_a_model_without_a_map_has_no_report():
    with pytest.raises(NotAlignedError):
        MiniVec2VecAligner(16).report(A, B)


def test_texts_are_data_and_never_markup(page):
    assert EVIL not in page and "<script>alert" not in page
    assert data_of(page)["A"]["texts"][-1] == EVIL and data_of(page)["B"]["texts"] is None
    assert page.count("<script") == page.count("</script>") == 4


def test_the_page_asks_nothing_of_a_network(page):
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "default-src 'none'" in own
    assert not re.search(r"""(src|href)=["']?(https?:)?//|url\(|@import""", own)


def test_the_page_has_every_part_in_words(page, aligner):
    for section in ("picture", "matches", "quality", "weak", "fit", "reproduce"):
        assert f'<section id="{section}"' in page
    assert page.count('role="img"') == 9 and 'aria-label=""' not in page
    for fact in ("This map works: 100.0%", aligner.history["data"]["XA"]["blake2b"], "seed=0", "top-1 by CSLS"):
        assert fact in page


def test_texts_fit_into_five_megabytes(aligner):
    """20,000 points with long texts in three bytes a character."""
    pytest.importorskip("bokeh")
    few = aligner.report(A, B).facts
    n, many = 10_000, lambda values: np.tile(values, (25, 1) if np.ndim(values) > 1 else 25)
    texts = ["鳥" * 400 + str(i) for i in range(n)]
    sides = [
        replace(side, count=n + 1, rows=np.arange(n), texts=given, before=many(side.before), after=many(side.after),
                cluster=many(side.cluster))
        for side, given in ((few.source, texts), (few.target, texts[::-1]))
    ]  # fmt: skip
    arrays = {name: many(getattr(few, name)) for name in ("near", "cosine", "csls", "back", "random_cosine")}
    html = Report(replace(few, source=sides[0], target=sides[1], **arrays)).html
    assert len(data_of(html)["rank"]) == n and len(html.encode()) < 5_000_000
    assert len(data_of(html)["A"]["texts"][0]) > 25


def test_a_notebook_shows_it_in_a_frame_of_its_own(aligner):
    pytest.importorskip("bokeh")
    shown = aligner.report(A, B)._repr_html_()
    assert shown.startswith("<iframe") and 'sandbox="allow-scripts"' in shown and "<script>" not in shown


def test_pictures(aligner, tmp_path):
    report = aligner.report(A, B, paired=True)
    report.save(tmp_path / "report.png")
    assert imread(tmp_path / "report.png").std() > 0.05
    report.save(tmp_path / "report.svg")
    assert "</svg>" in (tmp_path / "report.svg").read_text()
    with pytest.raises(ValueError, match="must end in"):
        report.save(tmp_path / "report.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.png", "report.svg"]


def test_a_report_after_the_paper_preset_has_its_own_reasons(aligner):
    changes = {"verdict": "doubtful", "causes": ["XA has no structure"], "confidence": 0.5}
    settings = {**aligner.history["settings"], "preset": "paper"}
    made = Report.of(LinearMap(aligner.map.weights, {**aligner.history, "settings": settings, **changes}), A, B)
    assert words.reasons(made.facts) == ["A has no structure."]


def test_a_map_without_the_history_of_its_fit_has_no_report(aligner):
    with pytest.raises(ValueError, match="history of the fit"):
        Report.of(LinearMap(aligner.map.weights), A, B)


# ---- the command line ----


@pytest.fixture
def folder(tmp_path, monkeypatch, aligner):
    monkeypatch.chdir(tmp_path)
    supervised.install(monkeypatch)
    np.save("a.npy", A)
    np.save("b.npy", B)
    aligner.save("ab.keras")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    return tmp_path


BOTH = ("--source", "a.npy", "--target", "b.npy")


def test_report_command(folder, run):
    pytest.importorskip("bokeh")
    code, out, err = run(
        "report", "ab.keras", *BOTH, "--paired", "--texts", "texts.txt", "-o", "r.html", "--format", "png"
    )
    assert (code, out, err) == (0, "saved r.html, r.png\n", "")
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert data_of(page)["A"]["texts"] == TEXTS and data_of(page)["paired"]
    assert imread("r.png").ndim == 3


def test_align_with_a_report(folder, run):
    pytest.importorskip("bokeh")
    code, out, _ = run(
        "align", "a.npy", "b.npy", "-o", "new.keras", "-q", "--report", "fit.html", "--texts", "texts.txt"
    )
    assert (code, out) == (0, "")
    found = data_of((folder / "fit.html").read_text(encoding="utf-8"))
    assert found["A"]["texts"] == TEXTS and found["B"]["texts"] is None and not found["paired"]
    assert "the rows of the fit" in (folder / "fit.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "ab.keras", "--source", "a.npy", "-o", "r.html"], ["--target"]),
        (["report", "ab.keras", "--source", "b.npy", "--target", "b.npy", "-o", "r.html"], ["12 dimensions", "16"]),
        (["report", "ab.keras", *BOTH, "-o", "r.pdf"], ["must end in"]),
        (["report", "ab.keras", *BOTH, "-o", "r.html", "--format", "gif"], ["--format", "'gif'"]),
        (["report", "ab.keras", *BOTH, "-o", "r.html", "--texts", "few.txt"], ["few.txt", "2 texts", "400 rows"]),
        (["report", "ab.keras", *BOTH, "-o", "r.html", "--texts", "none.txt"], ["none.txt", "no such file"]),
        (["report", "ab.keras", *BOTH, "-o", "r.html", "--texts", "latin.txt"], ["latin.txt", "UTF-8"]),
        (["report", "ab.keras", *BOTH, "-o", "r.html"] + ["--texts", "texts.txt"] * 3, ["--texts given 3 times"]),
        (["align", "a.npy", "b.npy", "-o", "n.keras", "--texts", "texts.txt"], ["--report"]),
        (["align", "a.npy", "b.npy", "-o", "n.keras", "--report", "r.pdf"], ["must end in"]),
        (["align", "a.npy", "b.npy", "-o", "n.keras", "--report", "r.html", "--texts", "few.txt"], ["2 texts"]),
    ],
)
def test_bad_input_gets_one_line_and_nothing_is_written(folder, run, arguments, words):
    before = sorted(path.name for path in folder.iterdir())
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and all(word in err for word in words), err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_texts_from_parquet(tmp_path):
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"id": [1, 2], "title": ["one", None]}), path)
    assert read_texts(path) == ["one", ""]
    (tmp_path / "texts.txt").write_text("one\ntwo\n", encoding="utf-8-sig")
    assert read_texts(tmp_path / "texts.txt") == ["one", "two"]
    pq.write_table(pa.table({"text": ["one", "two"], "title": ["x", "y"]}), path)
    assert read_texts(path) == ["one", "two"]
    pq.write_table(pa.table({"x": ["one"], "y": ["two"]}), path)
    with pytest.raises(ValueError, match="only one; there is x, y"):
        read_texts(path)
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(ValueError, match="damaged"):
        read_texts(path)
