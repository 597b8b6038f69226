"""What the person is doing: one text per frame, from a file, a string or a list."""

from semtta.labels.labels import Labels, LabelSpan, as_labels, load_labels

__all__ = ["LabelSpan", "Labels", "as_labels", "load_labels"]
