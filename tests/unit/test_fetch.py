"""`mtrl fetch` against a local HTTP server that answers as the hub does: plan, download, resume, and what
can go wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from mtrl.config import tasks
from mtrl.config.tasks import Label, Task
from mtrl.converters.readers import fetch
from mtrl.core.errors import UserError

SHA = "0123456789abcdef0123456789abcdef01234567"
NEWER = "f" * 40


class Hub(ThreadingHTTPServer):
    """One dataset, whatever its name. `status` other than 200 is the answer to everything; `asked` what was
    asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.newest, self.status, self.error_code = SHA, 200, ""
        self.cut: int | None = None  # where the line drops, once, in a body that is longer
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def got(self) -> list[str]:
        return [path for method, path, _ in self.asked if method == "GET" and "/resolve/" in path]


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Range", "")))
        if self.server.status != 200:
            return self._send(self.server.status, b"{}", {"X-Error-Code": self.server.error_code})
        if path.startswith("/api/datasets/"):
            revision = re.search("/revision/(.+)", path)
            sizes = [{"rfilename": name, "size": len(data)} for name, data in self.server.files.items()]
            sha = revision.group(1) if revision else self.server.newest
            body = json.dumps({"id": "a/b", "sha": sha, "siblings": sizes}).encode()
            return self._send(200, body, {"Content-Type": "application/json"})
        if "/resolve/" not in path:
            return self._send(404, b"", {})
        _, revision_and_name = path.split("/resolve/")
        commit, name = revision_and_name.split("/", 1)
        data = self.server.files[name]
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start = int(asked.group(1))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[start:], headers)
        return self._send(200, data, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            drops = self.server.cut is not None and self.server.cut < len(body)
            self.wfile.write(body[: self.server.cut] if drops else body)
            self.server.cut = None if drops else self.server.cut
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


RELEASES = """
pairs:
  title: Pairs
  repository: a/pairs
  revision: {sha}
  terms: for research
  files: {{mine: [data/mine.parquet], other: [data/other.parquet]}}
loose:
  title: Loose
  repository: a/loose
  gated: true
  terms: ask first
  files: {{loose: ["data/*.parquet"]}}
disk:
  title: Disk
  page: https://example.org/disk
  terms: none stated
  files: {{disk: []}}
  by_hand: |
    1. Fetch it and unpack it into DIR/images
"""
TASK = "{title: T, capability: quality, label: {column: label, values: {yes: ['1'], no: ['0']}}}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes" / "tasks"
    folder.mkdir(parents=True)
    for name in ("mine", "other", "loose", "disk", "own"):
        (folder / f"{name}.yaml").write_text(TASK)
    (tmp_path / "recipes" / "releases.yaml").write_text(RELEASES.format(sha=SHA))
    return tmp_path


def mtrl(home: Path, url: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING")) and "proxy" not in k.lower()
    }
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1", **extra}
    done = subprocess.run(
        [sys.executable, "-m", "mtrl", *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_downloads_what_was_named_and_nothing_else_and_only_once(home: Path, hub: Hub) -> None:
    hub.files = {"data/mine.parquet": b"mine" * 100, "data/other.parquet": b"other", "README.md": b"hello"}
    done = mtrl(home, hub.url, "fetch", "mine", "--out", "raw")
    assert done.returncode == 0, done.stderr
    for said in ("a/pairs", "for research", SHA, "pinned", "400 B", "data/mine.parquet"):
        assert said in done.stdout
    assert "other.parquet" not in done.stdout
    folder = home / "raw" / "pairs"
    assert (folder / "data" / "mine.parquet").read_bytes() == b"mine" * 100
    assert hub.got() == [f"/datasets/a/pairs/resolve/{SHA}/data/mine.parquet"]
    assert json.loads((folder / fetch.RECORD).read_text()) == {
        "repository": "a/pairs",
        "revision": SHA,
        "files": {"data/mine.parquet": 400},
    }
    again = mtrl(home, hub.url, "fetch", "mine", "other", "--out", "raw")
    assert "(there already)" in again.stdout and "1 of 2 files" in again.stdout
    assert len(hub.got()) == 2  # other, and mine not again
    assert set(json.loads((folder / fetch.RECORD).read_text())["files"]) == {"data/mine.parquet", "data/other.parquet"}


def test_a_dropped_line_goes_on_where_it_stopped(home: Path, hub: Hub) -> None:
    body = bytes(range(256)) * 50_000
    hub.files, hub.cut = {"data/mine.parquet": body}, 11_000_000
    done = mtrl(home, hub.url, "fetch", "mine")
    assert done.returncode == 0, done.stderr
    assert (home / "raw" / "pairs" / "data" / "mine.parquet").read_bytes() == body
    # The hub's client writes 10 MiB at a time.
    assert [asked for method, path, asked in hub.asked if method == "GET" and path in hub.got()] == [
        "",
        "bytes=10485760-",
    ]


def test_dry_run_downloads_nothing(home: Path, hub: Hub) -> None:
    hub.files = {"data/mine.parquet": b"mine"}
    done = mtrl(home, hub.url, "fetch", "mine", "--out", "raw", "--dry-run")
    assert done.returncode == 0 and "to download: 1 of 1 files, 4 B" in done.stdout
    assert not hub.got() and not (home / "raw").exists()


def test_an_unpinned_release_keeps_to_the_revision_first_found(home: Path, hub: Hub) -> None:
    hub.files = {"data/a.parquet": b"a"}
    first = mtrl(home, hub.url, "fetch", "loose")
    assert first.returncode == 0 and "not pinned by us" in first.stdout and "ask for access" in first.stdout
    hub.newest, hub.files["data/b.parquet"] = NEWER, b"b"
    assert mtrl(home, hub.url, "fetch", "loose").returncode == 0
    assert json.loads((home / "raw" / "loose" / fetch.RECORD).read_text())["revision"] == SHA
    assert all(f"/resolve/{SHA}/" in path for path in hub.got())


@pytest.mark.parametrize(
    ("status", "error_code", "exit_code", "said"),
    [
        (401, "", 2, ("refused (401)", "hf auth login", "HF_TOKEN")),
        (403, "GatedRepo", 2, ("refused (403)", "https://huggingface.co/datasets/a/loose", "HF_TOKEN")),
        (404, "RepoNotFound", 2, ("no such dataset",)),
        (404, "RevisionNotFound", 1, ("no longer has", "https://huggingface.co/datasets/a/loose")),
    ],
)
def test_a_refusal_is_plain(
    home: Path, hub: Hub, status: int, error_code: str, exit_code: int, said: tuple[str, ...]
) -> None:
    hub.status, hub.error_code = status, error_code
    done = mtrl(home, hub.url, "fetch", "loose")
    assert done.returncode == exit_code, done.stderr
    for text in said:
        assert text in done.stderr


def test_a_changed_layout_is_named(home: Path, hub: Hub) -> None:
    hub.files = {"data/composition.parquet": b"new layout"}
    done = mtrl(home, hub.url, "fetch", "mine")
    assert done.returncode == 1
    assert "has no data/mine.parquet; it has: data/composition.parquet" in done.stderr


def test_no_network(home: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    done = mtrl(home, f"http://127.0.0.1:{port}", "fetch", "mine")
    assert done.returncode == 1 and "connection to the hub failed" in done.stderr and "check the network" in done.stderr
    assert "for research" in done.stdout  # the terms come first, whatever happens
    offline = mtrl(home, "http://127.0.0.1:1", "fetch", "mine", HF_HUB_OFFLINE="1")
    assert offline.returncode == 2 and "unset HF_HUB_OFFLINE" in offline.stderr


def test_by_hand_and_without_a_release(home: Path) -> None:
    done = mtrl(home, "http://127.0.0.1:1", "fetch", "disk", "--out", "here")
    assert done.returncode == 0 and "unpack it into here/disk/images" in done.stdout and "none stated" in done.stdout
    own = mtrl(home, "http://127.0.0.1:1", "fetch", "own")
    assert own.returncode == 2 and "no entry in recipes/releases.yaml" in own.stderr
    everything = mtrl(home, "http://127.0.0.1:1", "fetch", "all")
    assert everything.returncode == 2 and "there is no task 'all'" in everything.stderr


def test_a_mistake_in_releases_yaml_names_the_entry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "recipes" / "releases.yaml").write_text("loose: {title: L, terms: t, files: {}, repositry: a/b}")
    with pytest.raises(UserError, match="unknown key 'repositry'"):
        fetch.load()
    (home / "recipes" / "releases.yaml").write_text("loose: {title: L, terms: t, files: {}}")
    with pytest.raises(UserError, match="either a repository or steps by_hand"):
        fetch.load()


def _task(name: str, **source: str) -> Task:
    label = Label(column="label", values={"yes": ["1"], "no": ["0"]})
    return Task(name=name, title=name, capability="quality", label=label, source=source)


def test_what_mtrl_ships_covers_its_tasks_and_pins_what_can_be_pinned() -> None:
    releases = {release.name: release for release in fetch.load()}
    assert {task for release in releases.values() for task in release.files} == {t.name for t in tasks.load_all()}
    assert all(set(release.rows) <= set(release.files) for release in releases.values())
    pinned = {name for name, release in releases.items() if re.fullmatch("[0-9a-f]{40}", release.revision or "")}
    assert pinned >= {"seetrue", "imagereward", "mjbench"}
    assert {name for name, release in releases.items() if release.gated} >= {"seetrue", "unsafebench", "mjbench"}


@pytest.mark.parametrize(("config", "zips"), [("1k", 4), ("2k", 8), ("4k", 16), ("8k", 32)])
def test_imagereward_takes_the_zips_of_its_config(config: str, zips: int) -> None:
    from fnmatch import fnmatchcase

    release = next(release for release in fetch.load() if release.name == "imagereward")
    held = [f"images/train/train_{n}.zip" for n in range(1, 33)]
    wanted = release.patterns(_task("imagereward", config=config))
    assert sum(any(fnmatchcase(name, pattern) for pattern in wanted) for name in held) == zips
    assert release.patterns(_task("imagereward")) == release.patterns(_task("imagereward", config="1k"))
    with pytest.raises(UserError, match="is not a config of ImageRewardDB"):
        release.patterns(_task("imagereward", config="3k"))


def test_only_what_was_asked_for_of_a_shared_release() -> None:
    (release,) = fetch.releases_of([_task("mjbench_safety"), _task("mjbench_alignment")])
    assert release.patterns(_task("mjbench_safety")) == ["data/safety.parquet"]
