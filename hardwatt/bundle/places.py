"""Places of files in a bundle, and their checksums."""

from pathlib import Path

from hardwatt.bundle.manifest import FileEntry
from hardwatt.core.files import sha256


def recording_name(run_id: str) -> str:
    """Return the place of a run's recording in a bundle."""
    return f"recording/{run_id}.gz"


def file_entries(path: Path) -> dict[str, FileEntry]:
    """Return every file of a bundle with its checksum, but the manifest, results/ and hidden files."""
    entries = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        hidden = any(part.startswith(".") for part in name.parts)
        if not file.is_file() or hidden or name.parts[0] in ("manifest.json", "results"):
            continue
        entries[name.as_posix()] = FileEntry(sha256=sha256(file), bytes=file.stat().st_size)
    return entries
