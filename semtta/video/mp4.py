"""mp4 files as they are written and looked at again: by PyAV, with no error overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from semtta.video.opening import Nameless


@contextmanager
def new_mp4(path: Path) -> Iterator[av.container.OutputContainer]:
    """An mp4 file to be written, with its index in front: a browser starts before it has all."""

    def reopen(url: str, flags: int, options: dict):
        return open(path, "rb", buffering=0)  # to move the frames behind the index

    # A Python file, because its errors are not overlooked.
    with open(path, "w+b", buffering=0) as file:
        container = av.open(
            Nameless(file, ".mp4"),
            "w",
            format="mp4",
            options={"movflags": "faststart"},
            io_open=reopen,
        )
        try:
            yield container
        except BaseException:
            with suppress(Exception):  # the first error counts; this one frees the memory
                container.close()
            raise
        container.close()


@contextmanager
def own_mp4(path: Path) -> Iterator[av.container.InputContainer]:
    """An mp4 file as it stands on the disk."""
    with open(path, "rb", buffering=0) as file, av.open(file, "r", format="mp4") as container:
        yield container


def count_frames(path: Path) -> int:
    """Frames of an mp4 file that are there."""
    with own_mp4(path) as container:
        return sum(p.size > 0 and not p.is_corrupt for p in container.demux(video=0))
