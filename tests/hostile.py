"""Damage for property tests: bytes that flip, values that nobody expects.

``SEMTTA_EXAMPLES`` sets how many examples each property sees; the default keeps the suite fast."""

import copy
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from semtta.errors import SemttaError

EXAMPLES = int(os.environ.get("SEMTTA_EXAMPLES", "12"))
hostile = settings(
    max_examples=EXAMPLES, deadline=None, derandomize="SEMTTA_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

# What stands in a file instead of what belongs there.
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=6), st.just([]),
    st.just({}), st.just(10**400), st.just("9" * 5000), st.just(-1e308), st.just([[[]]]),
    st.just("\x1b[31m"), st.lists(st.floats(), max_size=4),
)  # fmt: skip


@st.composite
def flipped(draw, data: bytes) -> bytes:
    """The bytes with a few changed, removed, doubled or cut off."""
    spoilt = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        if not spoilt:
            break
        at = draw(st.integers(0, len(spoilt) - 1))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            spoilt[at] = draw(st.integers(0, 255))
        elif kind == 1:
            del spoilt[at : at + draw(st.integers(1, 40))]
        elif kind == 2:
            spoilt[at:at] = spoilt[at : at + draw(st.integers(1, 40))]
        elif kind == 3:
            spoilt[at:at] = draw(st.binary(max_size=12))
        else:
            del spoilt[at:]
    return bytes(spoilt)


@st.composite
def altered(draw, content):
    """A JSON value with one to three of its parts exchanged, removed or renamed."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        node = content
        for _ in range(draw(st.integers(0, 5))):
            inner = node.values() if isinstance(node, dict) else node
            below = [x for x in inner if isinstance(x, (dict, list)) and x]
            if not below:
                break
            node = below[draw(st.integers(0, min(len(below) - 1, 3)))]
        if not node:
            continue
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[draw(st.integers(0, len(keys) - 1))]
        if draw(st.booleans()):
            node[key] = copy.deepcopy(draw(ODD))
        else:
            del node[key]
    return content


def refuses_or_reads(read) -> None:
    """Any outcome but a sentence or a result fails the test; the sentence is one printable line."""
    try:
        read()
    except SemttaError as error:
        assert str(error).isprintable() and str(error), repr(error)
    except Exception as error:  # the traceback that no user may see
        pytest.fail(f"{type(error).__name__}: {error}")
