"""Writers of 2D poses as other programs write them, from (T, J, 3) points of one person.

They are written from the programs' documentation, not with the library's readers in mind."""

import csv
import json
import pickle
import zlib
from pathlib import Path

import numpy as np

# What the shipped clip's man does, COCO's 17 joints in pixels: (100, 17, 3).
CLIP = np.load(Path(__file__).parent / "data" / "demo_clip_coco17.npz")["points"].astype(float)
CLIP_SIZE = (1088, 1920)
NAMES = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
         "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
         "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")  # fmt: skip


def flat(points):
    return np.asarray(points).reshape(-1).tolist()


def box_of(points):
    """x, y, width, height."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return [*low.tolist(), *(high - low).tolist()]


def body25(points):
    """(T, 25, 3) in OpenPose's order of (T, 17, 3) in COCO's; feet are missing."""
    out = np.zeros((len(points), 25, 3))
    pairs = {0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 9: 12, 10: 14, 11: 16, 12: 11, 13: 13,
             14: 15, 15: 2, 16: 1, 17: 4, 18: 3}  # fmt: skip
    for a, b in pairs.items():
        out[:, a] = points[:, b]
    out[:, 1], out[:, 8] = points[:, [5, 6]].mean(1), points[:, [11, 12]].mean(1)
    return out


def padded(points, count):
    """Whole bodies: the body's points first, then face and hands that nobody reads."""
    out = np.ones((len(points), count, 3))
    out[:, : points.shape[1]] = points
    return out


def save(path, content):
    path.write_text(json.dumps(content))
    return path


def openpose(folder, points, name="clip_{:012d}_keypoints", key="pose_keypoints_2d", first=0):
    folder.mkdir()
    for t, frame in enumerate(points, first):
        save(folder / f"{name.format(t)}.json", {"version": 1.3, "people": [
            {"person_id": [-1], key: flat(frame), "face_keypoints_2d": []}]})  # fmt: skip
    return folder


def comfyui(path, points):
    frames = [{"people": [{"pose_keypoints_2d": flat(f)}], "canvas_width": CLIP_SIZE[0],
               "canvas_height": CLIP_SIZE[1]} for f in points]  # fmt: skip
    return save(path, frames)


def alphapose_form(path, points, people="people", body="pose_keypoints_2d"):
    return save(path, {f"{t}.jpg": {"version": "AlphaPose v0.3", people: [{body: flat(f)}]}
                       for t, f in enumerate(points)})  # fmt: skip


def coco(path, points, image="{}.jpg", first=0, **more):
    items = [{"image_id": image.format(t) if image else t, "category_id": 1,
              "keypoints": flat(f), "score": 2.9} | more
             for t, f in enumerate(points, first)]  # fmt: skip
    return save(path, items)


def coco_annotations(path, points, size=CLIP_SIZE, names=NAMES):
    images = [{"id": 500 + t, "file_name": f"clip_{t:05d}.jpg", "width": size[0],
               "height": size[1]} for t in range(len(points))]  # fmt: skip
    rows = [{"id": t, "image_id": 500 + t, "bbox": box_of(f), "iscrowd": 0, "num_keypoints": 17,
             "keypoints": flat(np.column_stack([f[:, :2], 2 * (f[:, 2] > 0)]))}
            for t, f in enumerate(points)]  # fmt: skip
    about = [{"id": 1, "name": "person", "keypoints": list(names)}]
    return save(path, {"images": images, "annotations": rows, "categories": about})


def instances(frame):
    x, y, w, h = box_of(frame)
    return [{"keypoints": frame[:, :2].tolist(), "keypoint_scores": frame[:, 2].tolist(),
             "bbox": [[x, y, x + w, y + h]], "bbox_score": 0.9}]  # fmt: skip


def mmpose_list(path, points):
    return save(path, [{"frame_id": t, "instances": instances(f)} for t, f in enumerate(points)])


def mmpose_demo(path, points):
    names = {str(i): name for i, name in enumerate(NAMES)}
    return save(path, {"meta_info": {"keypoint_id2name": names}, "instance_info": [
        {"frame_id": t, "instances": instances(f)} for t, f in enumerate(points, 1)]})  # fmt: skip


