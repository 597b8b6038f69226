"""One file per command of ``semtta``: arguments, one job, messages."""
