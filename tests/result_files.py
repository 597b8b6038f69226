"""Writers of results as other programs write them, of people whose motion is known.

They are written from the programs' own code, not with the library's readers in mind."""

import pickle
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT, FOCAL = 640, 480, 700.0
TURN = np.diag([1.0, -1.0, -1.0])  # upright and facing the camera, in its axes
PELVIS = np.array([-0.0018, -0.2233, 0.0282])  # of the rest pose of the program's own body


@dataclass
class Person:
    """rotmats (T, 24, 3, 3), betas (T, 10), trans (T, 3) before the camera; the camera's path
    turn (T, 3, 3), shift (T, 3): world = turn · point + shift."""

    rotmats: np.ndarray
    betas: np.ndarray
    trans: np.ndarray
    turn: np.ndarray
    shift: np.ndarray
    frames: np.ndarray

    @property
    def world_orient(self):
        return self.turn @ self.rotmats[:, 0]

    @property
    def world_trans(self):
        pelvis = self.trans + PELVIS
        return np.einsum("tij,tj->ti", self.turn, pelvis) + self.shift - PELVIS


def person(frames=6, seed=0, first=0, hands=True):
    """Somebody before a camera that turns and travels; the camera's path is that of its frames."""
    make = np.random.default_rng(seed)
    bend = 0.4 * make.standard_normal((1, 24, 3)) * np.linspace(0.5, 1, frames)[:, None, None]
    if not hands:
        bend[:, 22:] = 0
    rotmats = Rotation.from_rotvec(bend.reshape(-1, 3)).as_matrix().reshape(frames, 24, 3, 3)
    rotmats[:, 0] = TURN @ rotmats[:, 0]
    at = first + np.arange(frames)
    path = Rotation.from_euler("yx", np.stack([0.03 * at + 0.2, 0.01 * at - 0.1], 1)).as_matrix()
    return Person(
        rotmats=rotmats, betas=np.repeat(make.standard_normal((1, 10)), frames, 0),
        trans=np.stack([0.3 * seed + 0.02 * at, 0.4 + 0 * at, 4 - 0.05 * at], 1),
        turn=TURN @ path, shift=np.stack([0.1 * at, 1.5 + 0 * at, 0.02 * at], 1), frames=at,
    )  # fmt: skip


def vectors(rotmats):
    shape = rotmats.shape[:-2]
    return Rotation.from_matrix(rotmats.reshape(-1, 3, 3)).as_rotvec().reshape(*shape, 3)


def tilted(rotmats, share):
    """The same turns, by a share of their angle."""
    found = Rotation.from_rotvec(share * vectors(rotmats).reshape(-1, 3))
    return found.as_matrix().reshape(rotmats.shape)


def flat(rotmats):
    return vectors(rotmats).reshape(len(rotmats), -1)


def tensor(array):
    return torch.from_numpy(np.asarray(array)).float()


def f32(array):
    return np.asarray(array, np.float32)


def dumped(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def intrinsics(count):
    return np.tile(np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]),
                   (count, 1, 1))  # fmt: skip


def gvhmr(path, p):
    def params(orient, trans):
        return {"body_pose": tensor(flat(p.rotmats[:, 1:22])), "betas": tensor(p.betas),
                "global_orient": tensor(vectors(orient)), "transl": tensor(trans)}  # fmt: skip

    torch.save({
        "smpl_params_global": params(p.world_orient, p.world_trans),
        "smpl_params_incam": params(p.rotmats[:, 0], p.trans),
        "K_fullimg": tensor(intrinsics(len(p.frames))),
        "net_outputs": {"static_conf_logits": torch.ones(1, len(p.frames), 6)},
    }, path)  # fmt: skip
    return path


def world_pose(p):
    return np.concatenate([vectors(p.world_orient), flat(p.rotmats[:, 1:])], 1)


def wham(path, people):
    results = defaultdict(dict)
    for key, p in people.items():
        results[key].update(
            pose=f32(flat(p.rotmats)), trans=f32(p.trans), pose_world=f32(world_pose(p)),
            trans_world=f32(p.world_trans), betas=f32(p.betas), frame_ids=p.frames,
            verts=np.ones((len(p.frames), 10, 3), np.float32),
        )  # fmt: skip
    return dumped(path, results)


