"""Folders that appear whole, errors of the disk in words, and what dead runs leave behind."""

from __future__ import annotations

import errno
import os
import re

import pytest

from brainalign.errors import BrainAlignError, InputError, WriteError
from brainalign.storage.atomic import (
    atomic_folder,
    is_passing,
    make_folder,
    move,
    refusals,
    remove,
    remove_leftovers,
    sync,
    temporary_name,
    write_text_atomic,
)


def fill(folder, text, *, fail=False):
    with atomic_folder(folder) as temporary:
        assert temporary.parent == folder.parent
        write_text_atomic(temporary / "a.txt", text)
        if fail:
            raise ZeroDivisionError


def test_folder_is_replaced_whole(tmp_path):
    """The new folder takes the place of the old one; nothing else stays."""
    fill(tmp_path / "cell", "old")
    fill(tmp_path / "cell", "new")
    assert (tmp_path / "cell" / "a.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["cell"]


def test_failure_keeps_the_old_folder(tmp_path, monkeypatch):
    """An error in the block, or while the names change, leaves the old folder as it was."""
    fill(tmp_path / "cell", "old")
    with pytest.raises(ZeroDivisionError):
        fill(tmp_path / "cell", "new", fail=True)
    replace, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if os.path.basename(target) == "cell" and len(calls) == 3:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(WriteError, match=r"cell could not be written \(Input/output error\).*check it"):
        fill(tmp_path / "cell", "new")
    assert len(calls) == 4, "file, old aside, new in place (fails), old back"
    assert (tmp_path / "cell" / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["cell"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EIO, "check it"),
        (errno.EROFS, "choose a folder that can be written to"),
        (errno.EACCES, "choose a folder that can be written to"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ESTALE, "mount it again"),
        (errno.ENAMETOOLONG, "shorter path"),
    ],
)
def test_refusals_of_the_disk_say_what_to_do(tmp_path, number, advice):
    """Each error of the operating system becomes one line with path, reason and advice."""
    with pytest.raises(WriteError, match=advice) as caught, refusals(tmp_path / "x" / "y", needed=12):
        raise OSError(number, "?")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/x/y could not be written ({os.strerror(number)}")
    assert "\n" not in text
    shows = re.search(r"; 12 bytes are needed, \d+ bytes are free\)", text)
    assert bool(shows) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, BrainAlignError)
    assert caught.value.errno == number


def test_error_names_the_folder_and_not_the_temporary_one(tmp_path, monkeypatch):
    """A full disk inside a temporary folder is told with the name that the file was to have."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cell/a\.txt could not be written") as caught:
        fill(tmp_path / "cell", "new")
    assert ".part" not in str(caught.value)
    assert caught.value.filename == str(tmp_path / "cell" / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_unchanged(tmp_path):
    """An absent file is no refusal of the disk; what is in words already keeps its words."""
    with pytest.raises(FileNotFoundError), refusals(tmp_path):
        (tmp_path / "absent").read_text()
    with pytest.raises(InputError, match="mine"), refusals(tmp_path):
        raise InputError("mine")


def test_folders_are_made_lastingly(tmp_path, monkeypatch):
    """Each new folder is flushed into its parent; one that is there costs nothing."""
    synced = []
    monkeypatch.setattr("brainalign.storage.atomic.sync", synced.append)
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="a file is in the way; name a folder"):
            make_folder(path)


def test_only_own_leftovers_are_removed(tmp_path):
    """Temporary files and folders of dead runs go; whatever has another name stays."""
    (tmp_path / "cells").mkdir()
    temporary_name(tmp_path).write_text("half")
    temporary_name(tmp_path / "cells").mkdir()
    kept = [tmp_path / name for name in ("download.part", ".hidden", ".0123.part", "cells")]
    for path in kept[:3]:
        path.write_text("")
    assert remove_leftovers(tmp_path, tmp_path / "cells", tmp_path / "absent") == 2
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert not list((tmp_path / "cells").iterdir())
    assert is_passing(temporary_name(tmp_path))
    assert not is_passing(kept[0])


def test_leftovers_that_cannot_be_removed_are_told_by_their_folder(tmp_path, monkeypatch):
    """On a disk that became read-only the error names the folder."""
    temporary_name(tmp_path).write_text("half")

    def refused(path, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(WriteError, match=rf"^{tmp_path} could not be written \(Read-only file system\)"):
        remove_leftovers(tmp_path)


def test_move_and_remove(tmp_path):
    """A file takes the place of another; files, folders and absent ones are removed alike."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    move(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "a"
    (tmp_path / "c" / "d").mkdir(parents=True)
    for name in ("b", "c", "absent"):
        remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_flushed_are_no_error(tmp_path, monkeypatch):
    """Some network file systems refuse to flush a folder; a file that is refused is an error."""
    (tmp_path / "a").touch()

    def refused(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refused)
    sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        sync(tmp_path / "a")
