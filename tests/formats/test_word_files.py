"""word2vec files: as gensim reads and writes them, streamed, and words that stay with their vectors."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minivec.files import map_rows, open_rows, read_words
from word_files import WORDS, X, write


@pytest.mark.parametrize("suffix", [".vec", ".bin"])
def test_read_in_blocks(tmp_path, suffix):
    rows = open_rows(write(tmp_path / f"words{suffix}"))
    assert rows.shape == (8, 5)
    blocks = list(rows.batches(3))
    assert [len(vectors) for vectors, _ in blocks] == [3, 3, 2]
    np.testing.assert_array_equal(np.concatenate([vectors for vectors, _ in blocks]), X)
    np.testing.assert_array_equal(rows.array(), X)
    assert sum([rows.words(batch) for _, batch in blocks], []) == WORDS
    words, vectors = read_words(rows, 5, block=2)
    assert words == WORDS[:5]
    np.testing.assert_array_equal(vectors, X[:5])
    assert read_words(rows, 100)[0] == WORDS


@pytest.mark.parametrize("suffix", [".vec", ".bin"])
def test_as_gensim_does(tmp_path, suffix):
    models = pytest.importorskip("gensim.models")
    binary = suffix == ".bin"
    theirs = models.KeyedVectors(5)
    theirs.add_vectors(WORDS, X)
    theirs.save_word2vec_format(str(tmp_path / f"theirs{suffix}"), binary=binary)
    words, vectors = read_words(open_rows(tmp_path / f"theirs{suffix}"))
    assert words == WORDS
    np.testing.assert_array_equal(vectors, X)
    map_rows(lambda X: X, open_rows(tmp_path / f"theirs{suffix}"), tmp_path / f"ours{suffix}", 3)
    again = models.KeyedVectors.load_word2vec_format(str(tmp_path / f"ours{suffix}"), binary=binary)
    assert again.index_to_key == WORDS
    np.testing.assert_allclose(again.vectors, X, rtol=1e-6)


def test_words_stay_with_their_vectors_from_format_to_format(tmp_path):
    path = write(tmp_path / "0.vec")
    for number, suffix in enumerate([".bin", ".parquet", ".parquet", ".vec"], 1):
        out = tmp_path / f"{number}{suffix}"
        map_rows(lambda X: -X, open_rows(path), out, 3)
        path = out
    words, vectors = read_words(open_rows(path))
    assert words == WORDS
    np.testing.assert_allclose(vectors, X, rtol=1e-6)
    assert pq.read_table(tmp_path / "2.parquet").column_names == ["word", "embedding"]


def test_rows_of_a_binary_file_may_end_in_newlines(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(
        b"2 2\n" + b"".join(w + b" " + row.tobytes() + b"\n" for w, row in ((b"a", X[0, :2]), (b"b", X[1, :2])))
    )
    assert read_words(open_rows(path))[0] == ["a", "b"]


def test_a_row_longer_than_what_is_read_at_once(tmp_path):
    wide = np.random.default_rng(0).standard_normal((3, 300_000)).astype(np.float32)
    rows = open_rows(write(tmp_path / "wide.bin", ["a", "b", "c"], wide))
    np.testing.assert_array_equal(rows.array(), wide)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("glove.vec", b"the 0.1 0.2 0.3\n", "starts with a line of two numbers"),
        ("empty.vec", b"", "starts with a line of two numbers"),
        ("none.vec", b"0 5\n", "it is empty"),
        ("short.vec", b"2 2\na 1 2\nb 1\n", "row 1 (line 3) is not a word and 2 numbers"),
        ("text.vec", b"2 2\na 1 2\nb 1 x\n", "row 1 (line 3) is not a word and 2 numbers"),
        ("blank.vec", b"2 2\na 1 2\n\n", "row 1 (line 3) is not a word and 2 numbers"),
        ("cut.vec", b"3 2\na 1 2\nb 2 1\n", "the data end before row 3"),
        ("nan.vec", b"2 2\na 1 2\nb nan 1\n", "NaN or infinity in row 1"),
        ("cut.bin", b"3 2\na \0\0", "truncated"),
        ("cut2.bin", b"2 2\nabcdefghi " + X[0, :2].tobytes() + b"b 1", "the data end before row 2"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        list(open_rows(tmp_path / name).batches(10))
    assert words in str(caught.value) and str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_words_that_cannot_be_written_or_are_not_there(tmp_path):
    pq.write_table(pa.table({"word": ["a b"], "v": pa.array(list(X[:1]))}), tmp_path / "space.parquet")
    pq.write_table(pa.table({"v": pa.array(list(X))}), tmp_path / "wordless.parquet")
    np.save(tmp_path / "a.npy", X)
    for name, words in {
        "space.parquet": "the word 'a b' is empty or holds white space",
        "wordless.parquet": "its rows have no words",
        "a.npy": "its rows have no words",
    }.items():
        with pytest.raises(ValueError, match=words):
            map_rows(lambda X: X, open_rows(tmp_path / name), tmp_path / "out.vec", 4)
    assert not (tmp_path / "out.vec").exists()
    with pytest.raises(ValueError, match="without a name, got column 'x'"):
        open_rows(write(tmp_path / "a.vec"), "x")
