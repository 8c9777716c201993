"""What a probe measures, decides and refuses."""

import json
from html import unescape

import numpy as np
import pytest

import probed
from minivec.datasets import load_sample
from minivec.fitting import fit_paired
from minivec.map import LinearMap
from minivec.moving.paired import noted, paired
from minivec.moving.probe import probe
from minivec.moving.probe.decision import decide
from minivec.moving.probe.estimate import Bootstrap, Estimate
from minivec.moving.probe.lists import ADAPT, CEILING, MIGRATE, NOTHING, RERANK, STAY, ndcg, reciprocal_rank
from minivec.moving.probe.material import draw_pool
from minivec.record import Record
from minivec.report import story
from minivec.signature import WrongVectorsWarning
from minivec.stores import open_store
from probed import DOCUMENTS, Model


@pytest.fixture(scope="module")
def spaces():
    """The two spaces."""
    return probed.spaces()


@pytest.fixture
def model(spaces):
    """The new model."""
    return Model(spaces.texts, spaces.new)


@pytest.fixture
def table(spaces, tmp_path):
    """A table of the documents' texts and old vectors."""
    probed.write_table(tmp_path / "documents.parquet", spaces.texts, spaces.old)
    return tmp_path / "documents.parquet"


@pytest.fixture
def old(spaces, tmp_path):
    """The old vectors in a file."""
    path = tmp_path / "old.npy"
    np.save(path, spaces.old)
    return path


def told(old, spaces, **options):
    """A small probe of vectors in files."""
    return probe(old, spaces.bridge, **{"new_documents": spaces.new, "sample": 200, "k": 5, **options})


def test_every_way_to_search_is_measured_on_the_same_queries(old, spaces):
    found = told(old, spaces)
    assert [way.name for way in found.ways] == [STAY, CEILING, MIGRATE, ADAPT, RERANK, NOTHING]
    assert (found.queries, found.pool, found.rows) == (200, DOCUMENTS, DOCUMENTS)
    assert found[CEILING].recall.value == found[CEILING].recall.low == 1
    assert found[STAY].overlap.value == 1
    assert found[NOTHING].recall.high < found[MIGRATE].recall.low
    assert found[RERANK].recall.value > found[ADAPT].recall.high
    for way in found.ways:
        assert way.recall.low <= way.recall.value <= way.recall.high


def test_without_relevance_a_document_is_to_find_its_own_text(old, spaces):
    found = told(old, spaces)
    assert found[CEILING].own.value == found[STAY].own.value == 1
    assert 0.9 < found[MIGRATE].own.value <= 1
    assert found[NOTHING].own.value < 0.2
    assert found[MIGRATE].ndcg is None


