"""The error and the warning that this package raises."""

__all__ = ["VideoError", "VideoWarning"]


class VideoError(ValueError):
    """A video cannot be read, or cannot be written as requested."""


class VideoWarning(UserWarning):
    """The result leaves something out, for example masks of frames that the video does not have."""
