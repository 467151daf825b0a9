"""Declares torchvision's two operators where its binary cannot load, so that `import torchvision` works.

build.py installs this file, and a .pth line that imports it when the interpreter starts, only where they are needed.
Only the declarations are supplied: calling nms would fail, and nothing in mtrl or the upstream tools calls it.
"""

import sys
from typing import Any


class _Finder:
    kept: Any = None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "torchvision._meta_registrations":
            sys.meta_path.remove(self)
            import torch
            from torchvision.extension import _has_ops

            if not _has_ops():
                _Finder.kept = torch.library.Library("torchvision", "DEF")
                for op in ("nms", "qnms"):
                    _Finder.kept.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, _Finder())
