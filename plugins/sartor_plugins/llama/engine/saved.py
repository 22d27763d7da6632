"""What the library gave of a sequence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Saved"]

Saved = npt.NDArray[np.uint8]
"""Its bytes."""
