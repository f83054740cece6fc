"""Validation that every layer shares: each refusal by its text, and precision of decompositions."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign import _checks
from brainalign._linalg import eigh_psd, full_precision
from brainalign.errors import InputError, MissingDependencyError, ShapeError, UnknownNameError


def test_unknown_name_lists_the_closest() -> None:
    """An unknown name is answered with the names that are most like it, not with all."""
    text = str(_checks.unknown_name("layer", "blocks.1", ["blocks.10", "blocks.2", "head"], "See models."))
    assert text.startswith("layer 'blocks.1' does not exist; closest: blocks.10")
    assert "head" not in text
    assert text.endswith(". See models.")


def test_unknown_name_without_a_close_one() -> None:
    """Where nothing is close the valid names are listed, at most twelve, with their number."""
    names = [f"m{i:02d}" for i in range(20)]
    text = str(_checks.unknown_name("metric", "zzzzzz", names))
    assert "valid: m00, m01" in text
    assert "m11 ... (20 in all)" in text
    assert "m12" not in text
    assert str(_checks.unknown_name("metric", "x", [])) == "metric 'x' does not exist"


def test_lookup_takes_names_and_callables() -> None:
    """A callable is its own answer, a name is looked up, anything else is an unknown name."""
    family = {"a": abs}
    assert _checks.lookup("metric", "a", family) is abs
    assert _checks.lookup("metric", len, family) is len
    for wrong in ("b", ["a"]):
        with pytest.raises(UnknownNameError, match="metric .* does not exist"):
            _checks.lookup("metric", wrong, family)


def test_one_of() -> None:
    """A value outside the valid ones is refused with the valid ones and the closest."""
    _checks.one_of("repeats", "average", ("average", "single"))
    with pytest.raises(InputError, match=r"repeats='averag' is not one of 'average', 'single'; closest: 'av"):
        _checks.one_of("repeats", "averag", ("average", "single"))


@pytest.mark.parametrize("value", [1.0, True, None, np.nan, b"a", ("a", "b")])
def test_ids_that_are_no_text(value: object) -> None:
    """Floats, truth values, missing and compound ids are refused with their row."""
    with pytest.raises(InputError, match="stimulus_id of row 1 is .*expected text or an integer"):
        _checks.unique_ids("stimulus_id", ["a", value])


@pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "a\x00", "x" * 301])
def test_ids_that_cannot_be_read(value: str) -> None:
    """Empty, padded, unprintable or endless ids are refused."""
    with pytest.raises(InputError, match="row 0 is .*1 to 300 printable characters"):
        _checks.unique_ids("unit_id", [value])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=12))
@settings(deadline=None, max_examples=60)
def test_duplicate_ids_name_both_rows(values: list[int]) -> None:
    """A duplicate names the id and the two rows where it stands; unique ids come back as text."""
    text = [str(v) for v in values]
    if len(set(values)) == len(values):
        assert _checks.unique_ids("stimulus_id", values).tolist() == text
        return
    twice = sorted({v for v in text if text.count(v) > 1})[0]
    first = text.index(twice)
    second = text.index(twice, first + 1)
    with pytest.raises(InputError, match=f"duplicate stimulus_id '{twice}' in rows {first} and {second}"):
        _checks.unique_ids("stimulus_id", values)


def test_group_codes() -> None:
    """Groups are numbered by first appearance; 1 and "1" stay apart."""
    codes, labels = _checks.group_codes("groups", ["b", "a", "b", 1, "1"], 5)
    assert codes.tolist() == [0, 1, 0, 2, 3]
    assert labels.tolist() == ["b", "a", 1, "1"]


@pytest.mark.parametrize("missing", [None, np.nan])
def test_group_codes_refuse_missing_labels(missing: object) -> None:
    """A row without a label would silently join the last group, so it is refused."""
    with pytest.raises(InputError, match=r"groups: row 2 has no label \(1 rows in all\)"):
        _checks.group_codes("groups", ["a", "b", missing])
    with pytest.raises(ShapeError, match="groups have 3 rows, expected 4"):
        _checks.group_codes("groups", ["a", "b", "c"], 4)


def test_as_matrix() -> None:
    """Real tables become floating matrices; other ranks and dtypes are refused."""
    assert _checks.as_matrix("X", [[1, 2]]).dtype == np.float64
    assert _checks.as_matrix("X", np.zeros((2, 2), np.float32)).dtype == np.float32
    assert _checks.as_matrix("X", np.zeros((2, 2), np.float32), dtype=np.float64).dtype == np.float64
    with pytest.raises(ShapeError, match=r"X has shape \(3,\); expected 2 axes"):
        _checks.as_matrix("X", np.zeros(3))
    with pytest.raises(InputError, match="X has dtype complex128; expected real numbers"):
        _checks.as_matrix("X", np.zeros((2, 2), complex))
    with pytest.raises(InputError, match="X has dtype object"):
        _checks.as_matrix("X", [["a", None]])


def test_optional_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent and broken packages give one error with the extra to install and the cause chained."""
    assert _checks.optional_import("json", "vision", "this") is sys.modules["json"]
    with pytest.raises(
        MissingDependencyError, match=r"'no_such_package_x', which is not installed.*align\[vi"
    ):
        _checks.optional_import("no_such_package_x.part", "vision", "The model")
    (tmp_path / "broken_package_x.py").write_text("raise RuntimeError('wrong ABI')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"fails to import \(wrong ABI\)") as caught:
        _checks.optional_import("broken_package_x", "vision", "The model")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_eigenvalues_of_a_singular_matrix() -> None:
    """Eigenvalues agree with numpy, none is negative, and the matrix is rebuilt from them."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 3)))
    values, vectors = eigh_psd(x @ x.T)
    assert float(values.min()) >= 0
    np.testing.assert_allclose(values, np.linalg.eigvalsh((x @ x.T).numpy()).clip(0), atol=1e-12)
    np.testing.assert_allclose((vectors * values) @ vectors.T, x @ x.T, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_matrices_keep_dtype_values_and_input(dtype: torch.dtype, monkeypatch) -> None:
    """The way of large matrices gives ascending eigenvalues, rebuilds the matrix and leaves it alone."""
    monkeypatch.setattr("brainalign._linalg._LARGE", 40)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 30))).to(dtype)
    matrix = x @ x.T
    before = matrix.clone()
    values, vectors = eigh_psd(matrix)
    assert values.dtype == vectors.dtype == dtype
    torch.testing.assert_close(matrix, before, rtol=0, atol=0)
    close = 1e-10 if dtype == torch.float64 else 1e-4
    np.testing.assert_allclose(values, np.linalg.eigvalsh(before.double().numpy()).clip(0), atol=close)
    np.testing.assert_allclose((vectors * values) @ vectors.T, before, atol=close)


@pytest.mark.parametrize("switch", ["allow_tf32", "fp32_precision"])
def test_tf32_is_off_inside_and_restored(switch: str) -> None:
    """TF32 is off inside the block and back after it, by whichever switch the user had set it."""
    matmul = torch.backends.cuda.matmul
    on, before = {"allow_tf32": True, "fp32_precision": "tf32"}[switch], getattr(matmul, switch)
    try:
        setattr(matmul, switch, on)
        with contextlib.suppress(ZeroDivisionError), full_precision():
            assert matmul.fp32_precision == "ieee"
            raise ZeroDivisionError
        assert matmul.fp32_precision == "tf32"
    finally:
        setattr(matmul, switch, before)
