"""Whatever a client signs in with is in no text that it makes, whoever wrote the text."""

import base64
import html
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, download, parse_callback, redaction
from klingmask.kling.redaction import clean, redacted, remember, without_queries
from klingmask.kling.tracking import read_tracking
from klingmask.kling.transport import TimeLimits
from tests.kling.raw_server import OK, answering, says
from tests.kling.samples import POINT, REMOVAL, SHORT, replying
from tests.kling.server import SIZE, Fault, Service, mask_at

KEY = "sk-live/4f+9A_b.c==Zq7\"x&y'w<v"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON with slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON for HTML": lambda key: json.dumps(key)[1:-1].replace("&", "\\u0026"),
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)),
    "repr": repr,
    "a URL": lambda key: quote(key, safe=""),
    "a path": quote,
    "a path in HTML": lambda key: html.escape(quote(key)),
    "HTML in a path": lambda key: quote(html.escape(key)),
    "JSON in HTML": lambda key: html.escape(json.dumps(key)),
    "a URL in a URL": lambda key: quote(quote(key, safe=""), safe=""),
    "HTML": html.escape,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64 in a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
    "basic": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "a header in base64": lambda key: base64.b64encode(f"Bearer {key}\n".encode()).decode(),
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})
    monkeypatch.setattr(redaction, "_patterns", [])


def parts(secret: str, size: int = 8) -> Iterator[str]:
    for start in range(len(secret) - size + 1):
        yield secret[start : start + size]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_secret_in_any_spelling(name: str) -> None:
    remember(KEY)
    text = redacted(f"<<{SPELLINGS[name](KEY)}>>")
    assert "[secret]" in text
    assert len(text) < 24 + len("<<>>")  # what mixes with its neighbours in base64, and quotes
    assert not any(part in text for part in parts(KEY))


def test_the_longer_secret_goes_first() -> None:
    remember("access-key", "access-key-and-more")
    assert redacted("access-key-and-more, access-key") == "[secret], [secret]"


def test_words_are_no_secrets() -> None:
    remember("key", "", "task", "secret", "access", "K1")
    text = "K1: a key, an access key and a secret of a task"
    assert redacted(text) == text


@pytest.mark.parametrize("secret", ["SECRET", "hunter2", "s3cr", "a-b-", "correcthorse"])
def test_a_short_key_is_a_secret(secret: str) -> None:
    remember(secret)
    assert redacted(f"<{secret}> a word") == "<[secret]> a word"


def test_the_secrets_not_used_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "MAX_KNOWN", 3)
    secrets = [f"secret-{place}" for place in range(5)]
    for secret in secrets:
        remember(secret, secrets[0])
    shown = [redacted(secret) != secret for secret in secrets]
    assert shown == [True, False, False, True, True]


@pytest.mark.parametrize("limit", [10, 40, 200])
def test_no_part_of_a_secret_is_left_at_a_cut(limit: int) -> None:
    remember(KEY)
    for spell in (str, SPELLINGS["a URL"], SPELLINGS["base64"]):
        for before in range(0, 12 * limit, 7):
            text = clean("." * before + spell(KEY) * 40, limit)
            assert len(text) <= limit
            assert not any(part in text for part in parts(spell(KEY)[3:-6]))


@pytest.mark.parametrize("unit", ["\\", "%25", "%5c", "&#", "/", "&#0000", "https://", "sk-live/"])
def test_a_text_of_marks_takes_linear_time(unit: str) -> None:
    """Quadratic time would be minutes."""
    remember(KEY, f"/{KEY}", f"\\{KEY}", f"&{KEY}")
    assert clean(unit * 100_000) == unit * 100_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\tc", "a  b c"),
        ("\u202eevil", "\\u202eevil"),
        ("half \ud800", "half \\ud800"),
        ("删除 小鸡\u3000!", "删除 小鸡 !"),
        ("🐤", "🐤"),
    ],
)
def test_a_terminal_does_not_act_on_a_text(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert kling.KlingError(text).message == shown
    assert kling.KlingError(shown, request_id=text).request_id == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see HTTPS://a.org/x?sign=1&b=2 and", "see HTTPS://a.org/x?[...] and"),
        ("'https://a.org#sign'", "'https://a.org?[...]'"),
        ("url: /x/y?sign=1 (Caused by", "url: /x/y?[...] (Caused by"),
        ("/x?sign=1", "/x?[...]"),
        ("is this one half, 1/2? Yes", "is this one half, 1/2? Yes"),
        ("https://a.org/x", "https://a.org/x"),
        ("https://a.org/x?b#c?d", "https://a.org/x?[...]"),
    ],
)
def test_queries_are_cut(text: str, shown: str) -> None:
    assert without_queries(text) == shown


