"""Errors that a user can cause. The command line prints them as one sentence, without a traceback."""


class GuidedGenError(Exception):
    """Base of all errors that are the input's or the environment's, not a bug. Its text is one clear sentence."""
