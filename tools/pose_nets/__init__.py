"""Helpers of ``tools/convert_pose_nets.py``: two graph formats in, ONNX out."""