def wham_api(path, p):
    return dumped(path, {0: {
        "poses_body": f32(p.rotmats[:, 1:]), "poses_root_cam": f32(p.rotmats[:, :1]),
        "betas": f32(p.betas), "verts_cam": np.ones((len(p.frames), 10, 3), np.float32),
        "poses_root_world": f32(p.world_orient[:, None]), "trans_world": f32(p.world_trans),
        "frame_id": p.frames,
    }})  # fmt: skip


def weak(p, boxes):
    """s, tx, ty in boxes cx, cy, side, of a camera of the whole picture with FOCAL."""
    scale = 2 * FOCAL / (boxes[:, 2] * p.trans[:, 2])
    offset = 2 * (boxes[:, :2] - [WIDTH / 2, HEIGHT / 2]) / (scale * boxes[:, 2])[:, None]
    return np.concatenate([scale[:, None], p.trans[:, :2] - offset], 1)


def boxes_of(p):
    """(T, 3) square boxes around where somebody is."""
    middle = FOCAL * p.trans[:, :2] / p.trans[:, 2:] + [WIDTH / 2, HEIGHT / 2]
    return np.concatenate([middle + [3, 5], FOCAL * 2 / p.trans[:, 2:]], 1)


def phalp(path, people):
    side = max(WIDTH, HEIGHT)
    frames = {}
    for t in range(max(int(p.frames[-1]) for p in people.values()) + 1):
        here = [(who, p, int(np.flatnonzero(p.frames == t)[0])) for who, p in people.items()
                if t in p.frames]  # fmt: skip
        frame = {"time": t, "shot": 0, "frame_path": f"_DEMO/clip/img/{t + 1:06d}.jpg"}
        keys = ("tid", "bbox", "tracked_time", "smpl", "camera", "size", "camera_bbox", "center",
                "scale", "3d_joints", "mask")  # fmt: skip
        lists = {key: [] for key in keys}
        for who, p, i in here:
            x, y, b = boxes_of(p)[i]
            cam = weak(p, boxes_of(p))[i]
            depth = 2 * 5000 / (cam[0] * b * 256 / side)
            shift = (np.array([x, y]) - [WIDTH / 2, HEIGHT / 2]) * 256 / side * depth / 5000
            values = {
                "tid": who, "tracked_time": 0, "bbox": np.array([x - b / 4, y - b / 2, b / 2, b]),
                "smpl": {"betas": f32(p.betas[i]), "body_pose": f32(p.rotmats[i, 1:]),
                         "global_orient": f32(p.rotmats[i, :1])},
                "camera": f32([*(cam[1:] + shift), depth]), "camera_bbox": f32(cam),
                "center": np.array([x, y]), "scale": np.array([b / 2, b]), "size": [HEIGHT, WIDTH],
                "3d_joints": np.zeros((45, 3)), "mask": {"size": [2, 2], "counts": b"04"},
            }  # fmt: skip
            for key, value in values.items():
                lists[key].append(value)
        lists["tid"].append(99)  # somebody who was lost is carried on
        lists["tracked_time"].append(3)
        frames[f"_DEMO/clip/img/{t + 1:06d}.jpg"] = frame | lists
    return dumped(path, frames)


def tram(folder, p, tracked=None):
    """``camera.npy`` and ``hps/hps_track_0.npy``; returns the latter."""
    (folder / "hps").mkdir(parents=True)
    every = tracked or p
    np.save(folder / "camera.npy", {
        "pred_cam_R": f32(every.turn), "pred_cam_T": f32(every.shift), "world_cam_R": every.turn,
        "world_cam_T": every.shift, "img_focal": np.float64(FOCAL),
        "img_center": np.array([WIDTH / 2, HEIGHT / 2]), "spec_focal": 500.0,
    })  # fmt: skip
    path = folder / "hps" / "hps_track_0.npy"
    columns = np.swapaxes(p.rotmats[..., :2], -1, -2).reshape(len(p.frames), 144)
    np.save(path, {
        "pred_cam": tensor(weak(p, boxes_of(p))), "pred_pose": tensor(columns),
        "pred_shape": tensor(p.betas), "pred_rotmat": tensor(p.rotmats),
        "pred_trans": tensor(p.trans)[:, None], "frame": torch.from_numpy(p.frames),
    })  # fmt: skip
    return path


