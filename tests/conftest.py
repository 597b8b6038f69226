import gc
import json
import os
import sys
import uuid
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(ROOT))  # tools.training is not installed


def pytest_collection_finish():
    """What is imported and collected by now stays: no later search for garbage walks through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _few_threads():
    # Workers of pytest-xdist share the processor: a thread for each.
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test sees what another one, or the user, has kept."""
    folder = tmp_path_factory.getbasetemp() / "caches" / uuid.uuid4().hex
    monkeypatch.setenv("SEMTTA_CACHE", str(folder))


@pytest.fixture(scope="session")
def dictionary():
    """The library's own action names."""
    from semtta.motion.dictionary import Dictionary

    return Dictionary.load()


@pytest.fixture(scope="session")
def official_discriminator() -> dict:
    """Weights in the layout of VIBE's motion discriminator."""
    from golden_weights import rule_weights

    return rule_weights(json.loads((GOLDEN / "vibe_motion_disc" / "meta.json").read_text())["keys"])


@pytest.fixture
def golden():
    import numpy as np

    def load(name: str) -> dict:
        with np.load(GOLDEN / name) as file:
            return {key: torch.from_numpy(file[key]) for key in file.files if file[key].shape}

    return load
