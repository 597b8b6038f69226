"""What the person is doing: one text per frame, from a file, a string, a list or a labeller."""

from semtta.labels.labels import Labels, LabelSpan, as_labels, load_labels, save_labels

__all__ = ["LabelSpan", "Labels", "as_labels", "load_labels", "save_labels"]
