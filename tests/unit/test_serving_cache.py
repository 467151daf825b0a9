"""The cache of verdicts: its size, its order, several servers, and that a bad disk never fails a request."""

from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mtrl.evaluate.serving.cache import EACH, Cache
from mtrl.evaluate.verdict import Verdict


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def verdict(number: int, size: int = 100) -> Verdict:
    return Verdict(
        id="", image="1", task="t", verdict="yes", confidence=0.5, response="x" * size, finish_reason="stop",
        asked=key(number),
    )  # fmt: skip


def made(file: Path | None, size: int = 1 << 20) -> tuple[Cache, list[str]]:
    said: list[str] = []
    return Cache(file, size, said.append), said


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_was_put_is_found(on_disk: bool, tmp_path: Path) -> None:
    cache, said = made(tmp_path / "deep" / "c.sqlite3" if on_disk else None)
    assert cache.get(key(1)) is None
    cache.put(key(1), verdict(1))
    assert cache.get(key(1)) == verdict(1) and (cache.hits, cache.misses) == (1, 1)
    cache.close()
    again, _ = made(tmp_path / "deep" / "c.sqlite3" if on_disk else None)
    assert (again.get(key(1)) == verdict(1)) == on_disk and not said


def test_the_least_recently_used_are_removed(tmp_path: Path) -> None:
    cache, said = made(tmp_path / "c.sqlite3", 100 * (EACH + 600))
    for number in range(300):
        cache.put(key(number), verdict(number))
        cache.get(key(0))  # used all the time
    assert cache.bytes <= 100 * (EACH + 600) and not said
    kept = {number for number in range(300) if cache.get(key(number))}
    assert 0 in kept and 1 not in kept and 299 in kept and 50 < len(kept) < 110
    cache.close()
    assert (tmp_path / "c.sqlite3").stat().st_size < 2 * 100 * (EACH + 600)
    smaller, _ = made(tmp_path / "c.sqlite3", 10 * (EACH + 600))  # the next start with less
    assert smaller.bytes <= 10 * (EACH + 600) and smaller.get(key(299))


def test_no_cache_is_wanted(tmp_path: Path) -> None:
    cache, said = made(tmp_path / "c.sqlite3", 0)
    cache.put(key(1), verdict(1))
    assert cache.get(key(1)) is None and cache.off and not said and not list(tmp_path.iterdir())
    assert (cache.hits, cache.misses) == (0, 0)


@pytest.mark.parametrize("broken", [b"not a database" * 100, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_turns_it_off_once(broken: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.sqlite3").write_bytes(broken)
    cache, said = made(tmp_path / "c.sqlite3")
    for number in range(3):
        cache.put(key(number), verdict(number))
        assert cache.get(key(number)) is None
    assert len(said) == 1 and "the cache is off" in said[0] and cache.off
    assert (tmp_path / "c.sqlite3").read_bytes()[: len(broken)] == broken  # it may be somebody's file


def test_a_value_that_is_no_verdict_turns_it_off(tmp_path: Path) -> None:
    cache, _ = made(tmp_path / "c.sqlite3")
    cache.put(key(1), verdict(1))
    cache.close()
    with sqlite3.connect(tmp_path / "c.sqlite3") as database:
        database.execute("UPDATE verdicts SET verdict = ?", ('{"verdict": 5}',))
    cache, said = made(tmp_path / "c.sqlite3")
    assert cache.get(key(1)) is None and len(said) == 1


def test_a_full_disk_turns_it_off_once(tmp_path: Path) -> None:
    cache, said = made(tmp_path / "c.sqlite3")
    cache.put(key(1), verdict(1))
    assert cache._database
    cache._database.execute("PRAGMA max_page_count = 8")  # SQLite's own "database or disk is full"
    for number in range(2, 200):
        cache.put(key(number), verdict(number, 2000))
        cache.get(key(number))
    assert len(said) == 1 and "full" in said[0] and cache.off
    assert cache.get(key(1)) is None


def test_a_folder_that_cannot_be_written_turns_it_off(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache, said = made(tmp_path / "file" / "c.sqlite3")
    assert cache.get(key(1)) is None and len(said) == 1


def test_two_servers_and_many_threads_share_a_file(tmp_path: Path) -> None:
    caches = [made(tmp_path / "c.sqlite3")[0] for _ in range(2)]

    def work(number: int) -> bool:
        caches[number % 2].put(key(number), verdict(number))
        return caches[number % 2].get(key(number)) is not None

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(work, range(200)))
    assert sum(found) > 190 and not caches[0].off and not caches[1].off  # a file that is busy for long is a miss
    assert caches[1].get(key(0)) and caches[0].get(key(1))
