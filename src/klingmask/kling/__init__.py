"""A client of Kling's Multi-Elements API: click, see the mask, preview, pay once, get the video.

`KlingClient` has a method for each of the eight endpoints. `KlingClient.edit_video`
returns an `EditSession`, which leads from the first click to the finished video. Needs
the extra ``kling``.
"""

from klingmask.kling import prompts
from klingmask.kling.checks import Duration, EditMode, Mode, Point
from klingmask.kling.client import KlingClient
from klingmask.kling.errors import (
    AccountError,
    AuthenticationError,
    BadReplyError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    PolicyError,
    RateLimitError,
    RejectedSelectionError,
    RequestConnectionError,
    RequestTimeoutError,
    ServerError,
    SessionExpiredError,
    TaskFailedError,
    UnknownOutcomeError,
)
from klingmask.kling.images import ImageSource
from klingmask.kling.models import (
    InitReply,
    PreviewReply,
    Reply,
    SelectionReply,
    Task,
    TaskVideo,
)
from klingmask.kling.objects import ObjectId, SelectedObject
from klingmask.kling.session import ClicksInside, EditSession, Preview, Selection
from klingmask.kling.task import EditTask
from klingmask.kling.webhooks import parse_callback

__all__ = [
    "AccountError",
    "AuthenticationError",
    "BadReplyError",
    "ClicksInside",
    "Duration",
    "EditMode",
    "EditSession",
    "EditTask",
    "ImageSource",
    "InitReply",
    "InvalidRequestError",
    "KlingClient",
    "KlingError",
    "Mode",
    "NotFoundError",
    "ObjectId",
    "Outcome",
    "PermissionDeniedError",
    "Point",
    "PolicyError",
    "Preview",
    "PreviewReply",
    "RateLimitError",
    "RejectedSelectionError",
    "Reply",
    "RequestConnectionError",
    "RequestTimeoutError",
    "SelectedObject",
    "Selection",
    "SelectionReply",
    "ServerError",
    "SessionExpiredError",
    "Task",
    "TaskFailedError",
    "TaskVideo",
    "UnknownOutcomeError",
    "parse_callback",
    "prompts",
]
