"""Files and bodies as a hostile or careless writer would make them, for property tests."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import strategies as st


def examples(default: int = 40) -> int:
    """How many to try; ``SEMTTA_EXAMPLES`` asks for more."""
    return int(os.environ.get("SEMTTA_EXAMPLES", default))


@st.composite
def mutations(draw, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with a few of its bytes changed, repeated, inserted or cut off."""
    data = bytearray(draw(st.sampled_from(list(seeds))))
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        a, b = sorted(draw(st.integers(0, len(data))) for _ in range(2))
        match draw(st.sampled_from(("replace", "insert", "repeat", "cut", "delete"))):
            case "replace":
                data[a : a + 1] = draw(st.binary(min_size=1, max_size=2))
            case "insert":
                data[a:a] = draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
            case "repeat":
                data[b:b] = data[a:b]
            case "cut":
                del data[b:]
            case "delete":
                del data[a:b]
    return bytes(data[:100_000])


_PIECES = (b"[", b"{", b"}", b"]", b'"', b",", b":", b"null", b"-1", b"1e999", b"NaN", b"0.5",
           b"\\ud800", b"9" * 400, b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"true", b"\x1b[31m",
           b"\n")  # fmt: skip
