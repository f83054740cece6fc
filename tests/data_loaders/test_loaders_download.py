"""One file from a server that cuts, stalls, drips and lies: whole and right, or a clear error and no file."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from hostile_server import CONTENT, IMPATIENT, LIMITS, SIZE, HostileServer, Trick, card, fetch, left, part_of

from brainalign.errors import CorruptFileError, DataNotFoundError

OTHER = random.Random(1).randbytes(SIZE)
HALF = SIZE // 2


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer({"a.npy": CONTENT}) as running:
        yield running


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_cut_connection_is_continued(server: HostileServer, tmp_path: Path, reset: bool) -> None:
    """A body that ends early is continued by range from what has come, guarded by the ETag."""
    server.tricks = [Trick(cut_after=HALF), Trick(cut_after=1000, reset=reset)]
    assert fetch(server, tmp_path) == CONTENT
    first, second, third = server.log
    assert (first.range, first.if_range) == (None, None)
    assert (second.range, second.if_range) == (f"bytes={HALF}-", '"v1"')
    # a reset may drop what had been sent before it
    assert HALF <= int(third.range[6:-1]) <= HALF + 1000


def test_many_cuts_with_progress_are_survived(server: HostileServer, tmp_path: Path) -> None:
    """Attempts are counted without progress only: twelve cuts are survived with three attempts."""
    server.tricks = [Trick(cut_after=SIZE // 12) for _ in range(12)]
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.log) == 13


def test_server_that_always_cuts_is_given_up(server: HostileServer, tmp_path: Path) -> None:
    """Without progress it ends after the attempts that are allowed; what came is kept and continued."""
    server.tricks = [Trick(cut_after=HALF)]
    server.always = Trick(cut_after=0)
    with pytest.raises(
        DataNotFoundError,
        match=rf"after 3 attempts without progress: the connection was cut at {HALF} of {SIZE} bytes. {HALF} "
        rf"of {SIZE} bytes are kept in .*part; run the same command again",
    ):
        fetch(server, tmp_path)
    assert part_of(tmp_path).read_bytes() == CONTENT[:HALF]
    server.always = None
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges()[-1] == f"bytes={HALF}-"


def test_restarts_without_progress_end(server: HostileServer, tmp_path: Path) -> None:
    """A server that knows no ranges and always cuts at the same place is no endless loop."""
    server.always = Trick(cut_after=HALF, ignore_range=True)
    with pytest.raises(DataNotFoundError, match=r"after 3 attempts without progress"):
        fetch(server, tmp_path)
    assert len(server.log) <= 4


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        (Trick(stall_after=HALF), "no byte came for 0.3 s"),
        (Trick(drip_s=0.002), r"only \d+ bytes came in 0.3"),
        (Trick(header_drip_s=0.05), "gave no complete answer in time"),
        (Trick(stall_after=0, headers={"X": "y"}), "no byte came"),
    ],
    ids=["stall", "drip", "dripping header", "silence after the header"],
)
def test_stalls_are_cut_and_continued(
    server: HostileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], trick: Trick, reason: str
) -> None:
    """Silence and slow drips end after the timeout, are named on stderr, and the rest comes by range."""
    server.tricks = [trick]
    assert fetch(server, tmp_path, IMPATIENT) == CONTENT
    assert re.search(reason + r".*; trying again in 0\.\d s", capsys.readouterr().err)


def test_range_that_is_ignored_restarts(server: HostileServer, tmp_path: Path) -> None:
    """200 in answer to a range begins the file again; nothing is appended to the wrong place."""
    server.tricks = [Trick(cut_after=HALF), Trick(ignore_range=True)]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "content_range",
    [
        f"bytes 10-{SIZE - 1}/{SIZE}",
        f"bytes {HALF}-{SIZE}/{SIZE + 1}",
        "nonsense",
        f"bytes {HALF}-{SIZE - 1}/7",
    ],
)
def test_wrong_content_range_restarts(server: HostileServer, tmp_path: Path, content_range: str) -> None:
    """A range that was not asked for is thrown away, and the file asked for whole."""
    server.tricks = [Trick(cut_after=HALF), Trick(headers={"Content-Range": content_range})]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-", None]


def test_partial_answer_that_nobody_asked_for(server: HostileServer, tmp_path: Path) -> None:
    """206 to a request without a range is not taken for the file."""
    server.always = Trick(status=206)
    with pytest.raises(DataNotFoundError, match="the server answered another range than the bytes 0-99999"):
        fetch(server, tmp_path)


def test_range_not_satisfiable_restarts(server: HostileServer, tmp_path: Path) -> None:
    """416 throws the piece away and asks for the whole file, without a range."""
    server.tricks = [Trick(cut_after=HALF), Trick(status=416, body=b"")]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-", None]


def test_file_that_changed_between_requests_restarts(server: HostileServer, tmp_path: Path) -> None:
    """With another ETag the server answers 200 and all begins again: no mixture of two versions."""
    server.files["a.npy"] = OTHER

    def change() -> None:
        server.files["a.npy"], server.etag = CONTENT, '"v2"'

    server.tricks = [Trick(cut_after=HALF, then=change)]
    assert fetch(server, tmp_path) == CONTENT
    assert [r.if_range for r in server.log] == [None, '"v1"']


def test_changed_file_behind_a_server_that_ignores_the_condition(
    server: HostileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """206 with another ETag than the piece has is not appended to it."""
    server.files["a.npy"] = OTHER
    server.tricks = [
        Trick(cut_after=HALF, then=lambda: server.files.update({"a.npy": CONTENT})),
        Trick(headers={"ETag": '"v2"'}),
    ]
    assert fetch(server, tmp_path) == CONTENT
    assert "a.npy: the file has changed at the source; trying again" in capsys.readouterr().err
    assert server.ranges() == [None, f"bytes={HALF}-", None]


def test_mixture_without_validators_is_found_by_its_sum(server: HostileServer, tmp_path: Path) -> None:
    """Where the server names no version, the sha256 tells, and the file is asked for once more, whole."""
    server.files["a.npy"], server.etag = OTHER, None
    server.tricks = [Trick(cut_after=HALF, then=lambda: server.files.update({"a.npy": CONTENT}))]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("text", ['"v1', '"a"\r\nX-Injected: 1', "\xff", 'W/"weak"'])
def test_torn_validator_is_not_sent(server: HostileServer, tmp_path: Path, text: str) -> None:
    """What a lost power line left of the validator never reaches the server; the sha256 still guards."""
    part_of(tmp_path).parent.mkdir(parents=True)
    part_of(tmp_path).write_bytes(CONTENT[:HALF])
    part_of(tmp_path).with_name(part_of(tmp_path).name + ".validator").write_text(text, encoding="latin-1")
    assert fetch(server, tmp_path) == CONTENT
    assert (server.log[0].range, server.log[0].if_range) == (f"bytes={HALF}-", None)
    assert "X-Injected" not in server.log[0].headers


@pytest.mark.parametrize("piece", [CONTENT + b"more", bytes(HALF)], ids=["too long", "zeros"])
def test_piece_that_is_damaged_does_no_harm(server: HostileServer, tmp_path: Path, piece: bytes) -> None:
    """A piece longer than the file, or with blocks that never reached the disk, is replaced."""
    part_of(tmp_path).parent.mkdir(parents=True)
    part_of(tmp_path).write_bytes(piece)
    assert fetch(server, tmp_path) == CONTENT


def test_complete_piece_is_not_asked_for_again(server: HostileServer, tmp_path: Path) -> None:
    """A process that was killed between the last byte and the file's name leaves only the check to do."""
    part_of(tmp_path).parent.mkdir(parents=True)
    part_of(tmp_path).write_bytes(CONTENT)
    assert fetch(server, tmp_path) == CONTENT
    assert server.log == []


