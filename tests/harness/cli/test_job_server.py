"""Jobs in forks of a server are, from outside, as if each had been started by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.cli import job_server
from harness.cli.job_client import VARIABLE, same_environment

SERVER = """
import os, signal, sys, time
from harness.cli.job_server import listen, serve

def run(arguments):
    what, *rest = arguments
    if what == "say":
        print(os.getcwd(), os.environ.get("SHLVL"), *rest)
        print("beside", file=sys.stderr)
        return 3
    if what == "leave":
        sys.exit(5)
    if what == "fail":
        raise RuntimeError("broken in the job")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    open(rest[0], "w").write(str(os.getpid()))
    time.sleep(float(rest[1]))
    open(rest[0] + ".done", "w")
    return 0

serve(listen(sys.argv[1]), run, sys.stdin.buffer, dict(os.environ))
"""
CLIENT = """
import sys
from harness.cli.job_client import handed_over
code = handed_over(sys.argv[1:])
sys.exit(77 if code is None else code)
"""
OWN = 77
Client = Callable[..., "subprocess.Popen[str]"]


def environment() -> dict[str, str]:
    # pytest's own variable changes while a test runs.
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def server(socket_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", SERVER, str(socket_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment()) as process:
        until(socket_path.exists)
        yield process
        process.kill()


@pytest.fixture
def client(socket_path: Path, tmp_path: Path) -> Iterator[Client]:
    processes = []

    def started(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, *arguments],
            env=environment() | {VARIABLE: str(socket_path)} | variables,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        with process:
            pass


@pytest.mark.usefixtures("server")
def test_a_job_has_its_clients_streams_folder_and_exit_code(client: Client, tmp_path: Path) -> None:
    job = client("say", "hello", SHLVL="9")
    assert job.communicate() == (f"{tmp_path} 9 hello\n", "beside\n")
    assert job.returncode == 3


@pytest.mark.usefixtures("server")
def test_an_exit_and_a_traceback_of_a_job_are_its_clients(client: Client) -> None:
    assert client("leave").wait() == 5
    job = client("fail")
    assert "RuntimeError: broken in the job" in job.communicate()[1]
    assert job.returncode == 1


@pytest.mark.usefixtures("server")
def test_a_signal_that_ends_a_job_ends_its_client_and_no_other(client: Client) -> None:
    assert client("die").wait() == -signal.SIGKILL
    assert client("leave").wait() == 5


@pytest.mark.usefixtures("server")
def test_a_short_job_does_not_wait_for_a_long_one(client: Client, tmp_path: Path) -> None:
    long = client("work", str(tmp_path / "long"), "60")
    until((tmp_path / "long").exists)
    assert client("leave").wait(timeout=20) == 5
    assert long.poll() is None


@pytest.mark.usefixtures("server")
def test_a_job_ends_with_its_client(client: Client, tmp_path: Path) -> None:
    job = client("work", str(tmp_path / "pid"), "60")
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    job.kill()
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_alive(pid))


@pytest.mark.usefixtures("server")
def test_a_client_with_another_environment_does_its_job_itself(client: Client) -> None:
    assert client("leave", HF_HUB_OFFLINE="other").wait() == OWN
    assert client("leave").wait() == 5


def test_a_client_without_a_server_does_its_job_itself(client: Client) -> None:
    assert client("leave").wait() == OWN


def test_a_run_that_ends_lets_jobs_finish_and_then_its_server_goes(
    server: subprocess.Popen[bytes], client: Client, tmp_path: Path
) -> None:
    job = client("work", str(tmp_path / "job"), "1")
    until((tmp_path / "job").exists)
    assert server.stdin is not None
    server.stdin.close()
    assert job.wait() == 0 and (tmp_path / "job.done").exists()
    assert server.wait(timeout=20) == 0
    assert client("leave").wait() == OWN


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_server_takes_its_jobs_along_and_says_so(
    server: subprocess.Popen[bytes], client: Client, tmp_path: Path
) -> None:
    job = client("work", str(tmp_path / "pid"), "60")
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    server.kill()
    assert "ended before its job" in job.communicate()[1]
    assert job.returncode == 1
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_alive(pid))


def test_only_what_shells_change_may_differ() -> None:
    here = {"PATH": "a", "OMP_NUM_THREADS": "1"}
    assert same_environment(here, here | {"PATH": "b", "PWD": "/"})
    assert not same_environment(here, here | {"OMP_NUM_THREADS": "2"})
    assert not same_environment(here, here | {"HF_HOME": "x"})


def test_the_real_server_does_the_verbs_of_jobs_and_ends_with_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    started = job_server.start()
    try:
        # Where a fork is asked for, the server must have been it: a path of a job that is no JSON.
        command = [sys.executable, "-m", "harness", "table", "--job", "missing.json"]
        environment = dict(os.environ) | dict.fromkeys(job_server._THREADS, "1")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "missing.json is missing" in done.stderr
        folder = Path(os.environ[VARIABLE]).parent
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        assert started.stdin is not None
        started.stdin.close()
        assert started.wait(timeout=60) == 0
    assert not folder.exists()
