"""Seeds from names: an item is the same whatever was drawn before it, on every machine."""

from __future__ import annotations

import hashlib

import torch


def seed_of(name: str) -> int:
    """A number in [0, 2^48) that only the name decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def named_generator(name: str) -> torch.Generator:
    """A generator on the CPU seeded by a name."""
    return torch.Generator().manual_seed(seed_of(name))
