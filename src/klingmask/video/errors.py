"""What goes wrong with videos, and what is worth saying though it does not."""

__all__ = ["VideoError", "VideoWarning"]


class VideoError(ValueError):
    """A video that cannot be read, or cannot be written as it was asked for."""


class VideoWarning(UserWarning):
    """Something that a result does not show, such as masks of frames that are not there."""