# ---- a service that says back what it was sent ----


def everything(error: BaseException) -> str:
    """All texts of an error and of those behind it."""
    texts = ["".join(traceback.format_exception(error))]
    chain: BaseException | None = error
    while chain is not None:
        texts += [str(chain), repr(chain), repr(chain.args), repr(vars(chain))]
        texts += getattr(chain, "__notes__", [])
        chain = chain.__cause__ or chain.__context__
    texts.append(repr(vars(pickle.loads(pickle.dumps(error)))))
    return "\n".join(texts)


class Keys:
    """What a client signs in with, and how to tell whether a text has it."""

    def __init__(self, service: Service, make: Callable[..., KlingClient], kind: str) -> None:
        service.api_key = KEY
        keys = {"access_key": "access-key-4f9A", "secret_key": service.secret_key}
        self.client = make(**({} if kind == "an API key" else keys), retry_for=0.0, settle=0.0)
        self.client.list_tasks()
        sent = service.requests[0].headers["Authorization"].removeprefix("Bearer ")
        self.sent = sent
        self.all = [sent] if kind == "an API key" else [*keys.values(), *sent.split(".")[1:]]

    def check(self, text: str) -> None:
        for secret in self.all:
            for part in parts(secret, 10):
                assert part not in text, text


@pytest.fixture(params=["an API key", "a token"])
def keys(request: Any, service: Service, make: Callable[..., KlingClient]) -> Iterator[Keys]:
    keys = Keys(service, make, request.param)
    with keys.client:
        yield keys


@pytest.mark.parametrize("name", SPELLINGS)
def test_errors_hold_no_key(keys: Keys, service: Service, name: str) -> None:
    said = " ".join(SPELLINGS[name](secret) for secret in [keys.sent, *keys.all])
    reply = {"code": 0, "request_id": said, "data": {said: said}}
    for fault in (
        Fault(400, 1201, said),
        Fault(401, 1000, f"Authorization: Bearer {said}"),
        Fault(500, 5000, said),
        Fault(400, body=said.encode()),
        Fault(200, body=said.encode()),
        Fault(200, body=json.dumps(reply).encode()),
        Fault(200, body=json.dumps({**reply, "data": [said]}).encode()),
        Fault(400, body=json.dumps({**reply, "code": 1200, "message": said}).encode()),
        Fault(302, 0, headers={"Location": f"/x/{quote(said)}/y"}),
        Fault(302, 0, headers={"Location": f"https://evil.org/{quote(said)}?a=b"}),
        replying(status=3, reason=said, more=[{said: said}]),
    ):
        calls: list[Callable[[], object]] = [keys.client.list_tasks]
        if name == "as it is":
            calls.append(lambda: keys.client.preview_selection("session-1"))
            calls.append(lambda: keys.client.create_task("s", "removal", REMOVAL))
        for call in calls:
            service.faults["*"] = [fault] * 50
            with pytest.raises(kling.KlingError) as caught:
                call()
            keys.check(everything(caught.value))


def test_tasks_hold_no_key(keys: Keys, service: Service) -> None:
    said = f"cannot read for {keys.sent}, {' '.join(keys.all)}"
    service.faults["*"] = [
        replying(task_id=f"t {said}", task_status="failed", task_status_msg=said),
        replying(task_id=f"t {said}", task_status="failed", task_status_msg=said),
    ]
    task = keys.client.task(f"t {said}")
    assert task.task.task_id == f"t {said}"  # it can still be asked for
    for text in (repr(task), repr(task.task), task.task.task_status_msg):
        assert "[secret]" in text
        keys.check(text)
    with pytest.raises(kling.TaskFailedError) as caught:
        task.wait()
    assert "cannot read for [secret]" in str(caught.value)
    keys.check(everything(caught.value))


