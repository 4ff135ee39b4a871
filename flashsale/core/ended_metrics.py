"""Merge the metrics files of ended processes.

prometheus_client writes files per process and never removes those of counters and histograms. Without merging, each replaced
worker would add files that every scrape has to read.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict

_OF_A_PROCESS = re.compile(r"(?P<kind>counter|histogram|summary)_(?P<pid>\d+)\.db")

_File: Any = MmapedDict  # MmapedDict has no type hints


@contextmanager
def folded(folder: Path) -> Iterator[None]:
    """Merge the files of ended processes, then hold the folder's lock inside the context.

    If another process holds the lock, nothing is merged and nobody waits.
    """
    with (folder / "fold.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            return
        for path in sorted(folder.glob("*.db")):
            match = _OF_A_PROCESS.fullmatch(path.name)
            if match and not _is_alive(int(match["pid"])):
                _fold(path, folder / f"{match['kind']}_ended.db")
        yield


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _fold(path: Path, total: Path) -> None:
    taken = path.rename(path.with_suffix(".folding"))  # rename first: a crash may then lose counts but never count them twice
    sums = _File(str(total))
    try:
        for key, value, timestamp, _ in _File.read_all_values_from_file(str(taken)):
            sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    finally:
        sums.close()
    taken.unlink()
