"""Putting verified files into a mirror: all of them or none, also when the process is killed.

What is to be placed is complete and verified in one folder before anything changes. That folder,
with its list of moves, gets its final name by one rename: before it, nothing has happened; after
it, the next command that holds the mirror finishes what is left.
"""

import errno
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hardwatt.core import files, state_files
from hardwatt.core.untrusted import parts
from hardwatt.mirror.index import Index

_JOURNAL = "moves.json"


def staging(root: Path) -> Path:
    """Return an empty folder for files that are not verified yet; holding the mirror empties it."""
    folder = root / "tmp" / "staged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def commit(staged: Path, moves: Mapping[str, Path], index: Index, rootfs: Mapping[str, Path]) -> None:
    """Move files and folders of ``staged`` to their places and write the index.

    ``moves`` maps a name in ``staged`` to a path below the mirror, ``rootfs`` one to a file name in
    the cache's folder of root filesystems.
    """
    places = {name: str(Path("mirror", path)) for name, path in moves.items()}
    places |= {name: str(Path("rootfs", path)) for name, path in rootfs.items()}
    files.write_json(staged / _JOURNAL, {"places": places, "index": index.to_dict()})
    for folder in _folders(staged):
        files.sync_folder(folder)
    staged.rename(_committed(index.root))
    files.sync_folder(index.root)
    finish(index.root)


def finish(root: Path) -> None:
    """Finish what ``commit`` began; does nothing where nothing is left."""
    staged = _committed(root)
    if not staged.exists():
        return
    what = "the list of what is to be moved into the mirror,"
    file, then = staged / _JOURNAL, "invoke mirror.fill"
    journal = state_files.read(file, lambda value: _checked(root, value), what=what, then=then, folder=staged)
    if journal is not None:  # None: only the removal at the end was interrupted
        places, index = journal
        for name, place in places.items():
            _move(staged / name, place)
        index.write()
        (staged / _JOURNAL).unlink()
        files.sync_folder(staged)
    shutil.rmtree(staged)


def _checked(root: Path, value: Any) -> tuple[dict[str, Path], Index]:
    """Return name -> place of the moves, and the index after them. Raises ``ValueError`` or its like."""
    places = {}
    for name, place in state_files.mapping(value["places"]).items():
        top, *below = parts(place)
        places["/".join(parts(name))] = (root if top == "mirror" else root.parent / top).joinpath(*below)
    return places, Index.from_dict(root, value["index"])


def _committed(root: Path) -> Path:
    return root / "committed"


def _move(source: Path, target: Path) -> None:
    """Rename ``source`` over ``target``; a source that is gone was moved before."""
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.part")  # the user put this folder on another file system
        shutil.copyfile(source, part)
        part.replace(target)
        source.unlink()
    files.sync_folder(target.parent)


def _folders(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (path for path in folder.rglob("*") if path.is_dir())
