"""Rewards and benchmarks over HTTP: nothing is lost, and nobody is let in who should not be."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import uvicorn
from paths import REPOSITORY
from PIL import Image

from harness.base.errors import SpecError
from harness.cli import serve
from harness.scorers import Scorer, load
from harness.scorers.service import Limits, service

SMALL = Limits(together=8, images=16, body_bytes=200_000, pixels=64 * 64, waiting=64)


def png(red: int, size: tuple[int, int] = (8, 8)) -> str:
    kept = io.BytesIO()
    Image.new("RGB", size, (red, 0, 0)).save(kept, "PNG")
    return base64.b64encode(kept.getvalue()).decode()


@contextmanager
def served(scorers: list[Scorer], limits: Limits = SMALL, token: str = "") -> Iterator[int]:
    """The port at which they are served."""
    config = uvicorn.Config(service(scorers, limits, token), port=0, log_level="error")
    listening = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        port = listening.getsockname()[1]
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served([load("redness"), load("shapeworld")]) as place:
        yield place


def asked(
    port: int, body: Any, name: str = "redness", token: str = "", raw: bytes = b""
) -> tuple[int, Any]:
    """Status and answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("POST", f"/score/{name}", raw or json.dumps(body), headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def request(*reds: int) -> dict[str, Any]:
    return {"prompts": ["red"] * len(reds), "images": [png(red) for red in reds]}


def test_scores_are_those_of_the_scorer(port: int) -> None:
    status, given = asked(port, request(0, 51, 255))
    assert status == 200
    assert [row["redness"] for row in given["scores"]] == pytest.approx([0, 0.2, 1])
    assert given["cut_prompts"] == []


def test_a_benchmark_takes_its_own_prompts_and_others_with_metadata(port: int) -> None:
    metadata = {
        "tag": "single_object",
        "include": [{"class": "circle", "count": 1}],
        "prompt": "a photo of a circle",
    }
    one = {"prompt": metadata["prompt"], "task": "single_object", "metadata": metadata}
    status, given = asked(port, {"prompts": [one], "images": [png(0, (32, 32))]}, "shapeworld")
    assert status == 200, given
    (scores,), (details,) = given["scores"], given["details"]
    assert list(scores.values()) == [0.0] and all(details.values())


def test_many_callers_at_once_each_get_their_own(port: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        reds = [[(7 * n + k) % 256 for k in range(1 + n % 5)] for n in range(60)]
        answers = list(pool.map(lambda some: asked(port, request(*some)), reds))
    for some, (status, given) in zip(reds, answers, strict=True):
        assert status == 200
        wanted = [red / 255 for red in some]
        assert [row["redness"] for row in given["scores"]] == pytest.approx(wanted)


BROKEN = base64.b64encode(b"no image").decode()
#: Body, status, and what is said.
FAULTS: tuple[tuple[Any, int, str], ...] = (
    ({"prompts": ["a"], "images": ["%%%"]}, 422, "images[0] is no base64"),
    ({"prompts": ["a"], "images": [BROKEN]}, 422, "images[0] cannot be read"),
    ({"prompts": ["a"], "images": [png(0)[:60]]}, 422, "images[0] cannot be read"),
    ({"prompts": ["a"], "images": [png(0, (65, 64))]}, 422, "images[0] has 65 x 64 pixels"),
    ({"prompts": ["a", "b"], "images": [png(0)]}, 422, "there are 1 images and 2 prompts"),
    ({"prompts": ["a"]}, 422, "images: Field required"),
    ({"prompts": ["a"], "images": [png(0)], "reward": "x"}, 422, "reward: Extra inputs"),
    ({"prompts": [], "images": []}, 422, "prompts: List should have at least 1 item"),
    (request(*range(17)), 413, "a request has at most 16 images, got 17"),
    ({"prompts": ["a" * 300_000], "images": [png(0)]}, 413, "at most 200000 bytes"),
)


@pytest.mark.parametrize(("body", "status", "said"), FAULTS)
def test_a_bad_request_is_told_what_is_wrong_with_it(
    port: int, body: Any, status: int, said: str
) -> None:
    found, given = asked(port, body)
    assert found == status and said in given["detail"]
    assert len(given["detail"]) < 500
    assert asked(port, request(255))[0] == 200


def test_a_body_that_does_not_say_its_size_is_counted(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    parts = iter([b'{"prompts": ["', *[b"a" * 50_000] * 6, b'"]}'])
    connection.request("POST", "/score/redness", parts, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


def test_other_names_and_broken_json_are_refused(port: int) -> None:
    status, given = asked(port, request(1), "rednes")
    assert status == 404 and "unknown scorer 'rednes'; did you mean 'redness'" in given["detail"]
    status, given = asked(port, None, raw=b"{")
    assert status == 422 and "JSON decode error" in given["detail"]


def test_it_says_what_it_serves(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/health")
    given = json.loads(connection.getresponse().read())
    assert given["status"] == "ok"
    assert [one["name"] for one in given["scorers"]] == ["redness", "shapeworld"]
    assert all(one["metrics"] and one["waiting_images"] == 0 for one in given["scorers"])
    connection.request("GET", "/openapi.json")
    assert "/score/{name}" in json.loads(connection.getresponse().read())["paths"]
    connection.close()


def test_without_the_token_nobody_is_answered() -> None:
    with served([load("redness")], token="a secret") as port:
        for sent in ("", "a secre", "ä secret"[1:]):
            status, given = asked(port, request(1), token=sent)
            assert status == 401 and given == {"detail": "a token is needed"}
        assert asked(port, request(1), token="a secret")[0] == 200


class Slow:
    """A scorer's measure that waits to be let go, and fails where an image is all red."""

    def __init__(self) -> None:
        self.scorer = load("redness")
        self._score = self.scorer._measure.score
        self.scorer._measure.score = self.score  # type: ignore[method-assign]
        self.go, self.begun, self.sizes = threading.Event(), threading.Event(), list[int]()

    def score(self, images: Any, prompts: Any) -> Any:
        self.begun.set()
        assert self.go.wait(60)
        self.sizes.append(len(images))
        if (images[:, 0] == 1).all(axis=(1, 2)).any():
            raise ValueError("an image is too red")
        return self._score(images, prompts)


def test_what_waits_is_scored_together_and_one_that_fails_fails_alone() -> None:
    slow = Slow()
    with served([slow.scorer]) as port, ThreadPoolExecutor(8) as pool:
        first = pool.submit(asked, port, request(1))
        assert slow.begun.wait(60)
        others = [pool.submit(asked, port, request(red, red)) for red in (10, 255, 20)]
        waits_for(port, 6)
        slow.go.set()
        assert first.result()[0] == 200
        found = [one.result() for one in others]
    assert [status for status, _ in found] == [200, 422, 200]
    assert found[1][1] == {"detail": "an image is too red"}
    assert found[2][1]["scores"][0]["redness"] == pytest.approx(20 / 255)
    # The first alone, then three together, which failed, then each of them.
    assert slow.sizes == [1, 6, 2, 2, 2]


def waits_for(port: int, images: int) -> None:
    """Until that many images wait."""
    for _ in range(600):
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", "/health")
        (one,) = json.loads(connection.getresponse().read())["scorers"]
        connection.close()
        if one["waiting_images"] == images:
            return
        time.sleep(0.05)
    raise AssertionError(f"{images} images never waited")


def test_a_caller_who_has_gone_costs_nothing_and_a_full_line_says_so() -> None:
    slow = Slow()
    with served([slow.scorer], Limits(together=4, waiting=6)) as port:
        with ThreadPoolExecutor(8) as pool:
            first = pool.submit(asked, port, request(1))
            assert slow.begun.wait(60)
            body = json.dumps(request(2, 2, 2, 2)).encode()
            gone = socket.create_connection(("127.0.0.1", port))
            gone.sendall(
                b"POST /score/redness HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            waits_for(port, 4)
            status, given = asked(port, request(3, 3, 3))
            assert status == 503 and "has 4 images waiting" in given["detail"]
            gone.close()
            time.sleep(1.5)
            slow.go.set()
            assert first.result()[0] == 200
        assert asked(port, request(4))[0] == 200
    assert slow.sizes == [1, 1]


def test_memory_stays_flat(port: int) -> None:
    body = {"prompts": ["a"] * 4, "images": [png(9, (64, 64))] * 4}
    own = psutil.Process()
    for _ in range(30):
        asked(port, body)
    before = own.memory_info().rss
    for _ in range(150):
        assert asked(port, body)[0] == 200
    # 150 requests of 600 images of 12 kB, which are 200 kB each as floats.
    assert own.memory_info().rss - before < 20 * 2**20


def test_a_stop_answers_what_was_asked_before(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    command = ["-m", "harness", "serve", "--rewards", "redness", "--port", "0", "--host", "0.0.0.0"]
    with (
        subprocess.Popen(
            [sys.executable, *command, "--token-file", str(tmp_path / "token")],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as running,
        ThreadPoolExecutor(8) as pool,
        ExitStack() as stack,
    ):
        # Whatever fails below: the server's context waits for its end.
        stack.callback(running.kill)
        assert running.stdout
        said = running.stdout.readline()
        assert said.startswith("serving redness at http://0.0.0.0:")
        port = int(said.split(":")[-1].split(",")[0])
        some = [pool.submit(asked, port, request(*[9] * 16), token="secret") for _ in range(8)]
        assert some[0].result()[0] == 200
        running.send_signal(signal.SIGTERM)
        errors = [one.exception() for one in some]
        # uvicorn raises the signal again once everything is answered.
        assert running.wait(120) in (0, -signal.SIGTERM)
    assert {one.result()[0] for one in some if one.exception() is None} == {200}
    # What came after the stop was never taken.
    assert all(error is None or isinstance(error, ConnectionError) for error in errors)


def test_the_client_that_is_shown_is_answered(port: int, tmp_path: Path) -> None:
    for n in (0, 255):
        Image.fromarray(np.full((8, 8, 3), (n, 0, 0), dtype=np.uint8)).save(tmp_path / f"{n}.png")
    script = REPOSITORY / "examples" / "own-scripts" / "score_client.py"
    given = [f"http://127.0.0.1:{port}/score/redness"]
    given += [word for n in (0, 255) for word in ("red", str(tmp_path / f"{n}.png"))]
    done = subprocess.run(
        [sys.executable, str(script), *given], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["{'redness': 0.0}", "{'redness': 1.0}"]


def test_addresses_that_others_reach_need_a_token(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"host '0\.0\.0\.0' can be reached from other machines"):
        serve._token(None, "0.0.0.0")
    assert [serve._token(None, host) for host in ("127.0.0.1", "::1", "localhost")] == [""] * 3
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SpecError, match="empty holds no token"):
        serve._token(tmp_path / "empty", "127.0.0.1")


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="serving needs the package fastapi"):
        serve.run(["redness"], [REPOSITORY / "workflows"], "127.0.0.1", 0, None, 8, 8, 8)