def test_a_querys_own_document_does_not_count_as_found(spaces, tmp_path):
    """With k=1 a perfect hit of its own document would make every recall 1."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npy"
    np.save(path, rng.standard_normal((DOCUMENTS, 24)).astype(np.float32))
    found = probe(path, spaces.bridge, new_documents=spaces.new, sample=100, k=1)
    assert found[STAY].own.value == 1
    assert found[STAY].recall.value < 0.1


def test_texts_are_embedded_once_each_and_by_their_kind(table, spaces, model):
    asked = {f"q{i}": spaces.texts[i] for i in range(60)}
    today = Model(spaces.texts, spaces.old)
    found = probe(
        table, spaces.bridge, embedder=model, text="body", old_embedder=today, queries=asked, pool=300, k=5, rerank=20
    )
    assert sorted(model.asked) == [("document", 300), ("query", 60)]
    assert today.asked == [("query", 60)]
    assert (found.queries, found.pool, found.rows) == (60, 300, DOCUMENTS)
    assert found[MIGRATE].own is None


def test_queries_of_the_new_model_alone_leave_today_out(old, spaces):
    found = told(old, spaces, new_queries=spaces.new[:50])
    assert STAY not in [way.name for way in found.ways]
    assert any("today's search was not measured" in note for note in found.notes)


def test_subjects_are_named_by_their_words_the_weakest_first(table, spaces, model):
    noisy = spaces.new.copy()
    apples = np.array([text.startswith("apple") for text in spaces.texts])
    noisy[apples] += 2 * np.random.default_rng(0).standard_normal(noisy[apples].shape).astype(np.float32)
    found = probe(table, spaces.bridge, embedder=Model(spaces.texts, noisy), text="body", pool=900, sample=300, k=5)
    assert "apple" in found.subjects[0].words
    values = [subject.retention.value for subject in found.subjects]
    assert values == sorted(values)
    assert sum(subject.documents for subject in found.subjects) <= 900
    assert found.worse
    assert all(example.mapped < example.now for example in found.worse)
    assert all(example.query in spaces.texts for example in found.worse)


def judged(spaces, count=80):
    """Queries beside their documents, each the one relevant document of its query."""
    rng = np.random.default_rng(1)
    rows = rng.choice(DOCUMENTS, count, replace=False)
    near = [X[rows] + 0.1 * rng.standard_normal(X[rows].shape).astype(np.float32) for X in (spaces.old, spaces.new)]
    return near, {str(i): {str(row): 1.0} for i, row in enumerate(rows)}


def test_relevance_gives_ndcg_and_mrr_and_decides(old, spaces):
    (asked, new), relevance = judged(spaces)
    found = told(old, spaces, new_queries=new, old_queries=asked, relevance=relevance, pool=100)
    assert found[CEILING].ndcg.value > 0.9
    assert found[CEILING].mrr.value > 0.9
    kept = found.decision.retention
    assert kept.value == pytest.approx(found[found.decision.way].ndcg.value / found[CEILING].ndcg.value)
    assert found.decision.choice in ("migrate", "adapt")


def test_a_better_old_model_is_kept(old, spaces):
    (asked, new), relevance = judged(spaces)
    blurred = new + 3 * np.random.default_rng(2).standard_normal(new.shape).astype(np.float32)
    found = told(old, spaces, new_queries=blurred, old_queries=asked, relevance=relevance)
    assert found.decision.choice == "stay"
    assert "lower than the old one's" in found.decision.reason


def test_relevant_documents_are_always_in_the_pool(old, spaces):
    (asked, new), relevance = judged(spaces, 40)
    for pool, documents in ((45, 45), (20, 40)):
        found = told(old, spaces, new_queries=new, old_queries=asked, relevance=relevance, pool=pool)
        assert (found.queries, found.pool) == (40, documents)


def test_ndcg_is_that_of_the_formula():
    lists = np.array([[7, 3, 9], [1, 2, 3]])
    gains = [{3: 2.0, 5: 1.0}, {9: 1.0}]
    best = 2 / np.log2(2) + 1 / np.log2(3)
    assert ndcg(lists, gains) == pytest.approx([2 / np.log2(3) / best, 0])
    assert reciprocal_rank(lists, gains) == pytest.approx([1 / 2, 0])


def test_a_map_that_loses_too_much_means_to_embed_again(old, spaces):
    weights = dict(spaces.bridge.weights)
    weights["W"] = np.roll(weights["W"], 1, 1)
    weights["inverse_W"] = weights["W"].T
    wrong = LinearMap(weights, spaces.bridge.history)
    found = probe(old, wrong, new_documents=spaces.new, sample=200, k=5, rerank=10)
    assert found.decision.choice == "re-embed"
    assert any("known pairs, rows of this pool" in line for line in found.decision.more)
    assert not found.keeps(0.5)


def test_the_story_has_what_a_probe_measured(old, spaces, tmp_path):
    pytest.importorskip("jinja2")
    found = told(old, spaces)
    printed = json.loads(json.dumps(found.to_dict()))
    story.save(tmp_path / "story.html", "docs", [], bridge=spaces.bridge, probe=printed)
    html = unescape((tmp_path / "story.html").read_text())
    for way in found.ways:
        recall = f"{way.recall.value:.2f} ({way.recall.low:.2f} to {way.recall.high:.2f})"
        assert f'{way.name}</th><td data-label="in the pool">{recall}' in html
    for told_there in (found.decision.choice, found.decision.reason, *found.notes, str(spaces.bridge.fingerprint)):
        assert told_there in html
    assert "{'" not in html and "['" not in html and ">None<" not in html and " values<" not in html
    with pytest.raises(ValueError, match="not what `minivec probe --json` prints"):
        story.save(tmp_path / "story.html", "docs", [], probe={"ways": ["migrate"]})


def test_few_queries_are_not_enough_to_tell(old, spaces):
    assert told(old, spaces, sample=10).decision.choice == "too few queries to tell"


def test_an_interval_around_the_limit_asks_for_more_queries(old, spaces):
    kept = told(old, spaces, sample=100)[MIGRATE].recall_all.value
    decision = told(old, spaces, sample=100, min_retention=kept + 0.004).decision
    assert decision.choice == "too few queries to tell"
    assert "queries would tell" in decision.more[0]


def test_rows_of_the_fit_are_never_scored(old, spaces):
    history = {**spaces.bridge.history, "settings": {"preset": "auto"}}
    bridge = LinearMap(spaces.bridge.weights, {**history, "pairs": 600})
    unknown = probe(old, bridge, new_documents=spaces.new, sample=50, k=5)
    assert any("does not say which rows" in note for note in unknown.notes)
    found = probe(old, bridge, new_documents=spaces.new, sample=50, k=5, fitted=range(600))
    assert found.pool == DOCUMENTS - 600
    assert any("600 rows" in note for note in found.notes)


def test_rows_that_align_draws_as_pairs_are_left_out(old, spaces):
    """``align --model`` draws its known pairs with the seed of the fit, so that a probe can draw them again."""
    history = {**spaces.bridge.history, "settings": {"preset": "auto", "seed": 3}, "pairs": 200}
    found = probe(old, LinearMap(spaces.bridge.weights, history), new_documents=spaces.new, sample=50, k=5)
    assert found.pool == DOCUMENTS - 200
    assert any("The 200 rows that align --model draws were left out" in note for note in found.notes)


def test_rows_that_a_history_notes_are_never_scored(old, spaces, tmp_path):
    """Wherever they lie by now, and however many they are: the history knows their vectors."""
    pairs = np.random.default_rng(5).permutation(DOCUMENTS)[:600]
    history = {**spaces.bridge.history, "settings": {"preset": "auto", "seed": 3}, "pairs": 600}
    bridge = LinearMap(spaces.bridge.weights, history | noted(spaces.old[pairs], spaces.new[pairs]))
    found = probe(old, bridge, new_documents=spaces.new, sample=50, k=5)
    assert found.pool == DOCUMENTS - 600
    assert any("the 600 rows that the map was fitted on" in note for note in found.notes)
    assert not any("does not say which" in note for note in found.notes)
    turned = np.random.default_rng(6).permutation(DOCUMENTS)
    np.save(tmp_path / "moved.npy", spaces.old[turned])
    with open_store(tmp_path / "moved.npy") as store:
        options = {"among": None, "wanted": (), "fitted": (), "seed": 0}
        pool = draw_pool(store, 100, None, is_fitted=lambda X: paired(bridge.history, X), **options)
    assert len(pool.keys) == 100  # others are drawn in their place
    assert not set(turned[pool.keys]) & set(pairs)
    back = bridge.inverse()
    np.save(tmp_path / "new.npy", spaces.new)
    assert probe(tmp_path / "new.npy", back, new_documents=spaces.old, sample=50, k=5).pool == DOCUMENTS - 600


def test_a_damaged_note_of_pairs_is_an_error(old, spaces):
    history = {**spaces.bridge.history, "paired_rows": {"rows": 3, "vectors": "?"}}
    with pytest.raises(ValueError, match="'paired_rows' is damaged"):
        probe(old, LinearMap(spaces.bridge.weights, history), new_documents=spaces.new)


def test_vectors_of_some_rows_are_matched_by_their_keys(old, spaces):
    rows = np.random.default_rng(0).permutation(DOCUMENTS)[:400]
    found = told(old, spaces, new_documents=spaces.new[rows], new_keys=rows.tolist())
    assert (found.pool, found.rows) == (400, DOCUMENTS)
    assert found[MIGRATE].own.value > 0.9


def test_a_map_fitted_on_the_very_rows_is_refused(spaces, tmp_path):
    path = tmp_path / "old.npy"
    np.save(path, spaces.old)
    bridge = fit_paired(spaces.old, spaces.new, "orthogonal", 0, Record(), versions={}, spaces={})
    with pytest.raises(ValueError, match="none is held out"):
        probe(path, bridge, new_documents=spaces.new)


def test_a_map_of_one_direction_cannot_adapt(old, spaces):
    weights = {name: w for name, w in spaces.bridge.weights.items() if name not in ("inverse_W", "source_norm")}
    found = probe(old, LinearMap(weights, spaces.bridge.history), new_documents=spaces.new, sample=50, k=5)
    assert ADAPT not in [way.name for way in found.ways]
    assert any("one direction" in note for note in found.notes)


def test_without_new_vectors_it_says_what_can_be_known(old, spaces):
    found = probe(old, spaces.bridge, k=5)
    assert found.ways == []
    assert found.blind.confidence == spaces.bridge.history["confidence"]
    assert found.blind.expected_cosine == pytest.approx(spaces.bridge.history["expected_cosine"])
    assert 0.8 < found.blind.consistency.value <= 1
    assert found.decision.choice == "too few queries to tell"
    assert any("cannot be known" in note for note in found.notes)
    assert not found.keeps(0.0)


def test_without_new_vectors_a_failed_fit_means_to_stay(old, spaces):
    failed = LinearMap(spaces.bridge.weights, {**spaces.bridge.history, "verdict": "failed", "confidence": 0.1})
    found = probe(old, failed, k=5)
    assert found.decision.choice == "stay" and "failed" in str(found)
    assert "expected cosine" not in str(found)  # it means nothing in a failed fit
    assert "expected cosine" in str(probe(old, spaces.bridge, k=5))


def test_the_same_seed_gives_the_same_probe(old, spaces):
    assert told(old, spaces, pool=300, seed=3) == told(old, spaces, pool=300, seed=3)
    assert told(old, spaces, pool=300, seed=3) != told(old, spaces, pool=300, seed=4)


def test_it_prints_the_decision_and_a_table(old, spaces):
    shown = repr(told(old, spaces))
    assert shown.startswith(("migrate: ", "adapt: ", "re-embed: ", "too few"))
    assert all(way in shown for way in (STAY, CEILING, MIGRATE, ADAPT, RERANK, NOTHING))
    assert "95% intervals" in shown
    assert "confidence" in repr(probe(old, spaces.bridge, k=5))


REFUSED = {
    "k must be at least 1": {"k": 0},
    "min_retention must be from 0 to 1; got 1.5": {"min_retention": 1.5},
    "new_documents must have a row for each of the 900 rows": {"new_documents": np.ones((5, 24)) + np.eye(5, 24)},
    "new_documents must have 24 dimensions": {"new_documents": np.ones((900, 7)) + np.eye(900, 7)},
    "leave one out": {"embedder": len},
    "relevance needs the queries": {"relevance": {"0": {"1": 1.0}}},
    "old_queries must be as many as new_queries, 3; got 2": {
        "new_queries": np.eye(3, 24, dtype=np.float32),
        "old_queries": np.eye(2, 24, dtype=np.float32),
    },
    "queries is empty": {"queries": []},
    "no query has a relevant document": {
        "new_queries": np.eye(3, 24, dtype=np.float32),
        "relevance": {"0": {"x": 1.0}},
    },
    "k=900 needs more": {"k": 900},
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_input_is_refused_by_name(old, spaces, message):
    with pytest.raises(ValueError, match=message):
        told(old, spaces, **REFUSED[message])


def test_queries_need_vectors_of_the_new_model(old, spaces):
    with pytest.raises(ValueError, match="give embedder, or new_documents"):
        probe(old, spaces.bridge, queries=["a"])
    with pytest.raises(TypeError, match="got the text 'a'"):
        probe(old, spaces.bridge, queries="a")


def test_a_store_of_another_width_is_refused(spaces, tmp_path):
    path = tmp_path / "wide.npy"
    np.save(path, np.eye(40, 30, dtype=np.float32))
    with pytest.raises(ValueError, match="rows of 30 dimensions, and the map is from 24"):
        probe(path, spaces.bridge, new_documents=np.eye(40, 24, dtype=np.float32))


def test_vectors_of_another_model_are_refused(tmp_path):
    """Real ones: those of a made-up space of few dimensions look alike."""
    sample, path = load_sample(), tmp_path / "other.npy"
    old, new = sample.test_source, sample.test_target
    bridge = fit_paired(old[:600], new[:600], "orthogonal", 0, Record(), versions={}, spaces={})
    np.save(path, np.roll(old[600:1_000], 1, axis=1))
    with pytest.raises(ValueError, match="any_vectors"):
        probe(path, bridge, k=5)
    with pytest.warns(WrongVectorsWarning):
        assert probe(path, bridge, k=5, any_vectors=True).blind


def test_a_column_without_texts_is_refused(table, spaces, model):
    with pytest.raises(ValueError, match="no column 'title'; there is body"):
        probe(table, spaces.bridge, embedder=model, text="title")
    with pytest.raises(ValueError, match="text must name"):
        probe(table, spaces.bridge, embedder=model)


def test_a_model_of_another_width_is_refused(table, spaces):
    with pytest.raises(ValueError, match="the model's document vectors must have 24 dimensions"):
        probe(table, spaces.bridge, embedder=Model(spaces.texts, spaces.new[:, :7]), text="body", pool=50)


def test_recall_among_more_documents_is_extrapolated():
    """On a line, in logits by the logarithm of the number, the estimate is exact; its interval grows with the step."""
    sizes, rng = np.array([100, 200, 400, 800]), np.random.default_rng(0)
    share = 1 / (1 + np.exp(0.3 * np.log2(sizes / 100) - 1))
    recalls = np.clip(share + 0.1 * rng.standard_normal((400, 1)), 0, 1)
    recalls += share - recalls.mean(0)
    boot = Bootstrap(400, 0)
    estimates = [boot.grown(recalls, sizes, rows, 10) for rows in (800, 3_200, 12_800)]
    assert [estimate.value for estimate in estimates] == pytest.approx([share[-1], *1 / (1 + np.exp([0.5, 1.1]))])
    widths = [estimate.high - estimate.low for estimate in estimates]
    assert widths == sorted(widths)


def test_intervals_of_a_mean_hold_it_nine_times_in_ten():
    rng = np.random.default_rng(0)
    estimates = [Bootstrap(200, seed).mean(rng.random(200) < 0.3) for seed in range(200)]
    assert sum(estimate.low <= 0.3 <= estimate.high for estimate in estimates) >= 0.9 * len(estimates)


NEAR, FAR = Estimate(0.95, 0.93, 0.97), Estimate(0.5, 0.4, 0.6)
EQUAL, MORE, LESS = Estimate(0, -0.1, 0.1), Estimate(0.2, 0.1, 0.3), Estimate(-0.2, -0.3, -0.1)
DECISIONS = {
    "migrate": ({MIGRATE: NEAR, ADAPT: FAR}, {(MIGRATE, ADAPT): MORE}),
    "adapt": ({MIGRATE: NEAR, ADAPT: NEAR}, {(MIGRATE, ADAPT): EQUAL}),
    "adapt, re-ranked": ({MIGRATE: FAR, ADAPT: FAR, RERANK: NEAR}, {(CEILING, STAY): MORE}),
    "re-embed": ({MIGRATE: FAR, ADAPT: FAR}, {(CEILING, STAY): MORE}),
    "re-embed, as the map is worse than today": ({MIGRATE: NEAR}, {(MIGRATE, STAY): LESS, (CEILING, STAY): MORE}),
    "stay, as the new model is worse": ({MIGRATE: NEAR}, {(CEILING, STAY): LESS}),
    "stay, as the map is worse than today": ({MIGRATE: NEAR}, {(MIGRATE, STAY): LESS, (CEILING, STAY): EQUAL}),
    "too few queries to tell": ({MIGRATE: Estimate(0.9, 0.8, 0.95)}, {}),
    "too few queries to tell, without a gain": ({MIGRATE: FAR}, {(CEILING, STAY): EQUAL}),
}


@pytest.mark.parametrize("expected", DECISIONS)
def test_decisions_by_relevance(expected):
    retentions, differences = DECISIONS[expected]
    found = decide(retentions, differences, queries=100, target=0.9, judged=True)
    assert found.choice == expected.partition(",")[0]
    assert found.retention == max((retentions[way] for way in retentions if way != RERANK), key=lambda kept: kept.value)


def test_more_queries_are_advised_by_the_width_of_the_interval():
    wide = Estimate(0.92, 0.88, 0.96)
    assert decide({MIGRATE: wide}, {}, queries=100, target=0.9, judged=True).more[0].startswith("about 400 queries")
    found = decide({MIGRATE: wide}, {}, queries=100, target=0.9, judged=False, extrapolated=True)
    assert "more documents in the pool" in found.more[0]