def test_masks_hold_no_key(keys: Keys, service: Service) -> None:
    """Nor do errors that are found only when a mask is asked for."""
    said = keys.sent
    rle = mask_at([], SIZE).to_rle()
    for entry in (
        {"object_id": said, "rle_mask": {"size": [said, 2], "counts": said}},
        {"object_id": said, "rle_mask": {"size": [2, 2], "counts": said}},
        {"object_id": said, "rle_mask": {said: said}},
        {"object_id": said, "rle_mask": said},
        {"object_id": said, "png_mask": {"base64": said}},
        {"object_id": said, "rle_mask": rle, "png_mask": {"base64": "AAAA"}},
    ):
        res = {"frame_index": 0, "rle_mask_list": [entry]}
        service.faults["/init-selection"] = []
        edit = keys.client.edit_video(video_id="v")
        service.faults["/add-selection"] = [replying(status=0, res=res)]
        selection = edit.add_selection(0, [POINT])
        for text in (repr(selection), repr(selection.reply), repr(selection.reply.objects[0])):
            keys.check(text)
        if entry.get("rle_mask") == rle:
            continue
        with pytest.raises(kling.BadReplyError) as caught:
            _ = selection.masks
        keys.check(everything(caught.value))
        with pytest.raises(kling.BadReplyError) as caught:
            _ = selection.reply.objects[0].png_mask
        keys.check(everything(caught.value))


def test_files_hold_no_key(keys: Keys, service: Service, tmp_path: Path) -> None:
    for content in (
        json.dumps({keys.sent: 5}),
        json.dumps({"0": {keys.sent: {"size": [1, 1], "counts": keys.sent}}}),
        json.dumps([{"frame_index": keys.sent, "results": []}]),
        keys.sent,
    ):
        with pytest.raises(kling.BadReplyError) as caught:
            read_tracking(content.encode())
        keys.check(everything(caught.value))
        with pytest.raises(kling.BadReplyError) as caught:
            parse_callback({}, f"[{json.dumps(content)}]".encode(), None)
        keys.check(everything(caught.value))
    path = f"/{quote(keys.sent, safe='')}/x.mp4"
    for faults in ([], [Fault(302, headers={"Location": path})], [Fault(cut=True)] * 999):
        service.files[path if len(faults) > 9 else "/none"] = bytes(1000)
        for get in (
            lambda: download.fetch(service.cdn_url + path, limits=SHORT),
            lambda: download.download(service.cdn_url + path, tmp_path / "a.mp4", limits=SHORT),
        ):
            service.cdn_faults = list(faults)
            with pytest.raises(kling.KlingError) as failed:
                get()
            keys.check(everything(failed.value))


