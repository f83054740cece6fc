"""The nouns: what they refuse, what they select, what they keep."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Dataset, NoiseCeiling, RDMs, Responses, Scores, Stimuli, content_hash

RNG = np.random.default_rng(0)


def responses(n: int = 4, units: int = 3, **columns: object) -> Responses:
    samples = pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(n)], **columns})
    values = np.arange(n * units, dtype=np.float32).reshape(n, units)
    return Responses(values, samples, info={"design": "trials"})


class Lazy:
    """An array that can only be sliced, as one on disk."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: object) -> np.ndarray:
        return self._array[key]


def test_content_hash_depends_on_content_alone() -> None:
    """Shape, dtype, bytes and kind change the hash; memory layout does not."""
    image = RNG.integers(0, 255, (4, 5, 3), dtype=np.uint8)
    assert content_hash(image) == content_hash(np.asfortranarray(image))
    others = [image + 1, image.reshape(5, 4, 3), image.astype(np.int16), image.tobytes(), "text", b"text"]
    assert len({content_hash(x) for x in [image, *others]}) == len(others) + 1


def test_content_without_bytes_is_refused() -> None:
    """An array of objects holds addresses, not content: no hash is made of them."""
    with pytest.raises(InputError, match="content of type list has no bytes to hash"):
        content_hash([None, "a"])


def test_stimuli_join_ids_as_text() -> None:
    """Integer ids become text and runs read as floats become the runs that they are."""
    stimuli = Stimuli(pd.DataFrame({"stimulus_id": [1, 2], "split": ["train", None]}))
    assert stimuli.ids.tolist() == ["1", "2"]
    r = responses(4, run=[1.0, 2.0, np.nan, 1.5], session=[1, 1, 2, 2])
    assert r.samples["run"].tolist() == ["1", "2", None, "1.5"]
    assert r.samples["session"].tolist() == ["1", "1", "2", "2"]


def test_duplicate_stimulus_id_names_the_id_and_both_rows() -> None:
    """Two rows of one stimulus id in a stimulus table are an error that names them."""
    with pytest.raises(InputError, match="duplicate stimulus_id 'a' in rows 0 and 2"):
        Stimuli(pd.DataFrame({"stimulus_id": ["a", "b", "a"]}))


def test_stimuli_select_and_load() -> None:
    """Stimuli are selected in the order asked for; unknown ids and absent content are errors."""
    table = pd.DataFrame({"stimulus_id": ["a", "b", "c"], "x": [1, 2, 3]})
    stimuli = Stimuli(table, loader=lambda s: s.upper())
    picked = stimuli.select(["c", "a"])
    assert len(picked) == 2
    assert picked.table["x"].tolist() == [3, 1]
    assert picked.load("a") == "A"
    with pytest.raises(AlignmentError, match="1 stimulus ids are not in the table, first 'z'"):
        stimuli.select(["a", "z"])
    with pytest.raises(AlignmentError, match="stimulus_id 'z' is not in this table of 3"):
        stimuli.load("z")
    with pytest.raises(InputError, match="no content to load"):
        Stimuli(table).load("a")


