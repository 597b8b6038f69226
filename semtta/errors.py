"""The one exception that users are meant to see."""


class SemttaError(Exception):
    """What was wrong, where, and what to do about it, in one sentence.

    The command line prints the sentence and exits with code 2; any other exception is a bug
    and shows its traceback.
    """
