"""Declares torchvision's two operators where its binary cannot load, so that `import torchvision` works.

A .pth line imports this at interpreter start. It costs nothing until torchvision is imported, and does nothing where
torchvision's own library loads. Only the declarations are supplied: calling nms would fail, and nothing here calls it.
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
