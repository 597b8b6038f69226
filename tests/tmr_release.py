"""Small releases of TMR's family: random weights under the real names, in the real folders."""

from __future__ import annotations

import json

import numpy as np
import torch

from semtta.motion.tmr_features import LAYOUTS, SOMA
from semtta.motion.tmr_soma import JOINTS, NAMES

WIDTH, LAYERS, FEEDFORWARD, TEXT = 16, 2, 24, {"motionfix": 768, "soma": 4096, "humanml3d": 768}
SIZES = {layout.name: size for size, layout in LAYOUTS.items()}


def weights(inputs: int, seed: int = 0, width: int = WIDTH) -> dict[str, torch.Tensor]:
    """One encoder's tensors, named and shaped as in the releases."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"projection.weight": (width, inputs), "projection.bias": (width,),
              "tokens": (2, width)}  # fmt: skip
    for i in range(LAYERS):
        layer = f"seqTransEncoder.layers.{i}."
        shapes |= {
            f"{layer}self_attn.in_proj_weight": (3 * width, width),
            f"{layer}self_attn.in_proj_bias": (3 * width,),
            f"{layer}self_attn.out_proj.weight": (width, width),
            f"{layer}self_attn.out_proj.bias": (width,),
            f"{layer}linear1.weight": (FEEDFORWARD, width),
            f"{layer}linear1.bias": (FEEDFORWARD,),
            f"{layer}linear2.weight": (width, FEEDFORWARD),
            f"{layer}linear2.bias": (width,),
            **{f"{layer}norm{n}.{kind}": (width,) for n in (1, 2) for kind in ("weight", "bias")},
        }
    return {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def statistics(name: str, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation; MotionFix's people stand along z and face (1, -2)."""
    generator = torch.Generator().manual_seed(seed)
    size = SIZES[name]
    mean = 0.2 * torch.randn(size, generator=generator)
    if name == "motionfix":
        mean[129:] = torch.tensor([0.5, 0.05, 0.2, 0.4, 0.1, -0.4])
    return mean, 0.5 + torch.rand(size, generator=generator)


def soma_skeleton() -> torch.Tensor:
    """(30, 3) a T-pose of round numbers."""
    bones = {"Spine1": (0, 0.05, 0), "Spine2": (0, 0.07, 0), "Chest": (0, 0.08, -0.01),
             "Neck1": (0, 0.26, 0), "Neck2": (0, 0.08, 0.02), "Head": (0, 0.06, 0.02),
             "Jaw": (0, 0.01, 0.03), "LeftEye": (0.03, 0.05, 0.07), "RightEye": (-0.03, 0.05, 0.07),
             "Shoulder": (0.02, 0.23, 0.05), "Arm": (0.15, 0, -0.05), "ForeArm": (0.28, 0, 0),
             "Hand": (0.27, 0, 0), "HandThumbEnd": (0.12, -0.03, 0.05),
             "HandMiddleEnd": (0.19, 0, 0), "Leg": (0.1, -0.08, 0.03), "Shin": (0, -0.43, 0),
             "Foot": (0, -0.42, -0.03), "ToeBase": (0, -0.05, 0.13)}  # fmt: skip
    places = [np.zeros(3)]
    for name, parent, _ in JOINTS[1:]:
        part = name if name in bones else name.removeprefix("Left").removeprefix("Right")
        bone = np.array(bones[part], float)
        if part != name and name.startswith("Right"):
            bone[0] *= -1
        places.append(places[NAMES.index(parent)] + bone)
    return torch.from_numpy(np.stack(places))


def human_skeleton() -> np.ndarray:
    """(52, 3) joints of somebody who stands askew: only the lengths of the bones are read."""
    rng = np.random.RandomState(3)
    from semtta.skeletons import SMPL_PARENTS

    places = [rng.standard_normal(3)]
    for joint in range(1, 52):
        direction = rng.standard_normal(3)
        length = 0.1 + 0.3 * rng.rand()
        parent = SMPL_PARENTS[joint] if joint < 24 else 20
        places.append(places[parent] + length * direction / np.linalg.norm(direction))
    return np.stack(places).astype(np.float32)


def write_texts(path, texts=("walk", "run fast", "Sit down."), size: int = WIDTH, lengths=None):
    rows = len(texts) if lengths is None else sum(lengths)
    vectors = np.random.RandomState(11).standard_normal((rows, size)).astype(np.float32)
    beside = {} if lengths is None else {"lengths": np.array(lengths)}
    np.savez(path, texts=np.array(texts), vectors=vectors, **beside)
    return vectors


def release(folder, name: str = "motionfix", texts: bool = True):
    """A folder as its users have it."""
    layout = LAYOUTS[SIZES[name]]
    inner = folder if layout is SOMA else folder / "last_weights"
    inner.mkdir(parents=True)
    torch.save(weights(SIZES[name]), inner / "motion_encoder.pt")
    torch.save(weights(TEXT[name], seed=1), inner / "text_encoder.pt")
    mean, std = statistics(name)
    if layout is SOMA:
        for part, where in (("global_root", slice(0, 5)), ("body", slice(5, None))):
            (folder / "stats" / part).mkdir(parents=True)
            np.save(folder / "stats" / part / "mean.npy", mean[where].numpy())
            np.save(folder / "stats" / part / "std.npy", std[where].numpy())
        torch.save(soma_skeleton(), folder / "joints.p")
    else:
        inside = folder / "stats" / "humanml3d" / "feats"
        inside.mkdir(parents=True)
        torch.save(mean, inside / "mean.pt")
        torch.save(std, inside / "std.pt")
        np.save(folder / "skeleton_example_h3d.npy", human_skeleton())
        (folder / "config.json").write_text(json.dumps(
            {"model": {"motion_encoder": {"num_heads": 4, "activation": "gelu"}}}
        ))  # fmt: skip
    if texts:
        write_texts(folder / "texts.npz")
    return folder
