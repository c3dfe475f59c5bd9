"""The way to a Docker Engine, for whoever needs one: where it is, the SDK (imported here alone), its errors in words.

Where: ``DOCKER_HOST``, else the Docker context in use, else the default sockets; ``unix://``, ``tcp://`` and ``ssh://``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import MlcliError, TransportError, UnsupportedError
from mlcli.json_files import read_record

if TYPE_CHECKING:
    from docker import DockerClient

RUN = "mlcli.run"  # every container of ours has this label: the run's name, or nothing for one that only looks into an image
TIMEOUT_S = 60
_REACH_S = 5  # an engine on another machine that does not answer must not hold up whoever only looks
_DEFAULT_SOCKET = "/var/run/docker.sock"


class EngineRefusedError(TransportError):
    """The engine has answered, and will not. ``status``: the answer's HTTP status (404: no such thing, 409: in its way)."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, transient=status >= 500)
        self.status = status


def base_url() -> str | None:
    """Where the engine is, without asking it; None when there is no sign of one. Imports nothing."""
    given = os.environ.get("DOCKER_HOST")
    if given:
        return given
    return _url_of_context() or next((f"unix://{path}" for path in _sockets() if os.path.exists(path)), None)  # noqa: PTH110


def is_local(url: str) -> bool:
    """Whether the engine is on this machine, so that it can mount this machine's folders."""
    return url.startswith(("unix://", "npipe://", "http+unix://"))


def container_name(run: str, run_folder: str) -> str:
    """The name of a run's container: one a run folder, so that a job cannot be started twice."""
    import hashlib

    return f"mlcli-{run}-{hashlib.sha256(run_folder.encode()).hexdigest()[:8]}"


def shell_hint(container: str) -> str:
    """The command that gives a shell in what a container was, with its folders: it may have ended by now."""
    return f"docker run --rm -it --volumes-from {container} --entrypoint /bin/sh $(docker commit {container})"


def connect(url: str | None = None) -> DockerClient:
    """A client of the engine at ``url`` (default: :func:`base_url`), one a process. Asks the engine for its version.

    Raises UnsupportedError without the SDK, TransportError (transient) when no engine answers.
    """
    where = url or base_url()
    if where is None:
        raise TransportError(
            "there is no Docker Engine here",
            transient=True,
            hint="install and start Docker, or name an engine with DOCKER_HOST",
        )
    return _connected(where)


@lru_cache(maxsize=8)
def _connected(url: str) -> DockerClient:
    docker = _sdk(url)
    is_tcp = _address(docker, url).startswith(("http://", "https://"))
    with errors(f"the Docker Engine at {url}"):
        timeout = (_REACH_S, TIMEOUT_S) if is_tcp else TIMEOUT_S  # as requests takes it
        client: DockerClient = docker.DockerClient(
            base_url=url, timeout=timeout, use_ssh_client=url.startswith("ssh://"), tls=_tls(docker, url)
        )
        return client


def _address(docker: Any, url: str) -> str:
    """The URL as the SDK writes it."""
    try:
        address: str = docker.utils.parse_host(url)
    except (docker.errors.DockerException, ValueError) as odd:
        raise TransportError(
            f"{url!r} is not the address of a Docker Engine: {odd}",
            transient=False,
            hint="set DOCKER_HOST to one like unix:///var/run/docker.sock, tcp://HOST:2375 or ssh://USER@HOST",
        ) from odd
    return address


@contextmanager
def errors(what: str) -> Iterator[None]:
    """Turn what the SDK raises into ours: no answer is transient, a refusal is final. ``what`` begins the sentence."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as refused:
        raise EngineRefusedError(f"{what}: {explanation(refused)}", status=refused.status_code or 500) from refused
    except (DockerException, RequestException, HTTPError, OSError) as failed:
        raise TransportError(
            f"{what} does not answer: {_reason(failed)}",
            transient=True,
            hint="is Docker running, and may you use it? try: docker info",
        ) from failed


def explanation(refused: Any) -> str:
    """The engine's own words of an APIError, on one line."""
    return " ".join(str(refused.explanation or refused).split())


def _reason(failed: Exception) -> str:
    """The innermost cause: requests and urllib3 wrap it several times over."""
    cause: BaseException = failed
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return getattr(cause, "strerror", None) or " ".join(str(cause).split())[:300]


def _sdk(url: str) -> Any:
    """The SDK. For any engine but one behind ssh without paramiko, half of whose import it would be."""
    try:
        if not url.startswith("ssh://"):
            with _hidden("paramiko"):
                import docker

                return docker
        import docker.transport

        if not hasattr(docker.transport, "SSHHTTPAdapter"):  # imported before without it
            import importlib

            import docker.api.client

            importlib.reload(docker.transport)
            importlib.reload(docker.api.client)
        return docker
    except ImportError as missing:
        raise UnsupportedError(
            "running in containers needs the package 'docker', which is damaged or not installed",
            hint="pip install docker",
        ) from missing


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let an optional import of ``module`` fail inside, unless it is imported already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def _tls(docker: Any, url: str) -> Any:
    """What DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say, as the docker command reads them."""
    if not url.startswith(("tcp://", "https://")):
        return False
    return docker.utils.kwargs_from_env().get("tls", False)


def _url_of_context() -> str | None:
    """The engine of the context that ``docker context use`` or DOCKER_CONTEXT chose; None for the default one."""
    import hashlib

    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    name = os.environ.get("DOCKER_CONTEXT") or (read_record(folder / "config.json") or {}).get("currentContext")
    if not name or name == "default":
        return None
    digest = hashlib.sha256(name.encode()).hexdigest()
    context = read_record(folder / "contexts" / "meta" / digest / "meta.json")
    if not context:
        raise MlcliError(f"there is no Docker context {name!r}", hint="see: docker context ls")
    host = context.get("Endpoints", {}).get("docker", {}).get("Host")
    return str(host) if host else None


def _sockets() -> Iterator[str]:
    """The default socket, the rootless one, Docker Desktop's."""
    yield _DEFAULT_SOCKET
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield f"{runtime}/docker.sock"
    yield os.path.expanduser("~/.docker/run/docker.sock")  # noqa: PTH111
