"""Arrays of images that a notebook displays."""

from __future__ import annotations

import numpy as np
from PIL import Image

from morphospace.pictures.display import Displayable, Summary
from morphospace.pictures.sheet import grid

MOST = 256  # images that a notebook displays of an array


class Images(np.ndarray, Displayable):
    """A NumPy array of images (N, H, W, C), or of one (H, W, C), which a notebook displays as a grid."""

    def picture(self) -> Image.Image | None:
        """Return the grid; None if the numbers are no longer those of images."""
        if self.dtype != np.uint8 or self.ndim not in (3, 4) or self.shape[-1] not in (1, 3) or not self.size:
            return None
        several = np.asarray(self).reshape(-1, *self.shape[-3:])
        return grid(several[:MOST])

    def summary(self) -> Summary:
        """Return how many images are not displayed."""
        left_out = self.ndim == 4 and len(self) > MOST
        return Summary([f"the first {MOST} of {len(self):,} images"] if left_out else ())
