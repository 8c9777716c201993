"""What ``align`` returns: a dict that reads as a summary."""

import copy
import json

import numpy as np
import pytest

import supervised
from minivec import MiniVec2VecAligner
from minivec.history import History, advice, headline

A, B = supervised.spaces(8, 6)


@pytest.fixture
def history(monkeypatch):
    supervised.install(monkeypatch)
    return MiniVec2VecAligner(8).align(A, B, seed=3)


def doubtful(history, **changes):
    return History({**history, "verdict": "doubtful", "confidence": 0.4, "causes": ["too <few> rows"], **changes})


def test_it_is_the_dict_that_the_contract_promises(history):
    assert isinstance(history, dict) and history["final_W"].shape == (8, 6)
    assert history["initial_W"] is not None and history["refine1_W"] is not None
    json.dumps({name: value for name, value in history.items() if not name.endswith("_W")})
    assert np.array_equal(copy.deepcopy(history)["final_W"], history["final_W"])


def test_printed_it_says_what_the_report_says(history):
    text = repr(history)
    assert text.startswith("This map can be relied on.")
    for words in ("0.75", "reliable", "8 -> 6", "400 of A, 400 of B", 'preset "auto", seed 3', "final_W", "map 3"):
        assert words in text
    assert max(map(len, text.splitlines())) < 130


def test_a_doubtful_run_says_why_and_what_to_do(history):
    text = repr(doubtful(history))
    assert text.startswith("This map is doubtful") and "too <few> rows" in text
    assert all(line in text for line in advice(doubtful(history)))


def test_advice_fits_the_run(history):
    assert any("5,000" in line for line in advice(doubtful(history)))
    assert any("pairs=" in line for line in advice(doubtful(history)))
    assert not any("pairs=" in line for line in advice(doubtful(history, pairs=9)))
    paper = doubtful(history, settings={**history["settings"], "preset": "paper"})
    assert 'preset="auto"' in advice(paper)[0]
    assert max(map(len, advice(paper))) < 126
    plenty = {"XA": {"shape": [9000, 8]}, "XB": {"shape": [8000, 6]}}
    assert not any("more rows" in line for line in advice(doubtful(history, data=plenty)))
    assert len(advice(history)) == 1 and headline({"verdict": "failed"}) == "This map failed: do not use it."


def test_notebooks_get_the_same_facts_escaped(history):
    html = doubtful(history)._repr_html_()
    assert "<table>" in html and "too &lt;few&gt; rows" in html and "8 -&gt; 6" in html and "<few>" not in html
