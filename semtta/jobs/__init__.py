"""What commands do, without a terminal: a video, the demo, labels."""
