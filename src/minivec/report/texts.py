"""The texts of rows, from a file."""

from pathlib import Path

from minivec.arrow import is_text, pyarrow


def read_texts(path: str | Path) -> list[str]:
    """The lines of a UTF-8 text file, or the strings of a Parquet file's column ``text`` or only string column.

    Raises OSError, or ValueError saying what is wrong with the file.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder, not a file of texts")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file: {error}") from error


def _parquet(path: Path) -> list[str]:
    pa = pyarrow()
    try:
        schema = pa.parquet.read_schema(path)
        names = [field.name for field in schema if is_text(field.type)]
        if "text" not in names and len(names) != 1:
            found = ", ".join(names) or "no column of strings"
            raise ValueError(f"{path}: expected a string column named 'text', or only one; there is {found}")
        name = "text" if "text" in names else names[0]
        return ["" if text is None else text for text in pa.parquet.read_table(path, columns=[name])[name].to_pylist()]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: damaged, or not a .parquet file: {' '.join(str(error).split())}") from error