def test_logs_hold_no_key(keys: Keys, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said, transport = keys.sent, keys.client._transport
    transport.limits = transport.limits._replace(retry_for=8.0)
    service.faults["*"] = [Fault(500, 5000, said), Fault(429, 1302, said)]
    keys.client.list_tasks()
    keys.client.create_task("s", "removal", REMOVAL, external_task_id=f"for {said}")
    service.faults["*"] = [replying(session_id=said, fps=30, original_duration=5000, total_frame=9)]
    edit = keys.client.edit_video(video_id="v")
    assert edit.session_id == said
    service.sessions[said] = {}
    service.faults["/add-selection"] = [Fault(reset="after")]
    edit.add_selection(0, [POINT])
    keys.check(repr(edit))
    header = OK + b"no header " + said.encode() + b"\r\nContent-Length: 3\r\n\r\nabc"
    with answering(says(header)) as url:
        assert download.fetch(f"{url}/{quote(said, safe='')}") == b"abc"
    formatter = logging.Formatter()
    lines = [formatter.format(record) for record in caplog.records]
    assert any("Failed to parse headers" in line for line in lines)
    assert any("setting its points again" in line for line in lines)
    assert sum("[secret]" in line for line in lines) >= 5
    for record, line in zip(caplog.records, lines, strict=True):
        keys.check(line + repr(vars(record)))


def test_a_client_whose_address_has_the_key() -> None:
    client = KlingClient(KEY, base_url=f"https://gateway.example.org/{quote(KEY, safe='')}/kling")
    assert repr(client) == "KlingClient('https://gateway.example.org/[secret]/kling')"


def test_texts_of_a_client_that_is_gone(service: Service, make: Callable[..., KlingClient]) -> None:
    service.api_key = KEY
    service.faults["*"] = [replying(task_id=KEY, task_status="submitted", task_status_msg=KEY)]
    with make() as client:
        task = client.get_task(KEY)
    del client
    assert KEY not in repr(task)
    assert KEY not in str(kling.BadReplyError(f"about {KEY}"))


def test_secrets_stay_secret(
    service: Service,
    make: Callable[..., KlingClient],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """In no repr, error or log line, that of urllib3 included, whatever is done and fails."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    service.polls_until_done = 0
    secrets = [service.api_key, service.secret_key, "access-key-for-tests", "hidden"]
    keys = {"access_key": "access-key-for-tests", "secret_key": service.secret_key}
    for options, own in (({}, service.api_key), (keys, " ".join(keys.values()))):
        leaks = f"bad {own} Bearer eyJhbGciOi.abc.def, see {service.cdn_url}/x.mp4?sign=hidden"
        with make(retry_for=0.2, settle=0.1, **options) as client:
            told += [repr(client), str(vars(client)), repr(client._transport.auth)]
            for fault in (
                Fault(400, 1201, leaks),
                Fault(200, body=leaks.encode()),
                Fault(500, 5000, leaks),
                Fault(302, 0, headers={"Location": "https://evil.org/?token=hidden"}),
                Fault(reset="after"),
            ):
                service.faults["*"] = [fault] * 50
                for call in (
                    client.list_tasks,
                    lambda client=client: client.create_task("s", "removal", REMOVAL),
                ):
                    with pytest.raises(kling.KlingError) as caught:
                        call()
                    chain: BaseException | None = caught.value
                    while chain is not None:  # only errors of ours, without their requests
                        assert isinstance(chain, kling.KlingError)
                        told += [str(chain), repr(chain), str(vars(chain))]
                        chain = chain.__cause__ or chain.__context__
            service.faults["*"] = []
            edit = client.edit_video(video_id="v")
            selection = edit.add_selection(0, [POINT])
            preview = edit.preview()
            assert len(preview.tracking()) == 3
            service.cdn_faults += [
                Fault(cut=True),
                Fault(302, headers={"Location": "/result.mp4?sign=hidden"}),
            ]
            preview.download(tmp_path / "preview.mp4")
            task = edit.submit("removal", REMOVAL).wait()
            task.download(tmp_path / "out.mp4")
            service.cdn_faults += [Fault(404), Fault(404)]
            for get in (preview.tracking, lambda task=task: task.download(tmp_path / "no.mp4")):
                with pytest.raises(kling.BadReplyError) as missing:
                    get()
                told.append(str(missing.value))
            told += [repr(one) for one in (edit, selection, preview, task, edit.reply, task.task)]
            told += [repr(preview.reply), repr(task.video)]
    lines = [record.getMessage() for record in caplog.records]
    assert sum("/result.mp4?[...]" in line for line in lines) >= 4  # urllib3's lines are there
    assert any("eyJ" in header for header in (r.headers["Authorization"] for r in service.requests))
    for text in told + lines:
        assert "eyJ" not in text
        for secret in secrets:
            assert secret not in text, text


def test_secrets_in_other_spellings(service: Service, make: Callable[..., KlingClient]) -> None:
    """A key in a reply that is not understood, or in an id, as JSON or a URL would have it."""
    service.api_key = 'key/with"signs+'
    spelt = ['key/with\\"signs+', 'key\\/with\\"signs+', "key%2Fwith%22signs%2B"]
    for spelling in spelt:
        service.faults["*"] += [
            Fault(400, body=f"{{'key': '{spelling}'}}".encode()),
            Fault(400, body=b'{"code": 1200, "request_id": "%b"}' % b'key/with\\"signs+'),
            Fault(200, body=json.dumps({"code": 0, "data": [{spelling: 1}]}).encode()),
        ]
        for _ in range(3):
            with make() as client, pytest.raises(kling.KlingError) as caught:
                client.list_tasks()
            assert "[secret]" in str(caught.value)
            assert "signs" not in str(caught.value)


def test_tokens_that_were_renewed_stay_secret(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    """Until they end, they are valid."""
    with make(access_key="access", secret_key=service.secret_key) as client:
        service.faults["*"] += [Fault(401, 1004)]
        client.list_tasks()
        first, second = (r.headers["Authorization"].split()[1] for r in service.requests)
        assert first != second  # although they are of the same second
        service.faults["*"] += [Fault(400, 1200, f"{first}, {second}")]
        with pytest.raises(kling.InvalidRequestError, match=r"\[secret\], \[secret\]"):
            client.list_tasks()


def test_no_error_of_a_download_has_its_url_for_context(service: Service, tmp_path: Path) -> None:
    """A query may sign; what cannot be reached is not shown with it either."""
    limits = TimeLimits((0.5, 0.5), 0.0)
    service.cdn_faults += [Fault(cut=True), Fault(cut=True)]
    for base in ("http://127.0.0.1:9", service.cdn_url):
        url = f"{base}/result.mp4?sign=hidden"
        for get in (
            lambda url=url: download.fetch(url, limits=limits),
            lambda url=url: download.download(url, tmp_path / "a.mp4", limits=limits),
        ):
            with pytest.raises(kling.RequestConnectionError) as caught:
                get()
            assert caught.value.__context__ is caught.value.__cause__ is None
            assert "hidden" not in str(caught.value)
