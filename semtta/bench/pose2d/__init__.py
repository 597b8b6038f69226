"""CLIP2Pose's tables as named runs: `semtta pose2d bench`."""