def prompthmr(path, people, count):
    """The camera's path is that of the first person, who is in every frame."""
    first = next(iter(people.values()))
    turn, shift = first.turn, first.shift
    found = {}
    for key, p in people.items():
        t = len(p.frames)
        rotmats = np.zeros((t, 55, 3, 3))
        rotmats[:, :22], rotmats[:, 22:25] = p.rotmats[:, :22], np.eye(3)
        pose = np.concatenate([flat(p.rotmats[:, :22]), np.zeros((t, 9))], 1)
        world = np.zeros((t, 165))
        world[:, :66] = world_pose(p)[:, :66]
        found[key] = {
            "track_id": key, "frames": p.frames, "bboxes": np.tile([10.0, 20, 110, 220], (t, 1)),
            "masks": np.ones((t, 4, 4), bool),
            "keypoints_2d": np.dstack([np.full((t, 67, 2), 50.0), np.full((t, 67), 0.9)]),
            "smplx_cam": {"rotmat": f32(rotmats), "pose": f32(pose), "shape": f32(p.betas),
                          "trans": f32(p.trans), "contact": np.ones((t, 6), bool)},
            "smplx_world": {"pose": f32(world), "shape": f32(p.betas), "trans": f32(p.world_trans)},
        }  # fmt: skip
    return dumped(path, {
        "camera": {"pred_cam_R": turn, "pred_cam_T": shift, "img_focal": np.float64(FOCAL),
                   "img_center": np.array([WIDTH / 2, HEIGHT / 2])},
        "people": found, "timings": {}, "masks": np.ones((count, 4, 4), bool),
        "has_hps_world": True, "camera_world": {"Rwc": turn, "Twc": shift},
    })  # fmt: skip


def vibe(path, people, matrices=False):
    out = {}
    for key, p in people.items():
        box = boxes_of(p)
        cam = weak(p, box)
        x, y, b = box.T
        sx, sy = cam[:, 0] * b / WIDTH, cam[:, 0] * b / HEIGHT
        tx = (x - WIDTH / 2) / (WIDTH / 2) / sx + cam[:, 1]
        ty = (y - HEIGHT / 2) / (HEIGHT / 2) / sy + cam[:, 2]
        out[key] = {
            "pred_cam": f32(cam), "orig_cam": f32(np.stack([sx, sy, tx, ty], 1)),
            "verts": np.zeros((len(b), 10, 3)), "betas": f32(p.betas), "joints2d": None,
            "pose": f32(p.rotmats if matrices else flat(p.rotmats)),
            "bboxes": np.stack([x, y, b, b], 1), "frame_ids": p.frames,
        }  # fmt: skip
    return dumped(path, out)


def romp(path, people, ids=True):
    side = max(WIDTH, HEIGHT)
    square = np.array([WIDTH / 2, HEIGHT / 2, side])
    frames, sequences = {}, {}
    for t in range(max(int(p.frames[-1]) for p in people.values()) + 1):
        here = [(who, p, int(np.flatnonzero(p.frames == t)[0])) for who, p in people.items()
                if t in p.frames]  # fmt: skip
        rows = defaultdict(list)
        for who, p, i in here:
            cam = weak(p, np.tile(square, (len(p.frames), 1)))[i]
            romp_cam = np.array([cam[0], cam[0] * cam[1], cam[0] * cam[2]])
            joints = np.random.default_rng(i).uniform(-0.5, 0.5, (71, 3))
            pixels = (romp_cam[0] * joints[:, :2] + romp_cam[1:] + 1) * side / 2
            pixels -= [(side - WIDTH) / 2, (side - HEIGHT) / 2]
            pose = flat(p.rotmats)[i]
            values = {"smpl_thetas": f32(pose), "smpl_betas": f32(p.betas[i]),
                      "cam": f32(romp_cam), "joints": f32(joints), "pj2d_org": f32(pixels),
                      "cam_trans": f32(2 * np.array([*(romp_cam[1:] / romp_cam[0]),
                                                     1 / romp_cam[0]])),
                      "global_orient": f32(pose[:3]), "body_pose": f32(pose[3:])}  # fmt: skip
            if ids:
                values["track_ids"] = np.int32(who)
            for key, value in values.items():
                rows[key].append(value)
            if ids:
                held = sequences.setdefault(np.int32(who), defaultdict(list, {"frame_id": []}))
                held["frame_id"].append(t)
                for key, value in values.items():
                    held[key].append(value)
        frames[f"{t:08d}.png"] = {key: np.stack(value) for key, value in rows.items()}
    np.savez(path, results=frames, sequence_results={k: dict(v) for k, v in sequences.items()})
    return path