@pytest.mark.parametrize(
    ("trick", "text"),
    [
        (Trick(body=b"<!DOCTYPE html><title>Sign in</title>"), r"a web page .*Sign in</title>"),
        (Trick(body=b"\n<html>Error</html>".ljust(SIZE)), "a web page .*<html>Error</html>"),
        (Trick(body=b"<html>" + b"x" * 999, with_length=False), "a web page .*<html>xxx"),
        (Trick(body=b'{"message": "Not Found"}'), 'the text of an error .*{"message": "Not Found"}'),
        (
            Trick(body=b"<?xml version='1.0'?><Error><Code>AccessDenied"),
            "the text of an error .*AccessDenied",
        ),
        (Trick(body=b"version https://git-lfs.github.com/spec/v1\noid"), "a git-lfs pointer"),
    ],
)
def test_text_in_place_of_the_file(server: HostileServer, tmp_path: Path, trick: Trick, text: str) -> None:
    """A page or an error with status 200 is named with its first line, once, and nothing is stored."""
    server.tricks = [trick]
    with pytest.raises(CorruptFileError, match=rf"was answered with {text}.*Nothing was kept"):
        fetch(server, tmp_path)
    assert (left(tmp_path), len(server.log)) == ([], 1)


@pytest.mark.parametrize("length", [0, 10, SIZE - 1, SIZE + 1, 10**10])
def test_wrong_length_is_refused_before_a_byte_is_written(
    server: HostileServer, tmp_path: Path, length: int
) -> None:
    """Another Content-Length than registered is refused at once, with both numbers."""
    server.tricks = [Trick(headers={"Content-Length": str(length)})]
    with pytest.raises(CorruptFileError, match=rf"has {length} bytes; a.npy is registered with {SIZE}"):
        fetch(server, tmp_path, IMPATIENT)
    assert (left(tmp_path), len(server.log)) == ([], 1)


