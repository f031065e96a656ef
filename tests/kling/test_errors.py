"""Errors as values: pickling, outcomes, texts."""

import pickle
from collections.abc import Callable

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, UnknownOutcomeError, errors

KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_goes_from_process_to_process(kind: type[kling.KlingError]) -> None:
    error = UnknownOutcomeError("lost", "e1") if kind is UnknownOutcomeError else kind("lost")
    error.request_id, error.outcome = "r1", "unknown"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
    assert str(error).startswith("lost (request_id r1)")


def test_what_was_not_sent_is_not_said_to_be_refused(client: KlingClient) -> None:
    with pytest.raises(kling.InvalidRequestError) as caught:
        client.list_tasks(0)
    assert str(caught.value) == (
        "page_num goes from 1 to 1000, got 0; nothing was sent; correct it and try again"
    )


def test_what_was_never_sent(make: Callable[..., KlingClient]) -> None:
    with (
        make(base_url="http://127.0.0.1:9", retry_for=0.0) as client,
        pytest.raises(kling.RequestConnectionError) as caught,
    ):
        client.list_tasks()
    assert (caught.value.outcome, caught.value.retryable) == ("unsent", True)
