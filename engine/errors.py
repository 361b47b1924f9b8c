"""Errors that a user can cause. The command line prints them as one sentence, without a traceback."""


class GuidedGenError(Exception):
    """Base of all errors that are the input's or the environment's, not a bug. Its text is one clear sentence."""


class SettingsError(GuidedGenError):
    """A name, a setting or an argument that makes no sense, or that what it is given to cannot follow."""


class DataError(GuidedGenError):
    """A file, a folder or a row that does not hold what it should."""


class ModelError(GuidedGenError):
    """A model that is there but is broken, not whole, or of a kind that is not covered."""


class ContextError(GuidedGenError):
    """A prompt or an answer that the model's context, or what is left of it, does not hold."""


class BackendError(GuidedGenError):
    """What decodes is missing, cannot be started, has failed or has ended."""
