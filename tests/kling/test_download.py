"""Downloads: taken up only where that is safe, and moved into place whole."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from klingmask import kling
from klingmask.kling import download, transport
from klingmask.kling.transport import TimeLimits
from tests.kling.server import Fault, Service

SHORT = TimeLimits((2.0, 1.0), 0.3)
TIME = "Tue, 24 Nov 2026 10:00:00 GMT"
LATER = "Tue, 24 Nov 2026 10:00:01 GMT"

VALIDATORS: dict[str, tuple[Mapping[str, str], str | None]] = {
    "a strong ETag": ({"ETag": '"1"'}, '"1"'),
    "a time": ({"Last-Modified": TIME}, TIME),
    "a strong ETag and a time": ({"ETag": '"1"', "Last-Modified": TIME}, '"1"'),
    "a weak ETag and a time": ({"ETag": 'W/"1"', "Last-Modified": TIME}, TIME),
    "a weak ETag": ({"ETag": 'W/"1"'}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize("name", VALIDATORS)
def test_only_a_file_with_a_validator_is_taken_up(
    service: Service, tmp_path: Path, name: str
) -> None:
    headers, validator = VALIDATORS[name]
    service.validators = lambda _: dict(headers)
    service.cdn_faults += [Fault(cut=True), Fault(cut=True)]
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "out.mp4")
    assert path.read_bytes() == service.files["/result.mp4"]
    sent = [request.headers for request in service.cdn_requests]
    assert [one.get("If-Range") for one in sent] == [None, validator, validator]
    assert ["Range" in one for one in sent] == [False, bool(validator), bool(validator)]


CHANGES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "a weak ETag that stays": ({"ETag": 'W/"1"'}, {"ETag": 'W/"1"'}),
    "a weak ETag": ({"ETag": 'W/"1"'}, {"ETag": 'W/"2"'}),
    "a strong ETag": ({"ETag": '"1"'}, {"ETag": '"2"'}),
    "a time": ({"Last-Modified": TIME}, {"Last-Modified": LATER}),
    "a time that goes": ({"Last-Modified": TIME}, {}),
    "an ETag that goes": ({"ETag": '"1"'}, {}),
    "an ETag that gets weak": ({"ETag": '"1"'}, {"ETag": 'W/"1"'}),
    "an ETag for a time": ({"Last-Modified": TIME}, {"ETag": '"1"'}),
    "a weak ETag, and no time": (
        {"ETag": 'W/"1"', "Last-Modified": TIME},
        {"ETag": 'W/"2"', "Last-Modified": TIME},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("heeds", [True, False], ids=["If-Range heeded", "If-Range ignored"])
def test_a_file_that_changes_midway_is_taken_anew(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, heeds: bool
) -> None:
    """Also one of the same length: never a part of the one behind a part of the other."""
    old, new = (bytes([byte]) * 500_000 for byte in (1, 2))
    before, after = CHANGES[name]
    service.files["/result.mp4"] = old
    service.heeds_if_range = heeds
    service.validators = lambda content: before if content == old else after
    service.cdn_faults.append(Fault(cut=True))
    monkeypatch.setattr(
        transport, "log_retry", lambda _: service.files.update({"/result.mp4": new})
    )
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "out.mp4")
    assert path.read_bytes() == new


def test_a_server_that_never_gets_to_the_end(service: Service, tmp_path: Path) -> None:
    """Without a validator each attempt starts again, and there is an end to them."""
    service.validators = lambda _: {}
    service.cdn_faults += [Fault(cut=True)] * 999
    with pytest.raises(kling.RequestConnectionError):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4", limits=SHORT)
    assert list(tmp_path.iterdir()) == []
    assert 1 < len(service.cdn_requests) < 999


# ---- where it is saved ----


@pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "猫" * 83 + ".mp4", "a b.mp4", ".mp4"])
def test_names_of_any_length(service: Service, tmp_path: Path, name: str) -> None:
    """As long as the file system takes; a cut that leaves half a name is not made."""
    service.cdn_faults.append(Fault(cut=True))
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / name)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == service.files["/result.mp4"]


def test_a_name_that_is_too_long_is_seen_at_once(service: Service, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / ("x" * 256))
    assert (service.cdn_requests, list(tmp_path.iterdir())) == ([], [])


def test_a_folder_is_no_target(service: Service, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path)
    assert (service.cdn_requests, list(tmp_path.iterdir())) == ([], [])


def test_a_file_has_the_usual_mode(service: Service, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
