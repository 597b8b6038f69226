"""Rows of two moments in one picture, where only the file says that it is interlaced."""

from __future__ import annotations

import av
import numpy as np

_TOP_FIRST = {2: True, 3: False, 4: True, 5: False}  # FFmpeg's field orders tt, bb, tb, bt
_STEP = 9  # grey values between neighbouring rows from which a pixel counts as combed
_BLOCK = 16  # pixels
_SHARE = 0.25  # of a block's pixels


def declared_order(field_order: int) -> bool | None:
    """Whether the top rows are the earlier ones of a stream that is said to be interlaced; None
    if it is not said to be."""
    return _TOP_FIRST.get(int(field_order))


def is_combed(frame: av.VideoFrame) -> bool:
    """Whether anything as large as a block of 16 x 16 pixels shows every other row displaced."""
    grey = frame.reformat(format="gray").to_ndarray().astype(np.int16)
    height, width = ((n - extra) // _BLOCK for n, extra in zip(grey.shape, (4, 0)))
    if not height or not width:
        return False
    near = grey[1:-3] + grey[3:-1]
    far = grey[:-4] + grey[4:]
    combed = np.abs(far + 4 * grey[2:-2] - 3 * near) > 6 * _STEP
    blocks = combed[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)
    return bool(blocks.mean((1, 3)).max() > _SHARE)
