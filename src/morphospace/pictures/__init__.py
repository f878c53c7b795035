"""Pictures: grids of images, films, maps and plots, and results that show themselves as one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["Pictured"]


class Pictured:
    """A result that holds a picture; a notebook shows it."""

    def picture(self) -> Image.Image | np.ndarray:
        """Draw the picture; uint8 (H, W) or (H, W, 3) where it is an array."""
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        from PIL import Image

        drawn, file = self.picture(), io.BytesIO()
        image = drawn if isinstance(drawn, Image.Image) else Image.fromarray(drawn)
        image.save(file, format="PNG")
        return file.getvalue()
