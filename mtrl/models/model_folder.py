"""A model as a folder: where it is on this machine, and which files a judge needs in addition to the weights."""

from __future__ import annotations

from pathlib import Path

# Taken from the base model if the trainer did not save them.
OTHER_FILES = (
    "generation_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def local_model(path: str) -> Path | None:
    """The folder of a model given as a folder or a hub id that is cached here; None if neither is there."""
    if (Path(path) / "config.json").exists():
        return Path(path)
    try:
        from huggingface_hub import constants

        if not Path(constants.HF_HUB_CACHE, f"models--{path.replace('/', '--')}").is_dir():
            return None  # what snapshot_download would find too; to import it takes 0.15 s
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(path, local_files_only=True))
    except Exception:  # huggingface_hub has several errors for "not cached", without a common base class
        return None
