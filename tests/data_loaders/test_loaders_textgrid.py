"""TextGrid files in their two text forms and encodings, and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainalign.errors import CorruptFileError
from data_loaders import _textgrid
from data_loaders._textgrid import Interval, read_textgrid

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0.5
xmax = 3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "word"
        xmin = 0.5
        xmax = 3
        intervals: size = 2
        intervals [1]:
            xmin = 0.5
            xmax = 1.25
            text = "so ""é"" 7 1"
        intervals [2]:
            xmin = 1.25
            xmax = 3
            text = ""
    item [2]:
        class = "TextTier"
        name = "tap"
        xmin = 0.5
        xmax = 3
        points: size = 1
        points [1]:
            number = 2.5
            mark = "a
b"
"""
SHORT = """File type = "ooTextFile"
"TextGrid"
! a comment with 12 and "text"
0.5
3
<exists>
2
"IntervalTier"
"word"
0.5 3
2
0.5
1.25
"so ""é"" 7 1"
1.25
3e0
""
"TextTier"
"tap"
0.5
3
1
2.5
"a
b"
"""
TIERS = {
    "word": [Interval('so "é" 7 1', 0.5, 1.25), Interval("", 1.25, 3.0)],
    "tap": [Interval("a\nb", 2.5, 2.5)],
}


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "story.TextGrid"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("form", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_forms_and_encodings(tmp_path: Path, form: str, encoding: str, newline: str) -> None:
    """Long and short form, UTF-8 and UTF-16, either line end: the same tiers, quotes and lines kept."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    tiers = read_textgrid(written(tmp_path, (mark + form).replace("\n", newline).encode(encoding)))
    tap = tiers["tap"][0]
    assert tap.text.replace("\r\n", "\n") == "a\nb"
    assert tiers["word"] == TIERS["word"]
    assert (tap.onset, tap.duration) == (2.5, 0.0)


def test_without_tiers(tmp_path: Path) -> None:
    """A TextGrid may say that it has no tiers."""
    assert read_textgrid(written(tmp_path, '"ooTextFile short"\n"TextGrid"\n0\n1\n<absent>\n')) == {}


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"ooTextFile"', '"ooBinary"', r"story.TextGrid is of type 'ooBinary', class 'TextGrid'; expected"),
        ('"TextGrid"', '"Pitch"', "is of type 'ooTextFile', class 'Pitch'"),
        ("xmin = 0.5", "xmin = half", "line 6: <exists>; expected xmax in seconds"),
        ("<exists>", "7", "line 6: 7; expected the flag <exists>"),
        (
            'class = "TextTier"',
            'class = "Manipulation"',
            "line 25: a tier 'tap' of class 'Manipulation'; expected IntervalTier",
        ),
        (
            'name = "tap"',
            'name = "word"',
            "line 25: a tier 'word' of class 'TextTier'; expected .* each name once",
        ),
        ("intervals: size = 2", "intervals: size = 3", 'line 24: "TextTier"; expected a time in seconds'),
        (
            "intervals: size = 2",
            "intervals: size = 2.0",
            "line 14: 2.0; expected the number of entries of tier",
        ),
        ("points: size = 1", "points: size = 2", "line 33: the file ends; expected a time in seconds"),
        (
            "points: size = 1",
            "points: size = 0",
            "line 30: 2.5 after the last tier; expected the end of the file",
        ),
        ("xmax = 1.25", "xmax = 0.25", "line 17: an entry from 0.5 to 0.25 s; expected times in order"),
        (
            "xmin = 1.25",
            "xmin = 1",
            "line 21: an entry from 1 to 3 s; expected times in order, from 1.25 to 3 s",
        ),
        ("number = 2.5", "number = 3.5", "line 30: an entry from 3.5 to 3.5 s; expected times in order"),
        ("number = 2.5", "number = 1e999", "line 30: inf; expected a time in seconds"),
        ('mark = "a\nb"', 'mark = "a\nb', "line 31: a quote that is never closed; expected a label between"),
    ],
)
def test_broken_files_name_the_line(tmp_path: Path, old: str, new: str, text: str) -> None:
    """What was expected and what stands there, with the line."""
    with pytest.raises(CorruptFileError, match=text):
        read_textgrid(written(tmp_path, LONG.replace(old, new, 1)))


def test_tier_outside_the_recording(tmp_path: Path) -> None:
    """A tier that is longer than the file says is refused."""
    long = LONG.replace("        xmax = 3\n        intervals", "        xmax = 4\n        intervals")
    with pytest.raises(
        CorruptFileError, match=r"line 13: tier 'word' from 0.5 to 4 s; expected times within"
    ):
        read_textgrid(written(tmp_path, long))


def test_other_encodings_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latin-1 is not guessed, the line of the byte is named; a file of any size is not read."""
    with pytest.raises(CorruptFileError, match=r"line 18: byte \d+ is not utf-8 text; expected UTF-8, or"):
        read_textgrid(written(tmp_path, LONG.encode("latin-1")))
    monkeypatch.setattr(_textgrid, "MAX_BYTES", 10)
    with pytest.raises(CorruptFileError, match="has 11 bytes; a TextGrid of at most 10 is read"):
        read_textgrid(written(tmp_path, b"12345678901"))


@pytest.mark.parametrize("form", [LONG, SHORT], ids=["long", "short"])
def test_every_cut_is_refused(tmp_path: Path, form: str) -> None:
    """No file that was cut short reads as a shorter story."""
    whole = form.rstrip().encode()
    for length in range(len(whole)):
        with pytest.raises(CorruptFileError):
            read_textgrid(written(tmp_path, whole[:length]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(LONG.encode()) - 1), raw=st.binary(min_size=1, max_size=6))
def test_foreign_bytes_read_or_are_refused(tmp_path: Path, at: int, raw: bytes) -> None:
    """Whatever stands in the file, it reads as tiers or is refused by name; nothing else is raised."""
    content = LONG.encode()
    path = written(tmp_path, content[:at] + raw + content[at + len(raw) :])
    refused = ""
    try:
        tiers = read_textgrid(path)
    except CorruptFileError as error:
        tiers, refused = {}, str(error)
    assert set(tiers) or "story.TextGrid" in refused
