"""Builds one of mtrl's virtual environments: `python3 mtrl/envs/build.py NAME`.

Contract: standard library only, since it runs before anything is installed. The requirements of environment NAME
stand in NAME.txt beside this file, and in NAME.last.txt what is installed after them, as it is (--no-deps
--no-build-isolation: flash-attn builds against torch, EasyR1 asks for more than it needs); running it again with the same file does nothing, and a killed build is repaired
by the next one, because the stamp is written last.

torch comes in a step of its own. PyTorch's CPU index is tried first with no retries; where it cannot be reached,
pip's own sources serve. Never is a possibly dead index on the big command line: pip would ask it once per package.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ENVIRONMENTS = {"main": ".venv", "llamafactory": ".venv-llamafactory", "easyr1": ".venv-easyr1"}


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def requirements(name: str) -> Path:
    """NAME.txt, or for environments that differ by machine NAME-gpu.txt or NAME-cpu.txt."""
    for file in (HERE / f"{name}.txt", HERE / f"{name}-{'gpu' if has_gpu() else 'cpu'}.txt"):
        if file.exists():
            return file
    raise SystemExit(f"no requirements for environment {name!r}; known: {', '.join(ENVIRONMENTS)}")


def build(name: str, extra: list[str]) -> Path:
    """Creates or completes the environment and returns its folder. `extra` is installed last (pip arguments)."""
    folder, file = ROOT / ENVIRONMENTS[name], requirements(name)
    text, last = file.read_text(), file.with_suffix(".last.txt")
    named = text + (last.read_text() if last.exists() else "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    watched = json.dumps([named, extra, project["project"], project["tool"]["setuptools"]])
    stamp, digest = folder / "mtrl-stamp", hashlib.sha256(watched.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        print(f"{folder.name}: up to date ({file.name})")
        return folder
    stamp.unlink(missing_ok=True)
    print(f"{folder.name}: installing {file.name} (minutes, and gigabytes of packages)", flush=True)
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True, clear=folder.exists())
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    wanted = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    torch = [line for line in wanted if line.startswith("torch")]
    if torch:
        cpu = not has_gpu() and subprocess.call(
            [*pip, "--retries", "0", "--timeout", "10", "--index-url", CPU_INDEX, *torch],
            stderr=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if k not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")},
        ) == 0  # fmt: skip
        if not cpu:
            subprocess.check_call([*pip, *torch])
    subprocess.check_call([*pip, "-r", str(file)])
    mend_torchvision(python)
    if last.exists():
        subprocess.check_call([*pip, "--no-deps", "--no-build-isolation", "-r", str(last)])
    if extra:
        subprocess.check_call([*pip, *extra])
    stamp.write_text(digest)
    print(f"{folder.name}: ready")
    return folder


def mend_torchvision(python: str) -> None:
    """Lets torchvision import where its binary does not fit torch (PyPI's build beside a CPU torch).

    Inert where torchvision's own operators load. torchaudio and torchcodec, unused here, fail the same way: they go.
    """
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    target = Path(site.strip())
    shutil.copy(HERE / "torchvision_ops.py", target / "mtrl_torchvision_ops.py")
    (target / "mtrl_torchvision_ops.pth").write_text("import mtrl_torchvision_ops\n")
    for name in ("torchaudio", "torchcodec"):
        if subprocess.call([python, "-c", f"import {name}"], stderr=subprocess.DEVNULL) == 0:
            continue
        subprocess.call([python, "-m", "pip", "uninstall", "-q", "-y", name], stderr=subprocess.DEVNULL)
        if name == "torchaudio":  # LLaMA-Factory 0.9.5 imports it unguarded
            (target / name).mkdir(exist_ok=True)
            (target / name / "__init__.py").touch()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ENVIRONMENTS:
        raise SystemExit(f"usage: build.py {{{'|'.join(ENVIRONMENTS)}}} [further pip arguments]")
    try:
        build(sys.argv[1], sys.argv[2:])
    except subprocess.CalledProcessError as error:
        name = sys.argv[1]
        hint = (
            " EasyR1 comes from github.com; where that is not reachable, see CONTRIBUTING.md."
            if name == "easyr1"
            else ""
        )
        what = " ".join(map(str, error.cmd[2:]))
        raise SystemExit(f"{ENVIRONMENTS[name]} is not complete: {what} failed, in the words above.{hint}\nnext: make setup-{name} goes on from there") from None  # fmt: skip