def test_table_is_a_copy() -> None:
    """Changing the caller's table afterwards changes no noun; fields cannot be set."""
    table = pd.DataFrame({"stimulus_id": ["a"], "x": [1]})
    stimuli = Stimuli(table)
    table.loc[0, "x"] = 9
    assert stimuli.table["x"].tolist() == [1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        stimuli.table = table  # type: ignore[misc]


def test_tables_that_cannot_be_used() -> None:
    """No table, a repeated column (the id column too) and a wrong length are refused."""
    with pytest.raises(InputError, match="stimuli table is a dict; expected a pandas DataFrame"):
        Stimuli({"stimulus_id": ["a"]})  # type: ignore[arg-type]
    for name in ("x", "stimulus_id"):
        twice = pd.DataFrame([["a", "b", "c"]], columns=["stimulus_id", name, "x"])
        with pytest.raises(InputError, match=f"stimuli table has the column '{name}' more than once"):
            Stimuli(twice)
    with pytest.raises(ShapeError, match="samples has 3 rows, the values have 4"):
        Responses(np.zeros((4, 2)), pd.DataFrame({"run": [1, 2, 3]}))
    with pytest.raises(ShapeError, match="units has 1 rows, the values have 2"):
        Responses(np.zeros((4, 2)), units=pd.DataFrame({"x": [1]}))


def test_values_that_are_no_responses() -> None:
    """Ranks, dtypes and designs that do not exist are refused with what was found."""
    with pytest.raises(ShapeError, match=r"values have shape \(3,\)"):
        Responses(np.zeros(3))
    with pytest.raises(InputError, match="values have dtype int64; expected a floating"):
        Responses(np.zeros((2, 2), np.int64))
    torch = pytest.importorskip("torch")
    with pytest.raises(
        InputError, match=r"values have dtype torch.float32; expected a floating dtype of numpy"
    ):
        Responses(torch.zeros((2, 2)))
    with pytest.raises(InputError, match=r"info\['design'\]='trial' is not one of .*closest: 'trials'"):
        Responses(np.zeros((2, 2)), info={"design": "trial"})


def test_times() -> None:
    """A time axis needs one increasing, finite time per entry."""
    values = np.zeros((2, 3, 4))
    assert Responses(values, times=[0, 1, 2, 3]).times.tolist() == [0, 1, 2, 3]
    with pytest.raises(ShapeError, match="have a time axis; times must hold its 4 seconds"):
        Responses(values)
    with pytest.raises(ShapeError, match=r"times have shape \(3,\), values \(2, 3, 4\)"):
        Responses(values, times=[0, 1, 2])
    with pytest.raises(ShapeError, match="expected one time per last-axis entry"):
        Responses(values[..., 0], times=[0, 1, 2])
    for wrong in ([0, 1, 1, 2], [0, 1, 2, np.nan]):
        with pytest.raises(InputError, match="times must be finite and increasing"):
            Responses(values, times=wrong)


@pytest.mark.parametrize("lazy", [False, True])
def test_select_rows_and_units(lazy: bool) -> None:
    """Positions and masks select rows and units with their labels, from memory and from disk alike."""
    whole = responses(4, 3)
    source = dataclasses.replace(whole, values=Lazy(whole.values)) if lazy else whole
    picked = source.select(samples=[2, 0], units=np.array([True, False, True]))
    assert picked.array().tolist() == [[6, 8], [0, 2]]
    assert picked.samples["stimulus_id"].tolist() == ["s2", "s0"]
    assert picked.units.index.tolist() == ["0", "2"]
    assert (picked.n_samples, picked.n_units, picked.shape) == (2, 2, (2, 2))
    assert source.select(samples=[]).shape == (0, 3)


def test_select_refuses_guesses() -> None:
    """A mask of another length, positions that are no integers, and one row twice are errors."""
    r = responses()
    with pytest.raises(ShapeError, match=r"mask over samples has shape \(3,\); expected \(4,\)"):
        r.select(samples=[True, False, True])
    with pytest.raises(InputError, match="units must be selected by a boolean mask or by integer"):
        r.select(units=[0.5])
    with pytest.raises(InputError, match="duplicate sample_id '1'"):
        r.select(samples=[1, 1])


def test_rdms_axioms() -> None:
    """Symmetric matrices with a zero diagonal pass, NaN pairs too; everything else is refused."""
    d = np.array([[0, 1.0, np.nan], [1, 0, 2], [np.nan, 2, 0]])
    rdms = RDMs(d, ["a", "b", "c"], info={"distance": "correlation"})
    assert len(rdms) == 1
    two = RDMs(np.stack([d, 2 * d]), ["a", "b", "c"], pd.DataFrame({"roi": ["V1", "V4"]}))
    assert two.select([1]).table["roi"].tolist() == ["V4"]
    assert two.select(np.array([True, False])).values.shape == (1, 3, 3)
    with pytest.raises(ShapeError, match=r"RDMs have shape \(1, 2, 3\)"):
        RDMs(np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(InputError, match="RDMs have dtype int64"):
        RDMs(np.zeros((2, 2), int), ["a", "b"])
    with pytest.raises(ShapeError, match="2 stimulus ids for RDMs over 3"):
        RDMs(d, ["a", "b"])
    with pytest.raises(InputError, match="duplicate stimulus_id 'a'"):
        RDMs(d, ["a", "b", "a"])


@pytest.mark.parametrize(
    ("entry", "value", "text"),
    [
        ((0, 1), 1.1, "RDM 0 is not symmetric .*0.1"),
        ((0, 1), np.nan, "RDM 0 is not symmetric"),
        ((1, 1), 0.5, "RDM 0 has a diagonal that is not zero"),
        ((0, 1), np.inf, "RDMs hold infinite values"),
    ],
)
def test_rdms_planted_faults(entry: tuple[int, int], value: float, text: str) -> None:
    """One wrong entry is enough to be refused; an infinite one does not widen the tolerance."""
    d = np.array([[0, 1.0, 3], [1, 0, 2], [3, 2, 0]])
    d[entry] = value
    with pytest.raises(InputError, match=text):
        RDMs(d, ["a", "b", "c"])


def test_dataset_ids_agree() -> None:
    """Responses, features and RDMs may speak of known stimuli only; no name hides another."""
    stimuli = Stimuli(pd.DataFrame({"stimulus_id": ["s0", "s1", "s2", "s3"]}))
    known, foreign = responses(4), responses(5)
    Dataset(stimuli, known, {"layer": known})
    Dataset(None, foreign)
    with pytest.raises(AlignmentError, match="responses: 1 rows have a stimulus_id .* first 's4'"):
        Dataset(stimuli, foreign)
    with pytest.raises(AlignmentError, match="responses: 1 rows"):
        Dataset(stimuli, foreign, {"responses": known})
    with pytest.raises(AlignmentError, match="layer: 1 rows"):
        Dataset(stimuli, known, {"layer": foreign})
    with pytest.raises(AlignmentError, match="rdms: 1 rows .* first 'z'"):
        Dataset(stimuli, rdms=RDMs(np.zeros((2, 2)), ["s0", "z"]))


def ceiling(values: list[float], low: list[float]) -> NoiseCeiling:
    return NoiseCeiling(values, low, np.ones(len(values)), "variance_components")  # type: ignore[arg-type]


def test_normalised_never_divides_by_a_guess() -> None:
    """Scores are divided by their ceiling, and are NaN where its interval includes zero or it is NaN."""
    scores = Scores([0.4, 0.4, 0.4], noise_ceiling=ceiling([0.8, 0.8, np.nan], [0.5, 0.0, 0.3]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(scores.normalised(), [0.5, np.nan, np.nan])
    assert np.isnan(Scores(np.ones(2)).normalised()).all()
    timed = Scores(np.full((2, 3), 0.4), noise_ceiling=ceiling([0.8, 0.4], [0.1, 0.1]))
    np.testing.assert_allclose(timed.normalised(), [[0.5] * 3, [1.0] * 3])


def test_to_frame_has_one_row_per_unit_and_time() -> None:
    """The long table carries identity, labels, interval, ceiling and p of each value in its place."""
    values = np.arange(6.0).reshape(2, 3)
    scores = Scores(
        values,
        pd.DataFrame({"unit_id": ["u", "v"], "roi_area": ["V1", "V4"]}),
        identity={"subject": 0, "model": "net"},  # type: ignore[dict-item]
        interval=np.stack([values - 1, values + 1]),
        noise_ceiling=ceiling([2.0, 4.0], [1.0, 1.0]),
        p_values=values / 10,
        n_test=7,
        info={"times": [0.1, 0.2, 0.3]},
    )
    frame = scores.to_frame()
    assert frame["unit_id"].tolist() == ["u"] * 3 + ["v"] * 3
    assert frame["time"].tolist() == [0.1, 0.2, 0.3] * 2
    assert frame["value"].tolist() == list(range(6))
    assert frame["high"].tolist() == list(range(1, 7))
    assert frame["low"].tolist() == list(range(-1, 5))
    assert frame["noise_ceiling"].tolist() == [2.0] * 3 + [4.0] * 3
    assert frame["normalised"].tolist() == [0, 0.5, 1, 0.75, 1, 1.25]
    assert frame["p"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert set(frame["subject"]) == {"0"}
    assert set(frame["layer"]) == {""}
    assert set(frame["n_test"]) == {7}
    assert "time" not in Scores(np.ones(2)).to_frame()


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        ("p_values", (3,)),
        ("interval", (2, 3)),
        ("fold_values", (5, 3)),
        ("predictions", (5, 3)),
        ("observed", (5, 2, 1)),
    ],
)
def test_scores_of_unequal_lengths(field: str, shape: tuple[int, ...]) -> None:
    """Everything that stands beside the values has their shape, lists included."""
    for given in (np.zeros(shape), np.zeros(shape).tolist()):
        if field in ("predictions", "observed") and isinstance(given, list):
            continue
        with pytest.raises(ShapeError, match=f"{field} has shape"):
            Scores(np.zeros(2), **{field: given})  # type: ignore[arg-type]


def test_scores_refusals() -> None:
    """Rank of the values, length of the ceiling and keys of the identity are checked."""
    with pytest.raises(ShapeError, match=r"scores have shape \(1, 1, 1\)"):
        Scores(np.zeros((1, 1, 1)))
    with pytest.raises(ShapeError, match=r"noise_ceiling.values has shape \(3,\); expected \(2,\)"):
        Scores(np.zeros(2), noise_ceiling=ceiling([1, 1, 1], [0, 0, 0]))
    with pytest.raises(InputError, match="identity has the key 'monkey'; expected only dataset"):
        Scores(np.zeros(2), identity={"monkey": "PE"})
    with pytest.raises(ShapeError, match=r"noise ceiling: values \(1,\), low \(2,\)"):
        NoiseCeiling(np.ones(1), np.ones(2), np.ones(1), "split_half")


@pytest.mark.real
def test_real_image_hash_ignores_the_file_name(real_data: Path) -> None:
    """Two members of a real image archive have two hashes; one image decoded twice has one."""
    import io
    import zipfile

    from PIL import Image

    with zipfile.ZipFile(real_data / "macaque_v4" / "images_210325.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))[:2]
        raw = [archive.read(n) for n in (*names, names[0])]
    a, b, again = (content_hash(np.asarray(Image.open(io.BytesIO(r)).convert("RGB"))) for r in raw)
    assert a == again != b
