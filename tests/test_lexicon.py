"""Translation between two vocabularies, in the library and on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

import supervised
from minivec import MiniVec2VecAligner
from minivec.files import map_rows, open_rows
from minivec.frame import unit
from minivec.lexicon import Lexicon, read_dictionary
from minivec.search import csls_top_k, top_k
from word_files import write

A, B = supervised.spaces(8, 6, rows=400)
EN, DE = [f"en{i}" for i in range(400)], [f"de{i}" for i in range(400)]


@pytest.fixture(scope="module")
def aligner():
    return MiniVec2VecAligner.from_pairs(A, B)


@pytest.fixture
def folder(tmp_path, monkeypatch, aligner):
    """The current folder, with both vocabularies, the model and a dictionary in it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "en.vec", EN, A)
    write(tmp_path / "de.bin", DE, B)
    aligner.save("en_de.keras")
    Path("true.txt").write_text("".join(f"en{i} de{i}\n" for i in range(100)) + "en0 de1\nnot known\n")
    return tmp_path


def test_translate_and_evaluate(aligner):
    lexicon = Lexicon(aligner, EN, A, DE, B)
    found = lexicon.translate(["en7", "en3"], 3)
    assert [row[0][0] for row in found] == ["de7", "de3"] and [len(row) for row in found] == [3, 3]
    assert all(row[0][1] >= row[1][1] >= row[2][1] for row in found)
    facts = lexicon.evaluate(
        {"en1": {"de1"}, "en2": {"de300", "de2"}, "en3": {"de4"}, "en4": {"nowhere"}, "x": {"de1"}}
    )
    assert facts["precision_at_1"] == pytest.approx(2 / 3)
    assert (facts["words"], facts["coverage"]) == (3, 3 / 5)
    assert facts["precision_at_1"] <= facts["precision_at_5"] <= facts["precision_at_10"]


def test_precision_counts_the_first_right_translation():
    X = np.eye(12, dtype=np.float32) + 0.1
    order = unit(np.cumsum(X[::-1], axis=0)).astype(np.float32)
    target = [f"t{i}" for i in range(12)]
    lexicon = Lexicon(lambda rows: rows, ["a"], order[:1], target, order)
    ranked = [word for word, _ in lexicon.translate(["a"], 12)[0]]
    for place, word in enumerate(ranked):
        facts = lexicon.evaluate({"a": {word, "unknown"}})
        assert [facts[f"precision_at_{k}"] for k in (1, 5, 10)] == [place < 1, place < 5, place < 10]


def test_the_first_vector_of_a_word_counts(aligner):
    lexicon = Lexicon(aligner, [*EN, "en0"], np.r_[A, A[5:6]], DE, B)
    assert lexicon.translate(["en0"])[0][0][0] == "de0"


def test_csls_of_a_few_queries_with_all_their_kind_as_the_crowd():
    U, V = (
        unit(np.random.default_rng(0).standard_normal((2, 50, 6)).reshape(100, 6)).astype(np.float32).reshape(2, 50, 6)
    )
    whole, some = csls_top_k(U, V, 3), csls_top_k(U[:4], V, 3, crowd=U)
    np.testing.assert_array_equal(some[1], whole[1][:4])
    np.testing.assert_allclose(some[0], whole[0][:4], atol=1e-6)
    assert (whole[1] != top_k(U, V, 3)[1]).any()


def test_bad_words(aligner, tmp_path):
    with pytest.raises(ValueError, match="399 words for 400 vectors"):
        Lexicon(aligner, EN[1:], A, DE, B)
    lexicon = Lexicon(aligner, EN, A, DE, B)
    with pytest.raises(ValueError, match="not among the 400 source words: a, b, c, d, e and 1 more"):
        lexicon.translate("abcdef")
    with pytest.raises(ValueError, match="no word of the dictionary is known on both sides"):
        lexicon.evaluate({"house": {"Haus"}})


def test_dictionaries(tmp_path):
    path = tmp_path / "d.txt"
    path.write_text("cat Katze\ncat  Kater\n\nice cream\tSpeiseeis\t0.9\n")
    assert read_dictionary(path) == {"cat": {"Katze", "Kater"}, "ice cream": {"Speiseeis"}}
    path.write_text("cat Katze\n", encoding="utf-8-sig")
    assert read_dictionary(path) == {"cat": {"Katze"}}
    for text, words in {"cat Katze\ncat\n": "line 2 is not a word and its translation: 'cat'", "": "no words"}.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_dictionary(path)
    path.write_bytes(b"caf\xe9 Kaffee\n")
    with pytest.raises(ValueError, match="not a text file"):
        read_dictionary(path)


def test_command_line(folder, run):
    code, out, err = run("translate", "en7", "en3", "en.vec", "de.bin", "-a", "en_de.keras", "-n", 2)
    assert (code, err) == (0, "") and out.splitlines()[1].startswith("en3: de3 ") and out.count(",") == 2
    code, out, _ = run("translate", "de7", "de.bin", "en.vec", "-a", "en_de.keras", "--inverse")
    assert code == 0 and out.startswith("de7: en7 ")
    code, out, _ = run("dictionary", "en.vec", "de.bin", "-a", "en_de.keras", "-o", "lexicon.tsv")
    assert (code, out) == (0, "lexicon.tsv: 400 words\n")
    lexicon = read_dictionary("lexicon.tsv")
    assert np.mean([lexicon[f"en{i}"] == {f"de{i}"} for i in range(400)]) > 0.95
    code, out, _ = run("evaluate", "en.vec", "de.bin", "-a", "en_de.keras", "--dictionary", "true.txt", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["precision_at_1"] > 0.95 and (facts["words"], facts["coverage"]) == (100, 100 / 101)
    code, out, _ = run("evaluate", "en.vec", "de.bin", "-a", "en_de.keras", "--dictionary", "lexicon.tsv", "--json")
    assert json.loads(out)["precision_at_1"] == 1


def test_transform_keeps_the_words(folder, run, aligner):
    code, _, err = run("transform", "en.vec", "-a", "en_de.keras", "-o", "moved.bin")
    assert (code, err) == (0, "")
    map_rows(lambda X: np.asarray(aligner(X)), open_rows("en.vec"), "expected.bin", 400)
    assert Path("moved.bin").read_bytes()[:10] == b"400 6\nen0 "
    np.testing.assert_allclose(open_rows("moved.bin").array(), open_rows("expected.bin").array(), atol=1e-6)


def test_align_reads_word_files(folder, run, monkeypatch):
    supervised.install(monkeypatch)
    assert run("align", "en.vec", "de.bin", "-o", "out.keras", "-q")[0] == 0


def test_command_line_refuses(folder, run):
    np.save("a.npy", A)
    both = ["en.vec", "de.bin", "-a", "en_de.keras"]
    for arguments, words in (
        (["translate", "house", *both], "not among the 400 source words: house"),
        (["translate", "en5", *both, "--vocabulary", 5], "not among the 5 source words: en5"),
        (["translate", "en1", "a.npy", "de.bin", "-a", "en_de.keras"], "its rows have no words"),
        (["translate", "en1", "de.bin", "de.bin", "-a", "en_de.keras"], "6 dimensions where en_de.keras has 8"),
        (["dictionary", *both, "-o", "lexicon.txt"], "must end in .tsv"),
        (["evaluate", *both, "--dictionary", "none.txt"], "none.txt"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1, (arguments, err)
