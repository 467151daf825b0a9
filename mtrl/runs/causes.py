"""Known causes of failed jobs: what upstream prints, and what to change."""

from __future__ import annotations

import re

CAUSES = [
    (r"[Ii]mage features and image tokens do not match|number of images does not match",
     "image tokens were cut or a marker is missing: raise sft.max_length (or lower image.max_pixels), then mtrl plan"),
    (r"CUDA out of memory|OutOfMemoryError",
     "lower the per-device batch size of the hardware preset, image.max_pixels or rl.max_response_length"),
    (r"flash_attn|FlashAttention2? has been toggled",
     "flash-attn is not installed in that environment: install it, or --set upstream.flash_attn=sdpa"),
    (r"wandb.*(login|api[_ ]key)", "the logger has no key: log in to it, or --set logger=none"),
    (r"NCCL (error|WARN)|ncclUnhandledCudaError|ncclSystemError",
     "NCCL failed: NCCL_DEBUG=INFO shows the link; NCCL_SOCKET_IFNAME names the network interface"),
    (r"Total available GPUs \S+ is less than total desired",
     "Ray has fewer free GPUs than the hardware preset needs: ray status shows what other jobs of the cluster at"
     " RAY_ADDRESS use; CUDA_VISIBLE_DEVICES can hide GPUs"),
    (r"Can't find a valid checkpoint", "a checkpoint folder is incomplete: remove it, then start again"),
    (r"Address already in use", "a port is taken: set MASTER_PORT to a free one"),
    (r"No space left on device", "the disk is full: make room, then run the same command; it resumes"),
    (r"No module named",
     "the environment is incomplete: mtrl doctor shows what is missing, make setup-NAME installs it"),
]  # fmt: skip


def advice(lines: list[str]) -> str:
    """What to do about the last lines of a log, "" if the cause is not a known one."""
    text = "\n".join(lines)
    return next((todo for pattern, todo in CAUSES if re.search(pattern, text)), "")
