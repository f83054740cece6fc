"""Records in which every flipped byte is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.errors import CorruptFileError
from brainalign.storage.record import checksum, read_record, write_record

FIELDS = {"name": "kü\n", "numbers": [1, 2.5, -0.0, 1e-300], "nested": {"a": None, "b": [True, {}]}}


def test_every_flip_and_every_truncation_is_noticed(tmp_path):
    """Each bit of a record flipped, and each shorter length, is an error."""
    path = tmp_path / "a.json"
    write_record(path, FIELDS)
    assert read_record(path) == FIELDS
    raw = path.read_bytes()
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(CorruptFileError, match=r"a\.json (is torn|was changed)"):
                read_record(path)
        path.write_bytes(raw[:at])
        with pytest.raises(CorruptFileError, match="is torn|was changed"):
            read_record(path)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"sha256": 1}', "[" * 100_000, '{"a": 1, "a": 2}'])
def test_other_json_is_no_record(tmp_path, text):
    """JSON without the digest is refused in one line."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CorruptFileError, match="is torn, or no record|was changed"):
        read_record(tmp_path / "a.json")


def test_what_json_does_not_have_is_refused(tmp_path):
    """NaN has no place in a record; nothing is written."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path / "a.json", {"a": float("nan")})
    with pytest.raises(TypeError):
        write_record(tmp_path / "a.json", {"a": np.arange(2)})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "a.json")


def test_checksum_is_that_of_the_bytes(tmp_path):
    """Size and sha256 of a file as other programs compute them."""
    (tmp_path / "a").write_bytes(b"abc")
    assert checksum(tmp_path / "a") == {
        "size": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
