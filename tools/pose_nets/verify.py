"""Compare the converted nets with the runtimes their sources were made for."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from semtta.video import read_frames


def sample_frames(video: Path, count: int) -> list[np.ndarray]:
    """``count`` RGB frames spread over a video, read one after the other."""
    frames = [frame for _, _, frame in read_frames(video)]
    picks = np.linspace(0, len(frames) - 1, count).astype(int)
    return [frames[i] for i in picks]


def fit(image: np.ndarray, long_side: int, multiple: int = 1) -> np.ndarray:
    """Scaled to ``long_side``, zero-padded to a multiple, content at the top left."""
    scale = long_side / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = (-(-n // multiple) * multiple for n in small.shape[:2])
    out = np.zeros((height, width, 3), np.uint8)
    out[: small.shape[0], : small.shape[1]] = small
    return out


def session(path: Path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def verify_blazepose(path: Path, tflite: bytes, frames: list[np.ndarray]) -> dict[str, float]:
    """Largest differences to LiteRT per output."""
    from ai_edge_litert.interpreter import Interpreter

    from pose_nets.blazepose import OUTPUTS

    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    net = session(path)
    labels = [label for label, _ in OUTPUTS.values()]
    worst = dict.fromkeys(["landmarks_xyz_px", "landmarks_logits", *labels[1:]], 0.0)
    for frame in frames:
        image = fit(frame, 256, 256)[None]
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], image.astype(np.float32) / 255
        )
        interpreter.invoke()
        details = {d["name"]: d["index"] for d in interpreter.get_output_details()}
        ours = dict(zip(labels, net.run(labels, {"image": image})))
        theirs = {label: interpreter.get_tensor(details[n]) for n, (label, _) in OUTPUTS.items()}
        theirs["heatmaps"] = theirs["heatmaps"].transpose(0, 3, 1, 2)
        difference = {k: np.abs(ours[k] - theirs[k]) for k in labels}
        points = difference.pop("landmarks").reshape(39, 5)
        difference |= {"landmarks_xyz_px": points[:, :3], "landmarks_logits": points[:, 3:]}
        worst = {k: max(v, float(difference[k].max())) for k, v in worst.items()}
    return worst


def verify_movenet(
    path: Path,
    topology: bytes,
    weights: bytes,
    frames: list[np.ndarray],
    node_folder: Path,
    sizes: tuple[int, ...] = (256, 384, 512),
) -> dict[int, float]:
    """Largest difference to TensorFlow.js (normalised units) per input size.

    ``node_folder`` holds node_modules with ``@tensorflow/tfjs`` and its wasm backend.
    """
    net, script = session(path), Path(__file__).parent / "run_movenet.mjs"
    worst = dict.fromkeys(sizes, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / n) for n in ("model.json", "model.bin", "in.raw", "out.raw")]
        Path(files[0]).write_bytes(topology)
        Path(files[1]).write_bytes(weights)
        for frame in frames:
            for size in sizes:
                image = fit(frame, size, 32)
                Path(files[2]).write_bytes(image.tobytes())
                shape = [str(n) for n in image.shape[:2]]
                command = ["node", str(script), *files[:3], *shape, files[3]]
                subprocess.run(command, cwd=node_folder, check=True, capture_output=True)
                theirs = np.fromfile(files[3], np.float32).reshape(6, 56)
                ours = net.run(None, {"image": image[None]})[0][0]
                worst[size] = max(worst[size], float(np.abs(ours - theirs).max()))
    return worst