def cliff(path, people, count):
    rows = sorted(((int(f), key, i) for key, p in people.items() for i, f in enumerate(p.frames)),
                  key=lambda row: row[:2])  # fmt: skip
    picked = [(people[key], i, f) for f, key, i in rows]
    squares = [boxes_of(p)[i] for p, i, _ in picked]
    boxes = [[row[0], *(b[:2] - b[2] / 2), *(b[:2] + b[2] / 2), 0.9, 0.9, 0]
             for row, b in zip(rows, squares)]  # fmt: skip
    np.savez(
        path, imgname=[f"images/{t:06d}.jpg" for t in range(count)],
        pose=[f32(flat(p.rotmats)[i]) for p, i, _ in picked],
        shape=[f32(p.betas[i]) for p, i, _ in picked],
        global_t=[f32(p.trans[i]) for p, i, _ in picked],
        pred_joints=np.zeros((len(rows), 49, 3), np.float32),
        focal_l=np.full(len(rows), FOCAL, np.float32), detection_all=np.array(boxes),
    )  # fmt: skip
    return path


def glamr(path, p, count):
    """One person who is there in p's frames of ``count``; GLAMR's translation is the pelvis."""

    def padded(array):
        out = np.zeros((count, *np.shape(array)[1:]), np.float32)
        out[p.frames] = array
        return out

    camera = np.tile(np.eye(4), (count, 1, 1))  # world to camera
    inverse = np.swapaxes(p.turn, 1, 2)
    camera[p.frames, :3, :3] = inverse
    camera[p.frames, :3, 3] = -np.einsum("tij,tj->ti", inverse, p.shift)
    pelvis = np.einsum("tij,tj->ti", p.turn, p.trans) + p.shift
    there = np.zeros(count, bool)
    there[p.frames] = True
    seen = there.astype(np.float32)
    seen[p.frames[2]] = 0
    k = intrinsics(count) * seen[:, None, None]
    return dumped(path, {
        "seq_name": "clip", "seq_len": count, "meta": {"algo": "global_recon"}, "gt": {},
        "cam_pose": f32(camera), "cam_pose_inv": f32(np.linalg.inv(camera)),
        "person_data": {0: {
            "smpl_pose": padded(flat(p.rotmats[:, 1:])), "smpl_beta": padded(p.betas),
            "smpl_orient_world": padded(vectors(p.world_orient)),
            "root_trans_world": padded(pelvis), "exist_frames": there, "vis_frames": seen == 1,
            "frames": np.arange(count), "cam_K": f32(k), "scale": None,
        }},
    })  # fmt: skip


def amass(path, p, up="z"):
    """The motion as a level camera sees it, z up, for SMPL-H."""
    axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # camera to world
    poses = np.zeros((len(p.frames), 156))
    poses[:, :66] = flat(p.rotmats[:, :22])
    poses[:, :3] = vectors(axes @ p.rotmats[:, 0])
    np.savez(path, poses=poses, trans=p.trans @ axes.T, betas=np.r_[p.betas[0], np.zeros(6)],
             gender=np.array("neutral"), mocap_framerate=30.0)  # fmt: skip
    return path


def own(path, p, number=1):
    t = len(p.frames)
    pose = f32(flat(p.rotmats))
    np.savez_compressed(
        path, track_id=number, frames=p.frames, times=p.frames / 30, fps=30.0, focal=FOCAL,
        boxes=np.tile(f32([10, 20, 110, 220]), (t, 1)), global_orient=pose[:, :3],
        body_pose=pose[:, 3:], betas=f32(p.betas), trans=f32(p.trans),
        center=np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2]), base_trans=f32(p.trans),
        landmark_names=np.array(["left_knee", "right_knee"]),
        detected_xy=np.full((t, 2, 2), 50, np.float32), detected_conf=np.full((t, 2), 0.5),
    )  # fmt: skip
    return path


def sam3d_row(points, focal=FOCAL):
    """One person in one picture; points (70, 3) metres in camera axes."""
    middle = points.mean(0)
    flat_ = focal * points[:, :2] / points[:, 2:] + [WIDTH / 2, HEIGHT / 2]
    return {
        "bbox": f32([*flat_.min(0), *flat_.max(0)]), "focal_length": np.float32(focal),
        "pred_keypoints_3d": f32(points - middle), "pred_keypoints_2d": f32(flat_),
        "pred_cam_t": f32(middle), "pred_pose_raw": np.zeros(266, np.float32),
        "global_rot": np.zeros(3, np.float32), "body_pose_params": np.zeros(133, np.float32),
        "shape_params": np.zeros(45, np.float32), "mask": None,
    }  # fmt: skip
