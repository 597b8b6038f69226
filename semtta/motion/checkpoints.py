"""Reading checkpoints lives in ``semtta.checkpoints``; these are its former names."""

from semtta.checkpoints import load_strictly, read_weights

read_state = read_weights

__all__ = ["load_strictly", "read_state"]
