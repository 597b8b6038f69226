"""Sessions of the shipped ONNX networks; onnxruntime is imported on first use."""

from __future__ import annotations

from semtta.errors import SemttaError
from semtta.shipped import asset


def open_session(name: str, threads: int = 1):
    """CPU session of a shipped network (``name`` relative to the assets).

    Its ``run`` may be called from several threads at once."""
    path = asset(name)
    try:
        import onnxruntime
    except ImportError:
        raise SemttaError(
            "finding people in a video needs onnxruntime; run: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle worker threads would otherwise spin and steal time from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
