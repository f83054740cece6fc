"""What is saved is what is loaded, bit for bit."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import storage_cases
from damage_worker import fingerprint

from brainalign.errors import DataNotFoundError, InputError, ShapeError
from brainalign.storage import _write, load, read_info, save, verify
from brainalign.types import RDMs, Responses, Stimuli

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", list(storage_cases.ALL))
def test_each_noun_comes_back_bit_for_bit(tmp_path, name):
    """Every field of every noun has the same bits, dtypes, labels and order after a round trip."""
    noun = storage_cases.ALL[name]()
    save(noun, tmp_path / "x.h5")
    back = load(tmp_path / "x.h5")
    assert type(back) is type(noun)
    for part in (noun, getattr(noun, "stimuli", None)):
        if isinstance(part, Stimuli):
            object.__setattr__(part, "loader", None)
            part.info["shape"] = list(part.info["shape"])
    assert fingerprint(back) == fingerprint(noun)
    assert verify(tmp_path / "x.h5")["kind"] == type(noun).__name__


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
@pytest.mark.parametrize("n_units", [3, 200_000])
def test_float_bits_survive(tmp_path, dtype, n_units):
    """NaN payloads, -0.0, infinities and subnormals keep their bits; big-endian values keep their value."""
    kind = np.dtype(dtype).newbyteorder("=")
    bits = np.random.default_rng(0).integers(0, 256, (5, n_units * kind.itemsize), dtype=np.uint8)
    values = bits.view(kind).astype(dtype, copy=False)
    if dtype[0] == ">":
        values = bits.view(kind).byteswap().view(dtype)
    save(Responses(values), tmp_path / "r.h5")
    back = load(tmp_path / "r.h5").values
    assert back.dtype == kind
    assert np.asarray(back).tobytes() == values.byteswap().tobytes() if dtype[0] == ">" else values.tobytes()


def test_equal_content_gives_equal_bytes(tmp_path):
    """Saving twice, and saving what was loaded, writes the same bytes."""
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    save(storage_cases.dataset(270, 1000), paths[0])
    save(storage_cases.dataset(270, 1000), paths[1])
    save(load(paths[0]), paths[2])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    stimuli_differ = load(paths[0]).stimuli.info["shape"]
    assert isinstance(stimuli_differ, list), "tuples come back as lists"
    assert paths[2].read_bytes() == paths[0].read_bytes()


def test_bare_h5py_reads_the_file(tmp_path):
    """Without brainalign: values, a column and the description are read with h5py and json alone."""
    responses = storage_cases.responses()
    save(responses, tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        np.testing.assert_array_equal(file["values"][...], responses.values)
        column = file["samples/columns/stimulus_id"]
        assert column.asstr()[3] == "stimulus 3 ü"
        assert json.loads(file["brainalign"][0])["kind"] == "Responses"
        assert file.attrs["kind"] == b"Responses"
        assert file["values"].fletcher32
        assert column.fletcher32


def test_read_info_names_arrays_without_reading_them(tmp_path):
    """`read_info` gives kind, version, shapes, dtypes and info."""
    save(storage_cases.responses(), tmp_path / "r.h5")
    about = read_info(tmp_path / "r.h5")
    assert about["kind"] == "Responses"
    assert about["arrays"]["values"] == ((60, 40), "float32")
    assert about["info"]["design"] == "trials"
    np.testing.assert_array_equal(about["info"]["affine"], np.eye(4))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CELLS = {
    "object": st.one_of(TEXT, st.none(), st.just(np.nan), st.just(pd.NA)),
    "mixed": st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.just(pd.NA)),
    "str": st.one_of(TEXT, st.just(np.nan)),
    "string": st.one_of(TEXT, st.just(pd.NA)),
    "bool": st.booleans(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(0, 255),
    "float32": st.floats(width=32),
    "float16": st.floats(width=16),
    "float64": st.floats(),
    "Int64": st.one_of(st.integers(-(2**63), 2**63 - 1), st.just(pd.NA)),
    "UInt8": st.one_of(st.integers(0, 255), st.just(pd.NA)),
    "boolean": st.one_of(st.booleans(), st.just(pd.NA)),
    "datetime64[ns]": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
}


@st.composite
def _tables(draw) -> pd.DataFrame:
    n = draw(st.integers(0, 6))
    names = draw(st.lists(TEXT.filter(lambda t: t != "stimulus_id"), unique=True, max_size=5))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(sorted(CELLS)))
        cells = draw(st.lists(CELLS[kind], min_size=n, max_size=n))
        columns[name] = pd.Series(cells, dtype="object" if kind == "mixed" else kind)
    table = pd.DataFrame(columns, index=range(n))
    table.index = pd.Index([f"{i}ß" for i in range(n)], dtype=object, name="stimulus_id")
    return table


@QUICK
@given(_tables())
def test_any_table_comes_back(tmp_path, table):
    """Columns of text, numbers, bool, dates and mixtures keep values, dtypes, order and kinds of missing."""
    noun = Stimuli(table)
    save(noun, tmp_path / "s.h5")
    back = load(tmp_path / "s.h5").table
    assert list(back.columns) == list(noun.table.columns)
    assert list(back.index) == list(noun.table.index)
    assert back.index.name == "stimulus_id"
    for name in noun.table.columns:
        assert back[name].dtype == noun.table[name].dtype, name
        assert [(type(c), repr(c)) for c in back[name]] == [(type(c), repr(c)) for c in noun.table[name]], (
            name
        )


KEYS = st.one_of(st.text(max_size=8), st.integers(), st.none(), st.booleans(), st.floats(allow_nan=False))
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just({"$array": "values"})
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@QUICK
@given(st.dictionaries(st.text(max_size=8), NESTED, max_size=4))
def test_any_nested_info_comes_back(tmp_path, info):
    """Mappings with any key, lists, numbers, nan and text (lone surrogates too) survive."""
    save(Stimuli(pd.DataFrame(index=["a"]), info=info), tmp_path / "s.h5")
    assert repr(load(tmp_path / "s.h5").info) == repr(info)


def test_numpy_in_info_comes_back(tmp_path):
    """Arrays keep shape, dtype and bits; scalars become Python numbers; tuples become lists."""
    info = {
        "array": np.array([[1, -0.0], [np.nan, np.inf]], dtype="f2"),
        "scalar array": np.array(3),
        "empty": np.zeros((0, 3), bool),
        "text": np.array([["a", "ü"]]),
        "objects": np.array(["a", None], dtype=object),
        "numbers": (np.float32(0.1), np.int8(3), np.bool_(True), np.str_("x"), np.float64("nan")),
        "a/b": {
            "": np.arange(3),
            ".": np.arange(2),
            1: np.arange(4),
            "1": np.arange(5),
            "\ud800": np.ones(1),
        },
    }
    save(Stimuli(pd.DataFrame(index=["a"]), info=info), tmp_path / "s.h5")
    back = load(tmp_path / "s.h5").info
    for name in ("array", "scalar array", "empty", "text"):
        assert back[name].dtype == info[name].dtype
        assert back[name].shape == info[name].shape
        assert back[name].tobytes() == info[name].tobytes()
    assert back["objects"].tolist() == ["a", None]
    assert repr(back["numbers"]) == "[0.10000000149011612, 3, True, 'x', nan]"
    assert [len(a) for a in back["a/b"].values()] == [3, 2, 4, 5, 1]


def test_categories_come_back_as_their_values(tmp_path):
    """A categorical column is stored as what its categories are."""
    table = pd.DataFrame({"a": pd.Categorical(["x", None, "y"]), "b": pd.Categorical([3, 1, 3])})
    save(Stimuli(table), tmp_path / "s.h5")
    back = load(tmp_path / "s.h5").table
    assert back["a"].tolist()[0::2] == ["x", "y"]
    assert pd.isna(back["a"].iloc[1])
    assert back["b"].tolist() == [3, 1, 3]
    assert back["b"].dtype == np.int64


def test_trailing_nul_characters_survive(tmp_path):
    """Text that ends in NUL, which fixed-length storage drops by itself, keeps its length."""
    cells = ["a\0", "a", "\0\0", ""]
    save(Stimuli(pd.DataFrame({"c": cells})), tmp_path / "s.h5")
    assert load(tmp_path / "s.h5").table["c"].tolist() == cells


def test_one_long_text_does_not_blow_up_a_column(tmp_path):
    """A column with one cell of 100 kB among 5,000 short ones takes no 500 MB."""
    cells = ["a", None, "x" * 100_000 + "\0", *["bc"] * 4997]
    save(Stimuli(pd.DataFrame({"caption": cells})), tmp_path / "s.h5")
    assert (tmp_path / "s.h5").stat().st_size < 1_000_000
    back = load(tmp_path / "s.h5").table["caption"].tolist()
    assert back[2:] == cells[2:]
    assert back[0] == "a"


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"a": {"b": [1, object()]}}, r"info\['a'\]\['b'\]\[1\] is a object, which cannot be stored"),
        ({"f": len}, r"info\['f'\] is a builtin_function_or_method, which cannot be stored"),
        ({"p": Path("x")}, r"info\['p'\] is a PosixPath"),
        ({"c": np.zeros(2, complex)}, r"info\['c'\] has dtype complex128, which cannot be stored"),
        (
            {"o": np.array([1, {}], object)},
            r"info\['o'\] is an array of dtype object with a int at position 0",
        ),
        ({"k": {(1, 2): 3}}, r"info\['k'\] has the key \(1, 2\) \(tuple\)"),
        ({"n": 10**5000}, r"info\['n'\] is an integer of more than 4000 digits"),
        ({"l": np.longdouble(1)}, r"info\['l'\] is a longdouble"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, info, text):
    """A value that has no place in a file is refused with its path, and nothing is written."""
    with pytest.raises(InputError, match=text):
        save(Stimuli(pd.DataFrame(index=["a"]), info=info), tmp_path / "s.h5")
    assert list(tmp_path.iterdir()) == []


def test_long_names_and_long_info_survive(tmp_path):
    """Column names of 100,000 characters that differ at the end, and a megabyte of info, come back."""
    names = ["n" * 100_000 + end for end in "ab"]
    noun = Stimuli(pd.DataFrame({n: [i, 2] for i, n in enumerate(names)}), info={"text": "é" * 500_000})
    save(noun, tmp_path / "s.h5")
    back = load(tmp_path / "s.h5")
    assert list(back.table.columns) == names
    assert back.table[names[1]].tolist() == [1, 2]
    assert back.info == noun.info


def test_cyclic_info_is_refused(tmp_path):
    """A mapping that holds itself ends in an error, not in endless recursion."""
    info: dict = {}
    info["self"] = info
    with pytest.raises(InputError, match="nested more than 60 levels deep"):
        save(Stimuli(pd.DataFrame(index=["a"]), info=info), tmp_path / "s.h5")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ([1, object()], r"table\['c'\] row 1 is a object"),
        (["a", "\ud800"], r"table\['c'\] row 1 is '\\ud800', which is not valid Unicode"),
        (np.array([1, 2j]), r"table\['c'\] has dtype complex128"),
        (pd.to_datetime(["2020-01-01", None], utc=True), r"table\['c'\] has dtype datetime64\[.*UTC\]"),
    ],
)
def test_columns_that_cannot_be_stored_are_named(tmp_path, column, text):
    """A cell or dtype without a place in a file is refused with table, column and row."""
    with pytest.raises(InputError, match=text):
        save(Stimuli(pd.DataFrame({"c": column})), tmp_path / "s.h5")


def test_other_things_are_refused(tmp_path):
    """Plain arrays are no noun; the error lists what can be saved."""
    with pytest.raises(
        InputError, match=r"x is a ndarray, which cannot be stored; expected one of Stimuli, Resp"
    ):
        save(np.zeros(3), tmp_path / "x.h5")
    bundle = storage_cases.dataset()
    bundle.features[3] = bundle.responses
    with pytest.raises(InputError, match=r"features has the key 3 \(int\); expected text"):
        save(bundle, tmp_path / "x.h5")
    with pytest.raises(InputError, match=r"values has dtype float128"):
        save(RDMs(np.zeros((2, 2), np.longdouble), ["a", "b"]), tmp_path / "x.h5")


def test_places_that_cannot_be_written_are_refused(tmp_path):
    """A folder, a missing folder and, on request, an existing file are refused."""
    noun = storage_cases.rdms()
    with pytest.raises(InputError, match="is a folder; give the name of a file in it"):
        save(noun, tmp_path)
    with pytest.raises(DataNotFoundError, match="no does not exist; create it"):
        save(noun, tmp_path / "no" / "x.h5")
    save(noun, tmp_path / "x.h5", overwrite=False)
    with pytest.raises(InputError, match=r"x\.h5 exists and overwrite=False"):
        save(noun, tmp_path / "x.h5", overwrite=False)


class _Rows:
    """An array-like that computes its rows and records how many were asked for at once."""

    def __init__(self, shape, dtype="float32", given=None, wrong=0):
        self.shape, self.dtype, self.wrong, self.most = shape, np.dtype(dtype), wrong, 0
        self.given = given or dtype

    def __getitem__(self, key):
        rows = key[0] if isinstance(key, tuple) else key
        block = np.arange(rows.start, rows.stop)[:, None] * np.ones(self.shape[1])
        self.most = max(self.most, block.nbytes)
        return block.astype(self.given)[: len(block) - self.wrong]


def test_array_likes_are_written_in_blocks(tmp_path):
    """Values that are computed on request are never asked for as a whole."""
    rows = _Rows((3000, 5000))
    save(Responses(rows), tmp_path / "r.h5")
    assert rows.most < 5e6
    np.testing.assert_array_equal(load(tmp_path / "r.h5").values[2990:, 7], np.arange(2990, 3000))


def test_thousands_of_chunks(tmp_path, monkeypatch):
    """An index of some hundred kB (3,000 chunks) is written and read."""
    monkeypatch.setattr(_write, "CHUNK_BYTES", 1 << 12)
    values = np.random.default_rng(0).standard_normal((3000, 1000), dtype="f4")
    save(Responses(values), tmp_path / "r.h5")
    assert verify(tmp_path / "r.h5")["n_chunks"] > 3000
    assert np.asarray(load(tmp_path / "r.h5").values).tobytes() == values.tobytes()


def test_array_likes_that_lie_are_refused(tmp_path):
    """A block of another shape or dtype than announced is an error, not a cast; the old file stays."""
    save(storage_cases.rdms(), tmp_path / "r.h5")
    before = (tmp_path / "r.h5").read_bytes()
    with pytest.raises(
        ShapeError, match=r"its shape is \(10, 4\), but gives \(9, 4\) where \(10, 4\) was asked"
    ):
        save(Responses(_Rows((10, 4), wrong=1)), tmp_path / "r.h5")
    with pytest.raises(InputError, match="its dtype is float32, but gives float64; a cast would lose values"):
        save(Responses(_Rows((10, 4), given="float64")), tmp_path / "r.h5")
    assert (tmp_path / "r.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_axes_survive(tmp_path, shape):
    """No samples or no units is a shape like any other."""
    save(Responses(np.zeros(shape, "f4")), tmp_path / "r.h5")
    back = load(tmp_path / "r.h5")
    assert back.values.shape == shape
    assert back.values.dtype == np.float32
