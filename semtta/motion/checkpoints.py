"""Reading checkpoints lives in ``semtta.checkpoints``; these are its former names."""

from semtta.checkpoints import load_strictly  # noqa: F401
