"""EDF and BDF headers against the bytes that follow: length of the file, clock of the records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from brainalign.errors import CorruptFileError

_CLOCK = re.compile(rb"([+-]\d+(?:\.\d+)?)(?:\x15[\d.]+)?\x14\x14")
_MAX_CHANNELS = 10_000


@dataclass(frozen=True)
class EdfHeader:
    """What the header says of the records: how many, how long, how many bytes."""

    header_bytes: int
    n_records: int
    record_s: float
    samples_per_record: list[int]
    labels: list[str]
    sample_bytes: int

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return self.sample_bytes * sum(self.samples_per_record)


def check_edf(path: Path) -> list[str]:
    """Refuse a recording that is cut, or whose records do not follow each other.

    Returns
    -------
    list of str
        What a reader of the recording must know: channels that differ in their rates.

    Raises
    ------
    CorruptFileError
        The header is damaged; the file has another number of bytes than its header says;
        the clock that EDF+ writes into each record disagrees with the record length (a
        wrong sampling rate, or a recording with gaps).
    """
    with path.open("rb") as stream:
        header = _read_header(path, stream)
        found = path.stat().st_size
        # -1: the recorder was not stopped; what is there is all there is
        if header.n_records >= 0:
            expected = header.header_bytes + header.n_records * header.record_bytes
            if found != expected:
                raise CorruptFileError(
                    f"{path} has {found} bytes; its header says {header.n_records} records of "
                    f"{header.record_bytes} bytes, {expected} in all: the file is cut or was appended to"
                )
        _check_clock(path, stream, header)
    return _rates(header)


def _rates(header: EdfHeader) -> list[str]:
    """MNE brings slower channels to the rate of the fastest one, and does not say so."""
    signals = [
        (count / header.record_s, label)
        for count, label in zip(header.samples_per_record, header.labels, strict=True)
        if not label.endswith("DF Annotations") and header.record_s > 0
    ]
    slower = [label for rate, label in signals if rate < max(signals)[0]]
    if not slower:
        return []
    return [
        f"{len(slower)} channels were recorded at a lower rate than {max(signals)[0]:g} Hz and are "
        f"interpolated to it, first {slower[0]!r}"
    ]


def _read_header(path: Path, stream: BinaryIO) -> EdfHeader:
    fixed = stream.read(256)
    try:
        n_channels = int(fixed[252:256])
        if not 0 < n_channels <= _MAX_CHANNELS:
            raise ValueError(f"{n_channels} channels")
        stream.seek(256 + 216 * n_channels)
        samples = [int(stream.read(8)) for _ in range(n_channels)]
        stream.seek(256)
        labels = [stream.read(16).decode("latin-1").strip() for _ in range(n_channels)]
        header = EdfHeader(
            header_bytes=int(fixed[184:192]),
            n_records=int(fixed[236:244]),
            record_s=float(fixed[244:252]),
            samples_per_record=samples,
            labels=labels,
            sample_bytes=3 if fixed[:1] == b"\xff" else 2,
        )
        if min(samples) < 0 or header.record_bytes <= 0:
            raise ValueError("a record without samples")
    except ValueError as error:
        raise CorruptFileError(f"{path} has no readable EDF/BDF header: {error}") from error
    return header


def _check_clock(path: Path, stream: BinaryIO, header: EdfHeader) -> None:
    marks = [i for i, label in enumerate(header.labels) if label.endswith("DF Annotations")]
    if not marks or header.record_s <= 0:
        return
    before = header.sample_bytes * sum(header.samples_per_record[: marks[0]])
    length = header.sample_bytes * header.samples_per_record[marks[0]]
    tolerance = header.record_s / max(header.samples_per_record)
    n_records = (path.stat().st_size - header.header_bytes) // header.record_bytes
    first = None
    for record in range(n_records):
        stream.seek(header.header_bytes + record * header.record_bytes + before)
        match = _CLOCK.match(stream.read(length))
        if match is None:
            raise CorruptFileError(f"{path}: record {record} has no time stamp; the file is damaged")
        first = float(match[1]) if first is None else first
        late = float(match[1]) - first - record * header.record_s
        if abs(late) > tolerance:
            raise CorruptFileError(
                f"{path}: record {record} says {float(match[1]):g} s; expected "
                f"{first + record * header.record_s:g} s from records of {header.record_s:g} s. The sampling "
                "rate of the header is wrong, or the recording has gaps"
            )
