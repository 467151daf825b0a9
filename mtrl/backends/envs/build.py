"""Builds one of mtrl's virtual environments: `python3 mtrl/backends/envs/build.py NAME [--device cpu|gpu] [pip
arguments]`.

Standard library only, since it runs before anything is installed. The requirements of environment NAME are in
NAME-cpu.txt and NAME-gpu.txt, or in NAME.txt where they are the same. What is in NAME-*.last.txt is installed after
them with --no-deps --no-build-isolation: flash-attn builds against torch, EasyR1 asks for more than it needs.

The stamp in the environment holds the device and a hash of the requirements. The hash is written last: a second run
with the same requirements does nothing, and a run after a killed one completes it.

torch is installed in a step of its own. PyTorch's CPU index is tried first, without retries; where it cannot be
reached, pip's own sources are used. An index that may not answer is never on the long command line: pip would ask it
once per package.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
COMPILED = "which needs nvcc"  # said in the requirements of an environment that compiles
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ENVIRONMENTS = {"main": ".venv", "llamafactory": ".venv-llamafactory", "easyr1": ".venv-easyr1", "verl": ".venv-verl"}
DEVICES = ("cpu", "gpu")
SHIM = "mtrl_torchvision_ops"
# Imports torchvision as if the shim were not installed, and looks up an operator of its own library.
OWN_OPERATORS = f"""import sys
sys.meta_path = [finder for finder in sys.meta_path if type(finder).__module__ != {SHIM!r}]
import torch, torchvision
torch.ops.torchvision.nms"""


def detected() -> str:
    return "gpu" if shutil.which("nvidia-smi") else "cpu"


def build(name: str, asked: str | None, extra: list[str]) -> None:
    """Creates, completes or rebuilds an environment. `extra` is installed last (pip arguments).

    The device is `asked`; else that of the existing environment; else what this machine has.
    """
    folder = ROOT / ENVIRONMENTS[name]
    stamp = folder / "mtrl-stamp"
    built = stamp.read_text().split() if stamp.exists() else []
    before = next((word for word in built if word in DEVICES), None)
    device = asked or before or detected()
    file = next(f for f in (HERE / f"{name}.txt", HERE / f"{name}-{device}.txt") if f.exists())
    text, last = file.read_text(), file.with_suffix(".last.txt")
    named = text + (last.read_text() if last.exists() else "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    watched = json.dumps([named, extra, project["project"], project["tool"]["setuptools"]])
    digest = hashlib.sha256(watched.encode()).hexdigest()
    if digest in built and before in (device, None):
        print(f"{folder.name}: up to date ({file.name})")
        if not asked and device == "cpu" and detected() == "gpu":
            print(f"{folder.name} is for cpu, and this machine has a GPU. next: make setup-{name} DEVICE=gpu")
        return
    other = before is not None and before != device
    if other:
        print(f"{folder.name} was built for {before}. It is removed and built again for {device}.", flush=True)
    else:
        source = "DEVICE" if asked else "its own device" if before else "detected; DEVICE=cpu or DEVICE=gpu changes it"
        print(f"{folder.name}: device {device} ({source})", flush=True)
    if COMPILED in named and shutil.which("nvcc") is None:
        raise SystemExit(
            f"error: flash-attn for {folder.name} is compiled: it has no wheel for this torch, and nvcc is not here\n"
            f"next: install the CUDA toolkit or load its module, then make setup-{name} DEVICE=gpu"
        )
    print(f"{folder.name}: installing {file.name} (takes minutes and gigabytes of disk)", flush=True)
    if other or not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True, clear=folder.exists())
    stamp.write_text(f"{device} incomplete")
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    torch = [line.strip() for line in text.splitlines() if line.startswith("torch")]
    if torch:
        install_torch(name, pip, device, torch)
    subprocess.check_call([*pip, "-r", str(file)])
    if torch:
        fit_torchvision(folder, python)
    if last.exists():
        subprocess.check_call([*pip, "--no-deps", "--no-build-isolation", "-r", str(last)])
    if extra:
        subprocess.check_call([*pip, *extra])
    stamp.write_text(f"{device} {digest}")
    print(f"{folder.name}: ready")


def install_torch(name: str, pip: list[str], device: str, torch: list[str]) -> None:
    if device == "cpu":
        sources = {k: v for k, v in os.environ.items() if k not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
        first = [*pip, "--retries", "0", "--timeout", "10", "--index-url", CPU_INDEX, *torch]
        if subprocess.call(first, env=sources, stderr=subprocess.DEVNULL) == 0:
            return
    subprocess.check_call([*pip, *torch])
    if device == "gpu" and not works(pip[0], "import torch; assert torch.version.cuda"):
        raise SystemExit(
            f"error: {ENVIRONMENTS[name]} is for gpu, and pip installed a torch without CUDA ({' '.join(torch)}). A "
            "find-links or extra-index-url prefers it: see `pip config list` and the PIP_ environment variables.\n"
            f"next: make setup-{name} DEVICE=gpu, without that setting"
        )


def fit_torchvision(folder: Path, python: str) -> None:
    """Installs torchvision_ops.py only if torchvision's own operators do not load next to the installed torch.

    That is so for PyPI's torchvision next to a CPU build of torch. torchaudio and torchcodec, which no code path of
    mtrl calls, can fail for the same reason and are then removed.
    """
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    target = Path(site.strip())
    files = (target / f"{SHIM}.py", target / f"{SHIM}.pth")
    if works(python, OWN_OPERATORS):
        for file in files:
            file.unlink(missing_ok=True)
    else:
        shutil.copy(HERE / "torchvision_ops.py", files[0])
        files[1].write_text(f"import {SHIM}\n")
        subprocess.check_call([python, "-c", "import torchvision"])
        print(f"{folder.name}: torchvision's operators do not load next to this torch: mtrl declares them ({files[1]})")
    for name in ("torchaudio", "torchcodec"):
        if not list(target.glob(f"{name}-*.dist-info")) or works(python, f"import {name}"):
            continue
        subprocess.check_call([python, "-m", "pip", "uninstall", "-q", "-y", name], stderr=subprocess.DEVNULL)
        if name == "torchaudio":  # LLaMA-Factory 0.9.5 imports it unguarded
            (target / name).mkdir(exist_ok=True)
            (target / name / "__init__.py").touch()
        empty = "; an empty module has its place" if name == "torchaudio" else ""
        print(f"{folder.name}: {name} does not load next to this torch and is not used: removed{empty}")


def works(python: str, code: str) -> bool:
    return subprocess.call([python, "-c", code], stderr=subprocess.DEVNULL) == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py", description="Build one virtual environment of mtrl.")
    parser.add_argument("name", choices=ENVIRONMENTS)
    parser.add_argument("--device", choices=DEVICES, help="default: the environment's own, else what nvidia-smi says")
    chosen, extra = parser.parse_known_args()
    try:
        build(chosen.name, chosen.device, extra)
    except subprocess.CalledProcessError as error:
        name = chosen.name
        what = " ".join(map(str, error.cmd[2:]))
        hint = " EasyR1 comes from github.com; where that is not reachable, see CONTRIBUTING.md."
        raise SystemExit(
            f"error: {ENVIRONMENTS[name]} is not complete: {what} failed; the lines above say why."
            f"{hint if name == 'easyr1' else ''}\nnext: make setup-{name} goes on from there"
        ) from None


if __name__ == "__main__":
    main()
