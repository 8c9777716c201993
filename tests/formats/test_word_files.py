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
        ("wide.vec", b"3 2\na 1 2 3\nb 3 2 1\nc 1 3 2\n", "first line says 2 dimensions, and its rows have 3"),
        ("none.bin", b"the 0.1 0.2 0.3\n", "starts with a line of two numbers"),
        ("empty.vec", b"", "starts neither with a line of two numbers"),
        ("words.txt", b"some notes\nof mine\n", "starts neither with a line of two numbers"),
        ("numbers.txt", b"0.1 0.2 0.3\n0.2 0.4 0.6\n", "numbers without words"),
        ("numbers.tsv", b"0.1\t0.2\t0.3\n0.2\t0.4\t0.6\n", "numbers without words"),
        ("none.vec", b"0 5\n", "it is empty"),
        ("short.vec", b"2 2\na 1 2\nb 1\n", "row 1 (line 3) is not a word and 2 numbers"),
        ("text.vec", b"2 2\na 1 2\nb 1 x\n", "row 1 (line 3) is not a word and 2 numbers"),
        ("blank.vec", b"3 2\na 1 2\n\nb 2 1\n", "row 1 (line 3) is not a word and 2 numbers"),
        ("cut.vec", b"3 2\na 1 2\nb 2 1\n", "counts 3 words, and it has 2"),
        ("cut.glove.txt", b"a 1 2\nb 2 1\nc 1\n", "row 2 (line 3) is not a word and 2 numbers"),
        ("nan.vec", b"2 2\na 1 2\nb nan 1\n", "NaN or infinity in row 1"),
        ("cut.bin", b"3 2\na \0\0", "truncated"),
        ("cut2.bin", b"2 2\nabcdefghi " + X[0, :2].tobytes() + b"b 1", "the data end within a vector"),
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
        "wordless.parquet": "its rows have no words",
        "a.npy": "its rows have no words",
    }.items():
        with pytest.raises(ValueError, match=words):
            map_rows(lambda X: X, open_rows(tmp_path / name), tmp_path / "out.vec", 4)
    for suffix in (".bin", ".txt"):
        with pytest.raises(ValueError, match="the word 'a b' holds white space"):
            map_rows(lambda X: X, open_rows(tmp_path / "space.parquet"), tmp_path / f"out{suffix}", 4)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
    with pytest.raises(ValueError, match="without a name, got column 'x'"):
        open_rows(write(tmp_path / "a.vec"), "x")


@pytest.mark.parametrize("name", ["x.vec", "x.bin"])
@pytest.mark.parametrize("claimed", [2, 4])
def test_a_header_that_counts_other_rows_is_refused_before_a_row_is_read(tmp_path, name, claimed):
    path = write(tmp_path / name, ["a", "b", "c"], X[:3])
    path.write_bytes(f"{claimed}".encode() + path.read_bytes()[1:])
    with pytest.raises(ValueError, match=f"its first line counts {claimed} words, and it has 3|truncated"):
        open_rows(path)


BYTES = [b"caf\xe9", b"caf\xe8", "café".encode()]


@pytest.mark.parametrize("first", [".vec", ".bin"])
@pytest.mark.parametrize("second", [".vec", ".bin", ".txt", ".tsv"])
def test_words_that_are_not_utf8_keep_their_bytes(tmp_path, first, second):
    path = write(tmp_path / f"in{first}", [word.decode(errors="surrogateescape") for word in BYTES], X[:3])
    map_rows(lambda X: X, open_rows(path), tmp_path / f"out{second}", 2)
    words, _ = read_words(open_rows(tmp_path / f"out{second}"))
    assert [word.encode(errors="surrogateescape") for word in words] == BYTES
    assert all(word in (tmp_path / f"out{second}").read_bytes() for word in BYTES)
    with pytest.raises(ValueError, match=r"the word b'caf\\xe9' is not UTF-8"):
        map_rows(lambda X: X, open_rows(path), tmp_path / "out.parquet", 2)
    assert not (tmp_path / "out.parquet").exists()


PHRASES = ["new york", "route 66", " ", "\t", "", " led", ". . ."]


def test_phrases_and_words_of_white_space_are_read_and_written(tmp_path):
    map_rows(lambda X: X, open_rows(write(tmp_path / "in.vec", PHRASES, X[:7])), tmp_path / "out.vec", 3)
    for name in ("in.vec", "out.vec"):
        words, vectors = read_words(open_rows(tmp_path / name))
        assert words == PHRASES
        np.testing.assert_allclose(vectors, X[:7], rtol=1e-6)
    pq.write_table(pa.table({"word": ["two\nlines"], "v": pa.array(list(X[:1]))}), tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=r"the word 'two\\nlines' holds white space"):
        map_rows(lambda X: X, open_rows(tmp_path / "p.parquet"), tmp_path / "lines.vec", 3)


@pytest.mark.parametrize("name", ["glove.txt", "glove.vec", "table.tsv"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", [(b"\n", b"\n"), (b"\r\n", b"\r\n"), (b"\n", b"\n\n\n"), (b"\n", b"")])
def test_files_without_a_header(tmp_path, name, start, ends):
    separator = b"\t" if name.endswith(".tsv") else b" "
    lines = [
        separator.join([word.encode(), *(b"%r" % float(x) for x in row)]) for word, row in zip(WORDS, X, strict=True)
    ]
    (tmp_path / name).write_bytes(start + ends[0].join(lines) + ends[1])
    rows = open_rows(tmp_path / name)
    assert rows.shape == (8, 5)
    words, vectors = read_words(rows)
    assert words == WORDS
    np.testing.assert_array_equal(vectors, X)


def test_a_header_behind_a_byte_order_mark(tmp_path):
    path = write(tmp_path / "x.vec")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_words(open_rows(path))[0] == WORDS
