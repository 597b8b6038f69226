"""Video in and out: sequential frames with true times, and mp4 files that are whole or absent.

One decoder and one encoder (PyAV) for every part of the library, so that detection, crops, strips
and overlay see the same pictures. A frame is the picture as a player shows it (deinterlaced, turned
as its tag says, with square pixels), or reading stops with a sentence. A folder of images is a
video too: its images in the order of their names, at 30 frames a second unless told otherwise.
"""

from semtta.video.cut import cut_video
from semtta.video.encode import write_timed, write_video
from semtta.video.images import list_images, read_image
from semtta.video.info import ImageSequence, VideoCut, VideoInfo, VideoSource, next_time
from semtta.video.listing import VIDEO_ENDINGS, video_files
from semtta.video.reader import (
    content_hash,
    open_images,
    probe,
    read_frames,
    read_through,
    video_hash,
)
from semtta.video.stillness import camera_shift

__all__ = [
    "VIDEO_ENDINGS",
    "ImageSequence",
    "VideoCut",
    "VideoInfo",
    "VideoSource",
    "camera_shift",
    "content_hash",
    "cut_video",
    "list_images",
    "next_time",
    "open_images",
    "probe",
    "read_frames",
    "read_image",
    "read_through",
    "video_files",
    "video_hash",
    "write_timed",
    "write_video",
]
