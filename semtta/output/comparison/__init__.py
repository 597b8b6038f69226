"""``semtta compare``: several results of one video side by side, as tables and as one page."""

from semtta.output.comparison.compare import compare

__all__ = ["compare"]