def test_endless_body_is_cut(server: HostileServer, tmp_path: Path) -> None:
    """A body without an end is cut at the registered size and refused."""
    server.tricks = [Trick(body=CONTENT, endless=True)]
    with pytest.raises(CorruptFileError, match=rf"sends more than the {SIZE} bytes registered for a.npy"):
        fetch(server, tmp_path)
    assert left(tmp_path) == []


def test_body_without_a_length(server: HostileServer, tmp_path: Path) -> None:
    """No Content-Length is no fault; the size is counted."""
    server.tricks = [Trick(with_length=False, cut_after=HALF), Trick(with_length=False)]
    assert fetch(server, tmp_path) == CONTENT


def test_empty_file_may_be_registered(server: HostileServer, tmp_path: Path) -> None:
    """A file of no bytes is asked for once and is there."""
    server.files["a.npy"] = b""
    assert fetch(server, tmp_path, of=card(b"")) == b""
    assert fetch(server, tmp_path, of=card(b"")) == b""
    assert len(server.log) == 1


def test_packed_body(server: HostileServer, tmp_path: Path) -> None:
    """A body that was packed on the way is refused by name; a packed file sent as it is, is the file."""
    packed = gzip.compress(CONTENT)
    for with_length in (True, False):
        server.tricks = [Trick(body=packed, headers={"Content-Encoding": "gzip"}, with_length=with_length)]
        with pytest.raises(CorruptFileError, match=r"sent packed \(Content-Encoding: 'gzip'\) although"):
            fetch(server, tmp_path)
    assert server.log[0].headers["Accept-Encoding"] == "identity"
    server.files["a.npy"] = packed
    server.tricks = [Trick(headers={"Content-Encoding": "gzip"})]
    assert fetch(server, tmp_path, of=card(packed)) == packed


def test_wrong_content_is_kept_under_another_name(server: HostileServer, tmp_path: Path) -> None:
    """A file of the right size and another sha256 is set aside: both sums, dataset and place are named."""
    server.files["a.npy"] = OTHER
    found, expected = (hashlib.sha256(c).hexdigest() for c in (OTHER, CONTENT))
    with pytest.raises(CorruptFileError) as caught:
        fetch(server, tmp_path)
    for text in (found, expected, "'toy'", "registered content of a.npy", f"kept as {tmp_path}"):
        assert text in str(caught.value)
    assert left(tmp_path) == [f"a.npy.bad-{found[:8]}"]
    assert (tmp_path / f"toy/a.npy.bad-{found[:8]}").read_bytes() == OTHER
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Retry-After": "0"}, 503), ({}, 500), ({}, 429), ({}, 502), ({}, 504), ({"Retry-After": "soon"}, 503)],
)
def test_busy_server_is_asked_again(
    server: HostileServer, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    """5xx and 429 are tried again."""
    server.tricks = [Trick(status=status, headers=headers, body=b"busy")] * 2
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.log) == 3


def test_retry_after_is_obeyed(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause is what the server asks for, as seconds or as a date; one that is too long is refused."""
    pauses: list[float] = []
    monkeypatch.setattr("data_loaders._download.time.sleep", pauses.append)
    later = formatdate(time() + 40, usegmt=True)
    server.tricks = [Trick(status=503, headers={"Retry-After": r}) for r in ("7", later)]
    assert fetch(server, tmp_path, replace(LIMITS, longest_wait_s=60)) == CONTENT
    assert pauses[0] == 7
    assert 30 < pauses[1] <= 40
    server.tricks = [Trick(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(DataNotFoundError, match=r"the server asks to wait 3600 s: .*429 Too Many Requests"):
        fetch(server, tmp_path / "second", replace(LIMITS, longest_wait_s=60))
    assert len(pauses) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 410, 304, 204])
def test_refusals_are_not_repeated(server: HostileServer, tmp_path: Path, status: int) -> None:
    """What will not change by asking again is reported at once, with the first line of the answer."""
    server.always = Trick(status=status, body=b"No \x1b[31mway\nsecond" if status == 404 else b"No way")
    with pytest.raises(DataNotFoundError, match=rf"a\.npy answered {status} [A-Z]") as caught:
        fetch(server, tmp_path)
    assert "\x1b" not in str(caught.value)
    assert ("No way" in str(caught.value)) == (status in (401, 403, 410))
    assert (left(tmp_path), len(server.log)) == ([], 1)
