"""Leakage: how much two sets of rows share.

Of the splits of one task (its card), and of several tasks (`mtrl check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mtrl.converters.pipeline.splits import text

IMAGE, NEAR, CAPTION = "image", "near-duplicate image", "caption"


@dataclass(frozen=True)
class Seen:
    """What a set of rows has."""

    images: set[str]
    """Stored names."""
    looks: set[str]
    """Each image's cluster of near-duplicates, or its name where it has none."""
    captions: set[str]
    """Texts, normalized."""


def seen(fingerprints: Mapping[str, str], near: Mapping[str, str], captions: Iterable[str]) -> Seen:
    """Of the images in `fingerprints` (by name) and of captions; `near` is from near.clusters over all rows
    compared.
    """
    looks = {near.get(fingerprint, name) for name, fingerprint in fingerprints.items()}
    return Seen(set(fingerprints), looks, {text(caption) for caption in captions} - {""})


def shared(one: Seen, other: Seen) -> dict[str, int]:
    """How many different images, looks (identical images too) and captions are in both."""
    return {
        IMAGE: len(one.images & other.images),
        NEAR: len(one.looks & other.looks),
        CAPTION: len(one.captions & other.captions),
    }
