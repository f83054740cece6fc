"""Download of one registered file that survives interruption: a downloader for pooch."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError, DataNotFoundError, WriteError
from brainalign.storage.atomic import sync
from data_loaders._addresses import shown
from data_loaders._card import RemoteFile, megabytes
from data_loaders._connection import RetriableError, Source, read_pieces
from data_loaders._read import HEAD, first_line, placeholder, sha256_of

_RETRIABLE = (408, 425, 429)
_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')  # a weak one may name other bytes
_DATE = re.compile(r"[A-Za-z]{3}, [A-Za-z0-9: ]{10,30} GMT")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class ResumingDownloader:
    """Downloads one registered file onto a ``.part`` file, which the next attempt continues.

    An instance is what pooch calls a downloader: a callable of (url, output_file, pooch).
    The file at `output_file` has the registered size and sha256, or an error was raised.

    Parameters
    ----------
    file : the registered file
    part : path of the ``.part`` file; it outlives this process
    bad : function of the sha256 that was found, gives the path under which a complete file
        of other content is kept
    source : the hosts that may be asked
    advance : called with the number of bytes that have come, negative where they are dropped
    say : called with a sentence when an attempt failed and another one follows
    """

    def __init__(
        self,
        file: RemoteFile,
        part: Path,
        bad: Callable[[str], Path],
        source: Source,
        *,
        advance: Callable[[int], object] = lambda n: None,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.file = file
        self.part = part
        self.validator = part.with_name(f"{part.name}.validator")
        self.source = source
        self._bad = bad
        self._advance = advance
        self._say = say
        self._ranges = True
        self._answers = 0
        self._started_at = 0

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download `url` to `output_file`.

        Raises
        ------
        DataNotFoundError
            Offline, refused, absent at the source, or given up after the last attempt;
            what had come is kept in the ``.part`` file.
        CorruptFileError
            Another length, text in place of the file, or another sha256; a complete file
            of other content is kept under another name.
        WriteError
            The disk is full or fails; what had come is kept.
        """
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self._started_at = self._have()
        self._fill(url)
        found = sha256_of(self.part)
        if found != self.file.sha256 and (self._started_at or self._answers > 1):
            # pieces of two versions may have met, or the end of the piece was never on the disk
            self.discard()
            self._fill(url)
            found = sha256_of(self.part)
        if found != self.file.sha256:
            self._quarantine(url, found)
        sync(self.part)
        self._hand_over(Path(output_file))

    def discard(self) -> None:
        """Begin again."""
        self._advance(-self._have())
        self.forget()
        self._started_at = self._answers = 0

    def forget(self) -> None:
        """Remove the ``.part`` file and what belongs to it."""
        for path in (self.part, self.validator):
            path.unlink(missing_ok=True)

    def _have(self) -> int:
        """Bytes that need not be asked for."""
        try:
            size = self.part.stat().st_size
        except FileNotFoundError:
            return 0
        if size <= self.file.size:
            return size
        self.part.unlink()
        return 0

    def _fill(self, url: str) -> None:
        """Attempt until the registered number of bytes is there."""
        limits, failures, furthest = self.source.limits, 0, self._have()
        least_gain = max(1, min(2**20, self.file.size // 10))
        while self._have() < self.file.size or not self.part.exists():
            try:
                self._attempt(url)
            except RetriableError as error:
                failures += 1
                if self._have() >= furthest + least_gain:
                    furthest, failures = self._have(), 1
                if failures >= limits.attempts or (error.wait_s or 0) > limits.longest_wait_s:
                    raise self._given_up(url, error, failures) from None
                self._pause(error, failures)

    def _pause(self, error: RetriableError, failures: int) -> None:
        """As long as the server asks for, else twice as long after each failure."""
        limits = self.source.limits
        pause = limits.backoff_s * 2 ** (failures - 1) if error.wait_s is None else error.wait_s
        pause = min(pause, limits.longest_wait_s)
        self._say(f"{error}; trying again in {pause:.1f} s")
        time.sleep(pause)

    def _given_up(self, url: str, error: RetriableError, failures: int) -> DataNotFoundError:
        kept = f"{self._have()} of {self.file.size} bytes are kept in {self.part}"
        if error.wait_s is not None and error.wait_s > self.source.limits.longest_wait_s:
            after = f"; the server asks to wait {error.wait_s:.0f} s"
        else:
            after = f" after {failures} attempts without progress"
        return DataNotFoundError(
            f"{shown(url)} could not be downloaded{after}: {error}. {kept}; run the same command again "
            "later, it continues there"
        )

    def _attempt(self, url: str) -> None:
        """One request: continue the piece, or begin again where the server does."""
        offset = self._have()
        headers = {"Accept-Encoding": "identity", "User-Agent": "brainalign"}
        if offset and self._ranges:
            headers["Range"] = f"bytes={offset}-"
            known = self._known_validator()
            headers |= {"If-Range": known} if known else {}
        with self.source.open(url, headers) as response:
            start = self._start(response, url, offset)
            pieces = read_pieces(response, self.file.size - start, self.source.limits)
            head = b""
            if start == 0:
                while len(head) < min(HEAD, self.file.size) and (piece := next(pieces, b"")):
                    head += piece
                self._refuse_text(head, url)
                self._begin(response)
            self._answers += 1
            self._write(start, head, pieces)
            if self._have() < self.file.size:
                raise RetriableError(f"the connection was cut at {self._have()} of {self.file.size} bytes")
            self._refuse_surplus(response, url)

    def _start(self, response: http.client.HTTPResponse, url: str, offset: int) -> int:
        """The byte at which the body of this answer begins: 0 or `offset`."""
        status = response.status
        if status == 206:
            return self._continued(response, offset)
        if status == 200:
            self._refuse_length(response, url)
            return 0
        if status == 416:  # the file there is shorter than what has come: another one
            self.discard()
            self._ranges = False
            raise RetriableError("the server has no such range of bytes (416)", 0.0)
        if status in _RETRIABLE or status >= 500:
            raise RetriableError(f"the server answered {_words(status)}", _retry_after(response))
        line = first_line(_head_of(response, self.source))
        raise DataNotFoundError(
            f"{shown(url)} answered {_words(status)}{f': {line!r}' if line else ''}. Nothing was kept; look "
            f"at the source, or put {self.file.name} into its folder by hand"
        )

    def _continued(self, response: http.client.HTTPResponse, offset: int) -> int:
        """The offset, if the answer is its continuation; else all begins again without ranges."""
        found = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range", "").strip())
        last = self.file.size - 1
        reason = "the file has changed at the source"
        if self._same_version(response):
            reason = f"the server answered another range than the bytes {offset}-{last}"
            in_place = found and int(found[1]) == offset > 0 and int(found[2]) <= last
            if found and in_place and found[3] in ("*", str(self.file.size)):
                return offset
        self.discard()
        self._ranges = False
        raise RetriableError(reason, 0.0)

    def _same_version(self, response: http.client.HTTPResponse) -> bool:
        known = self._known_validator()
        return known is None or _validator(response) in (None, known)

    def _known_validator(self) -> str | None:
        """What named the version of the piece; None where it was not noted whole."""
        try:
            text = self.validator.read_bytes().decode("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return text if _ETAG.fullmatch(text) or _DATE.fullmatch(text) else None

    def _refuse_length(self, response: http.client.HTTPResponse, url: str) -> None:
        """The length is known before a byte is written; so is a body that is packed."""
        length = response.getheader("Content-Length")
        if length is not None and length.strip() == str(self.file.size):
            return
        head = _head_of(response, self.source)
        self._refuse_text(head, url)
        packed = response.getheader("Content-Encoding", "identity")
        if packed != "identity":
            raise CorruptFileError(
                f"{shown(url)} is sent packed (Content-Encoding: {packed[:20]!r}) although that was not "
                "asked for; its length cannot be checked. Nothing was kept"
            )
        if length is not None:
            raise CorruptFileError(
                f"{shown(url)} has {first_line(length.encode())[:20]} bytes; {self.file.name} is registered "
                f"with {self.file.size}. Nothing was kept; the source may have changed, look for a newer "
                "brainalign"
            )

    def _refuse_text(self, head: bytes, url: str) -> None:
        found = placeholder(head, self.file.name)
        if found:
            raise CorruptFileError(
                f"{shown(url)} was answered with {found[0]} in place of {self.file.name}: "
                f"{first_line(head)!r}. Nothing was kept; a login page of the network, or an error of the "
                "source"
            )

    def _refuse_surplus(self, response: http.client.HTTPResponse, url: str) -> None:
        """More bytes than registered are never read into the file."""
        try:
            surplus = next(read_pieces(response, 1, self.source.limits), b"")
        except RetriableError:
            return
        if surplus:
            self.discard()
            raise CorruptFileError(
                f"{shown(url)} sends more than the {self.file.size} bytes registered for {self.file.name}; "
                "it was cut there. Nothing was kept"
            )

    def _begin(self, response: http.client.HTTPResponse) -> None:
        """Start at zero, and note by what a later attempt knows that the file is still the same."""
        self.discard()
        validator = _validator(response)
        try:
            if validator is not None:
                self.validator.write_text(validator, encoding="ascii")
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, start: int, head: bytes, pieces: Any) -> None:
        """Append to the piece, unbuffered, so that what has come survives the end of the process."""
        try:
            stream = open(self.part, "r+b" if start else "wb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from error
        with stream:
            stream.seek(start)
            piece = head or next(pieces, b"")
            while piece:
                try:
                    written = stream.write(piece)
                except OSError as error:
                    raise self._unwritable(error) from error
                self._advance(written)
                piece = piece[written:] or next(pieces, b"")

    def _unwritable(self, error: OSError) -> WriteError:
        text = f"{self.part} cannot be written ({error.strerror})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            need = self.file.size - self._have()
            free = shutil.disk_usage(self.part.parent).free
            text += f": {megabytes(need)} more are needed, {megabytes(free)} are free"
        text += ". What has come is kept; make room and run the same command again"
        return WriteError(error.errno or errno.EIO, text, os.fspath(self.part))

    def _quarantine(self, url: str, found: str) -> None:
        """Keep a complete file of other content under a name that no loader reads."""
        bad = self._bad(found)
        with self.part.open("rb") as stream:
            line = first_line(stream.read(HEAD))
        bad.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.part, bad)
        self.validator.unlink(missing_ok=True)
        raise CorruptFileError(
            f"{shown(url)} does not have the registered content of {self.file.name}: sha256 {found}; "
            f"expected {self.file.sha256}{f'. It begins with {line!r}' if line else ''}. It is kept as "
            f"{bad}; the source may have changed, look for a newer brainalign"
        )

    def _hand_over(self, output: Path) -> None:
        """Give the complete file to pooch under a second name, so that a kill loses neither."""
        output.unlink(missing_ok=True)
        try:
            os.link(self.part, output)
        except OSError:  # a file system without hard links
            os.replace(self.part, output)


def _head_of(response: http.client.HTTPResponse, source: Source) -> bytes:
    """The beginning of a body that is not kept."""
    head = b""
    with suppress(RetriableError):
        for piece in read_pieces(response, HEAD, source.limits):
            head += piece
    return head


def _words(status: int) -> str:
    """A status in the words of the standard, not of the server."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What names this version of the file: a strong ETag, else the date of its last change."""
    tag = response.getheader("ETag", "")
    date = response.getheader("Last-Modified", "")
    return tag if _ETAG.fullmatch(tag) else date if _DATE.fullmatch(date) else None


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    """Seconds that the server asks to wait."""
    text = response.getheader("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
