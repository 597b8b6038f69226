"""The shipped settings files, installed as ``semtta.configs``."""