def mmpose_folder(folder, points):
    folder.mkdir()
    for t, frame in enumerate(points):
        save(folder / f"{t:06d}.json", instances(frame))
    return folder


def ultralytics(path, points, size=(1, 1)):
    def person(frame):
        xy = frame[:, :2] / size
        low, high = xy.min(0), xy.max(0)
        return {"name": "person", "class": 0, "confidence": 0.9, "track_id": 1,
                "box": dict(zip(("x1", "y1", "x2", "y2"), (*low, *high))),
                "keypoints": {"x": xy[:, 0].tolist(), "y": xy[:, 1].tolist(),
                              "visible": frame[:, 2].tolist()}}  # fmt: skip

    return save(path, [[person(frame)] for frame in points])


def ultralytics_text(folder, points, size=CLIP_SIZE, ending=" 0.91 1"):
    folder.mkdir()
    for t, frame in enumerate(points, 1):
        shares = np.column_stack([frame[:, :2] / size, frame[:, 2]])
        x, y, w, h = box_of(shares)
        line = " ".join(f"{v:.6f}" for v in (x + w / 2, y + h / 2, w, h, *flat(shares)))
        (folder / f"clip_{t}.txt").write_text(f"0 {line}{ending}\n")
    return folder


def pifpaf(path, points, first=0):
    lines = [json.dumps({"frame": t, "predictions": [
        {"keypoints": flat(f), "bbox": box_of(f), "score": 0.9, "category_id": 1}]})
        for t, f in enumerate(points, first)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


def pifpaf_folder(folder, points):
    folder.mkdir()
    for t, frame in enumerate(points):
        save(folder / f"{t:05d}.png.predictions.json", [
            {"keypoints": flat(frame), "bbox": box_of(frame), "score": 0.9, "category_id": 1},
        ])  # fmt: skip
    return folder


def easy_vitpose(path, points):
    frames = [{"1": frame[:, [1, 0, 2]].tolist()} for frame in points]
    return save(path, {"keypoints": frames, "skeleton": {str(i): n for i, n in enumerate(NAMES)}})


def mediapipe(path, points, size=CLIP_SIZE, key="poseLandmarks"):
    """COCO's joints among the 33, the others invisible."""
    at = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
    frames = []
    for frame in points:
        marks = [{"x": 0.5, "y": 0.5, "z": 0.0, "visibility": 0.0} for _ in range(33)]
        for i, (x, y, v) in zip(at, frame.tolist()):
            marks[i] = {"x": x / size[0], "y": y / size[1], "z": -0.1, "visibility": v}
        frames.append({key: [marks], "worldLandmarks": [marks]})
    return save(path, frames)


def deeplabcut(path, points, names=NAMES, individual=None):
    heads = [("scorer", *["dlc"] * (3 * len(names)))]
    if individual:
        heads.append(("individuals", *[individual] * (3 * len(names))))
    heads.append(("bodyparts", *[name for name in names for _ in range(3)]))
    heads.append(("coords", *["x", "y", "likelihood"] * len(names)))
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(heads)
        for t, frame in enumerate(points):
            writer.writerow([t, *flat(frame)])
    return path


def phalp(path, points, size=CLIP_SIZE, compress=True):
    """A plain pickle of what joblib would write otherwise."""
    side = max(size)
    shift = [(side - size[0]) / 2, (side - size[1]) / 2]
    frames = {}
    for t, frame in enumerate(body25(points)):
        joints = np.zeros((45, 2))
        joints[:25] = (frame[:, :2] + shift) / side
        frames[f"/tmp/img/{t:06d}.jpg"] = {
            "time": t, "tid": [7, 9], "tracked_time": [0, 3], "bbox": [box_of(frame), [0, 0, 1, 1]],
            "2d_joints": [joints.reshape(-1), joints.reshape(-1)],
            "size": [[size[1], size[0]]] * 2, "smpl": [{"betas": np.zeros(10)}],
        }  # fmt: skip
    data = pickle.dumps(frames)
    path.write_bytes(zlib.compress(data) if compress else data)
    return path
