"""FIF files: their chain of tags checked to the end, then read by MNE."""

from __future__ import annotations

import os
import struct
import warnings
from typing import Any

from brainalign.errors import AlignmentError, CorruptFileError, InputError
from brainalign.types._files import opened, with_content

_TAG = struct.Struct(">iIii")
_MOST_TAGS = 50_000_000
_FILE_ID, _BLOCK_START = 100, 104
# kinds of blocks: epochs, evoked, raw values (continuous; before and after artefact removal)
_BLOCKS = {"epochs": {373}, "evoked": {104}, "raw": {102, 112, 119}}


def check_fif(path: str | os.PathLike[str]) -> set[int]:
    """Follow the tags of a FIF file to its end mark; return the kinds of blocks in it.

    A reader that meets a cut file may take what is left for the whole recording.

    Raises
    ------
    CorruptFileError
        It does not begin as FIF does, or a tag reaches beyond the end of the file.
    """
    path = with_content(path)
    position, following = 0, 0
    blocks = set()
    with opened(path) as stream:
        for count in range(_MOST_TAGS):
            head = stream.read(_TAG.size)
            if len(head) < _TAG.size:
                raise CorruptFileError(
                    f"{path} was cut: no tag at byte {position}, and no end mark before it"
                )
            kind, _, size, following = _TAG.unpack(head)
            if count == 0 and kind != _FILE_ID:
                raise CorruptFileError(f"{path} is no FIF file (first tag {kind}, expected {_FILE_ID})")
            content = stream.read(max(size, 0))
            if len(content) != size:
                raise CorruptFileError(
                    f"{path} was cut: the tag at byte {position} (kind {kind}) says {size} bytes, "
                    "which are not there"
                )
            if kind == _BLOCK_START:
                blocks.add(int.from_bytes(content, "big"))
            if following < 0:
                break
            position = position + _TAG.size + size if following == 0 else following
            if following > 0:
                stream.seek(following)
        # to the end, so that the checksum of gzip is compared
        while stream.read(1 << 20):
            pass
    return blocks


def read_fif(path: str | os.PathLike[str]) -> Any:
    """The Raw, Epochs or list of Evoked of a FIF file; annotations outside the recording are refused."""
    import mne

    blocks = check_fif(path)
    readers = {
        "epochs": mne.read_epochs,
        "evoked": mne.read_evokeds,
        "raw": mne.io.read_raw_fif,
    }
    content = next((name for name in readers if blocks & _BLOCKS[name]), None)
    if content is None:
        raise InputError(f"{path} holds no recording (raw), no epochs and no evoked responses")
    with warnings.catch_warnings(), mne.use_log_level("ERROR"):
        # names of files that do not end as MNE likes are no concern of the reader
        warnings.simplefilter("ignore")
        try:
            instance = readers[content](path)
            # a damaged channel is met only when it is asked for its type
            for part in instance if isinstance(instance, list) else [instance]:
                part.info.get_channel_types()
            stored = _stored_annotations(path) if content == "raw" else []
        except Exception as error:  # the reader raises whatever its parsing meets
            raise CorruptFileError(f"{path} cannot be read by MNE: {error}") from error
    lost = len(stored) - len(instance.annotations) if content == "raw" else 0
    if lost > 0:
        # MNE leaves them out without a word
        raise AlignmentError(
            f"{path}: {lost} of {len(stored)} annotations lie outside the recording of "
            f"{len(instance.times) / instance.info['sfreq']:g} s (last: {stored[-1]['description']!r} at "
            f"{stored[-1]['onset']:g} s). Are they of this recording, and is its sampling rate right?"
        )
    return instance


def _stored_annotations(path: str | os.PathLike[str]) -> Any:
    """The annotations in a file before MNE fits them to the recording, [] where there are none."""
    import mne

    try:
        return mne.read_annotations(path)
    except OSError:
        return []
