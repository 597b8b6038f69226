"""The numbers of TMR's family in loops, written from the releases' own descriptions, no torch."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation
from tmr_release import human_skeleton, soma_skeleton, statistics

from semtta.body import load_body
from semtta.skeletons import SMPL_PARENTS

Y_TO_Z = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
REST = load_body().joint_template.double()


def posed(rotmats, rest):
    """(T, J, 3) places about the pelvis, joint after joint."""
    places = np.zeros((len(rotmats), 24, 3))
    world = np.zeros((len(rotmats), 24, 3, 3))
    for t in range(len(rotmats)):
        world[t, 0] = rotmats[t, 0]
        for j in range(1, 24):
            parent = SMPL_PARENTS[j]
            places[t, j] = places[t, parent] + world[t, parent] @ (rest[j] - rest[parent])
            world[t, j] = world[t, parent] @ rotmats[t, j]
    return places, world


def path_of(places, up):
    path = np.zeros((len(places), 3))
    for t in range(len(places)):
        if t:
            best, held = math.inf, None
            for j in range(places.shape[1]):
                both = places[t - 1, j, up] + places[t, j, up]
                if both < best:
                    best, held = both, j
            path[t] = path[t - 1] + places[t - 1, held] - places[t, held]
        path[t, up] = -min(places[t, :, up])
    return path


def motionfix_by_hand(rotmats, rest, mean):
    facing, own = math.atan2(mean[134], mean[131]), math.atan2(rotmats[0, 0, 1, 2],
                                                               rotmats[0, 0, 0, 2])  # fmt: skip
    turn = Rotation.from_euler("z", facing - own).as_matrix()
    rotmats = rotmats.copy()
    for t in range(len(rotmats)):
        rotmats[t, 0] = turn @ rotmats[t, 0]
    path = path_of(posed(rotmats, rest)[0], 2)
    rows = []
    for t in range(len(rotmats)):
        step = np.zeros(3) if t == 0 else rotmats[t - 1, 0].T @ (path[t] - path[t - 1])
        row = list(step)
        for j in [*range(1, 22), 0]:
            for i in range(2):
                row += [rotmats[t, j, i, 0], rotmats[t, j, i, 1], rotmats[t, j, i, 2]]
        rows.append(row)
    return np.array(rows)


SOMA_TREE = """Hips - pelvis, Spine1 Hips spine1, Spine2 Spine1 spine2, Chest Spine2 spine3,
Neck1 Chest neck, Neck2 Neck1 neck, Head Neck2 head, Jaw Head -, LeftEye Head -, RightEye Head -,
LeftShoulder Chest left_collar, LeftArm LeftShoulder left_shoulder, LeftForeArm LeftArm left_elbow,
LeftHand LeftForeArm left_wrist, LeftHandThumbEnd LeftHand -, LeftHandMiddleEnd LeftHand -,
RightShoulder Chest right_collar, RightArm RightShoulder right_shoulder,
RightForeArm RightArm right_elbow, RightHand RightForeArm right_wrist,
RightHandThumbEnd RightHand -, RightHandMiddleEnd RightHand -, LeftLeg Hips left_hip,
LeftShin LeftLeg left_knee, LeftFoot LeftShin left_ankle, LeftToeBase LeftFoot -,
RightLeg Hips right_hip, RightShin RightLeg right_knee, RightFoot RightShin right_ankle,
RightToeBase RightFoot -"""
SMPL = ("pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle "
        "spine3 left_foot right_foot neck left_collar right_collar head left_shoulder "
        "right_shoulder left_elbow right_elbow left_wrist right_wrist left_hand "
        "right_hand").split()  # fmt: skip


def soma_world(rotmats, skeleton):
    """(T, 30, 3) y up, on the ground, starting over the origin, facing +z."""
    tree = [entry.split() for entry in SOMA_TREE.replace("\n", " ").split(",")]
    names = [name for name, _, _ in tree]
    rotmats = rotmats.copy()
    for t in range(len(rotmats)):
        rotmats[t, 0] = Y_TO_Z.T @ rotmats[t, 0]
    _, world = posed(rotmats, np.zeros((24, 3)))
    places = np.zeros((len(rotmats), 30, 3))
    for t in range(len(rotmats)):
        for j, (_, parent, _) in enumerate(tree):
            if j:
                p = names.index(parent)
                driver = world[t, SMPL.index(tree[p][2])]
                places[t, j] = places[t, p] + driver @ (skeleton[j] - skeleton[p])
    across = places[0, names.index("RightLeg")] - places[0, names.index("LeftLeg")]
    back = Rotation.from_euler("y", -math.atan2(across[2], -across[0])).as_matrix()
    places = places @ back.T
    return places + path_of(places, 1)[:, None], names


def soma_by_hand(rotmats, skeleton, fps):
    places, names = soma_world(rotmats, skeleton)
    feet = [names.index(n) for n in ("LeftFoot", "LeftToeBase", "RightFoot", "RightToeBase")]
    rows = []
    for t in range(len(places)):
        now = places[t]
        across = now[names.index("RightLeg")] - now[names.index("LeftLeg")]
        angle = math.atan2(across[2], -across[0])
        row = [*now[0], math.cos(angle), math.sin(angle)]
        for j in range(1, 30):
            row += [now[j, 0] - now[0, 0], now[j, 1], now[j, 2] - now[0, 2]]
        s = min(t, len(places) - 2)
        velocity = [(places[s + 1, j] - places[s, j]) * fps for j in range(30)]
        row += [x for v in velocity for x in v]
        for j in feet:
            row.append(float(np.linalg.norm(velocity[j]) < 0.15 and now[j, 1] < 0.10))
        rows.append(row)
    return np.array(rows)


OFFSETS = dict(zip(range(1, 22), [
    (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0),
    (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, -1, 0),
    (0, -1, 0), (0, -1, 0), (0, -1, 0), (0, -1, 0), (0, -1, 0)]))  # fmt: skip
CHAINS = [[0, 2, 5, 8, 11], [0, 1, 4, 7, 10], [0, 3, 6, 9, 12, 15], [9, 14, 17, 19, 21],
          [9, 13, 16, 18, 20]]  # fmt: skip


def between(u, v):
    """The shortest rotation from u to v."""
    u, v = (np.asarray(x, float) / np.linalg.norm(x) for x in (u, v))
    axis = np.cross(u, v)
    angle = math.atan2(np.linalg.norm(axis), float(u @ v))
    unit = axis / max(np.linalg.norm(axis), 1e-12)
    return Rotation.from_rotvec(angle * unit)


def humanml_by_hand(rotmats, rest, example):
    rotmats = rotmats.copy()
    for t in range(len(rotmats)):
        rotmats[t, 0] = Y_TO_Z.T @ rotmats[t, 0]
    places, _ = posed(rotmats, rest)
    places = (places + path_of(places, 1)[:, None])[:, :22]
    length = {j: np.linalg.norm(example[j] - example[SMPL_PARENTS[j]]) for j in range(1, 22)}
    own = {j: np.linalg.norm(places[0, j] - places[0, SMPL_PARENTS[j]]) for j in (5, 8)}
    scale = (length[5] + length[8]) / (own[5] + own[8])
    person = np.zeros_like(places)
    for t in range(len(places)):
        person[t, 0] = places[t, 0] * scale
        for chain in CHAINS:
            for a, b in zip(chain, chain[1:]):
                bone = places[t, b] - places[t, a]
                person[t, b] = person[t, a] + length[b] * bone / np.linalg.norm(bone)
    person[:, :, 1] -= person[:, :, 1].min()
    person -= person[0, 0] * np.array([1, 0, 1])
    across = person[0, 2] - person[0, 1] + person[0, 17] - person[0, 16]
    forward = np.cross((0, 1, 0), across)
    person = between(forward, (0, 0, 1)).apply(person.reshape(-1, 3)).reshape(person.shape)

    forwards = []
    for now in person:  # the hips are taken for each other here
        across = now[1] - now[2] + now[17] - now[16]
        forwards.append(np.cross((0, 1, 0), across / np.linalg.norm(across)))
    forwards = gaussian_filter1d(np.array(forwards), 20, axis=0, mode="nearest")
    back = [between(f, (0, 0, 1)) for f in forwards]
    back[0] = Rotation.identity()
    rows = []
    for t in range(len(person) - 1):
        now, after = person[t], person[t + 1]
        # the product of quaternions whose real parts are positive; its own may be negative
        (y, w), (z, v) = (b.as_quat(canonical=True)[[1, 3]] for b in (back[t], back[t + 1]))
        travel = back[t + 1].apply(after[0] - now[0])
        row = [math.asin(z * w - v * y), travel[0], travel[2], now[0, 1]]
        for j in range(1, 22):
            row += list(back[t].apply(now[j] - now[0] * np.array([1, 0, 1])))
        local = {}
        for chain in CHAINS:
            before = back[t]
            for a, b in zip(chain, chain[1:]):
                own_turn = between(OFFSETS[b], now[b] - now[a])
                local[b] = (before.inv() * own_turn).as_matrix()
                before = own_turn
        for j in range(1, 22):
            row += [*local[j][:, 0], *local[j][:, 1]]
        for j in range(22):
            row += list(back[t].apply(after[j] - now[j]))
        for j in (7, 10, 8, 11):
            row.append(float(((after[j] - now[j]) ** 2).sum() < 0.002))
        rows.append(row)
    return np.array(rows)


def by_hand(name, rotmats, fps):
    rotmats, rest = rotmats.numpy(), REST.numpy()
    if name == "motionfix":
        return motionfix_by_hand(rotmats, rest, statistics(name)[0].numpy())
    if name == "soma":
        return soma_by_hand(rotmats, soma_skeleton().numpy(), fps)
    return humanml_by_hand(rotmats, rest, human_skeleton())
