"""``python -m harness serve --rewards NAME ...``: rewards and benchmarks over HTTP."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from harness.base.errors import SpecError
from harness.scorers import load
from hypernoise.weights.pins import Missing

_PACKAGES = ("fastapi", "uvicorn")
#: How long requests that came before the stop may take, in seconds.
_STOPPING_S = 120


def run(
    rewards: Sequence[str],
    components: Sequence[Path],
    host: str,
    port: int,
    token_file: Path | None,
    batch_size: int,
    images: int,
    megabytes: int,
) -> None:
    """Serve until a signal comes; what was asked before is answered.

    Args:
        rewards: names of rewards and of benchmarks.
        host: the address to listen at; any but a loopback one needs a token.
        port: 0 takes one that is free, and says which.
        token_file: holds what callers have to send.
        batch_size: images that are scored together.
        images, megabytes: of one request at most.

    Raises:
        SpecError: a name is unknown, or a token is missing or empty.
        FileNotFoundError: a package, weights or the token's file are missing.
        ValueError: a reward or benchmark cannot be loaded.
        OSError: the port is taken.
    """
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise Missing(
                f"serving needs the package {package}",
                f"package {package}",
                "pip install 'hypernoise[serve]'",
            )
    token = _token(token_file, host)
    import uvicorn

    from harness.scorers.service import Limits, service

    names = list(dict.fromkeys(rewards))
    scorers = [load(name, components=components, batch_size=batch_size) for name in names]
    limits = Limits(together=batch_size, images=images, body_bytes=megabytes * 2**20)
    config = uvicorn.Config(
        service(scorers, limits, token),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=_STOPPING_S,
    )
    listening = config.bind_socket()
    # Who reads the line below may ask at once; what comes before the server runs waits for it.
    listening.listen(config.backlog)
    place = listening.getsockname()[1]
    print(f"serving {', '.join(names)} at http://{host}:{place}, documented at /docs", flush=True)
    uvicorn.Server(config).run([listening])


def _token(file: Path | None, host: str) -> str:
    """What callers have to send; empty where nobody has to."""
    if file is not None:
        token = file.read_text(encoding="utf-8").strip()
        if not token:
            raise SpecError(f"{file} holds no token")
        return token
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise SpecError(
            f"host {host!r} can be reached from other machines: name a file with a token for them "
            "with --token-file, or serve on 127.0.0.1"
        )
    return ""
