"""The environments of the upstream tools: building them (build.py, standard library only) and asking what is in them.

In: an environment's name. Out: its interpreter and the versions installed there.
May import: core.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from mtrl.backends.envs.build import ENVIRONMENTS, ROOT, SHIM
from mtrl.core.errors import UserError


def interpreter(name: str) -> Path:
    """The Python of environment `name`. Raises UserError with the command that builds it."""
    own, where = _users_choice(name)
    if own:
        if not Path(own).is_file():
            raise UserError(f"{where} names {own} as the Python of {name}, which does not exist")
        return Path(own)
    if name == "main":
        return Path(sys.executable)
    for root in (Path.cwd(), ROOT):
        python = root / ENVIRONMENTS[name] / "bin" / "python"
        if python.exists():
            return python
    raise UserError(
        f"the environment of {name} is not built ({ENVIRONMENTS[name]} is missing)",
        f"make setup-{name}, then mtrl doctor",
    )


def _users_choice(name: str) -> tuple[str, str]:
    variable = f"MTRL_PYTHON_{name.upper()}"
    if os.environ.get(variable):
        return os.environ[variable], variable
    file = Path("mtrl.toml")
    if file.exists():
        try:
            return str(tomllib.loads(file.read_text()).get("envs", {}).get(name, "")), str(file)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"mtrl.toml is not TOML: {error}") from None
    return "", ""


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str | None]:
    """Installed versions in an environment, None for what is missing; nothing of it is imported."""
    code = (
        "import sys, json, importlib.metadata as m\n"
        "def v(p):\n try: return m.version(p)\n except m.PackageNotFoundError: return None\n"
        "print(json.dumps({p: v(p) for p in sys.argv[1:]}))"
    )
    out = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=False, timeout=60)
    return json.loads(out.stdout) if out.returncode == 0 else dict.fromkeys(packages)


def declares_operators(python: Path) -> bool:
    """Whether build.py supplied the declarations of torchvision's operators in this environment."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({SHIM!r}) is None)"
    return subprocess.run([python, "-c", code], capture_output=True, check=False, timeout=60).returncode == 0


def release(version: str) -> tuple[int, ...]:
    """The first two numbers of a version: (0, 10) of 0.10rc1."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
