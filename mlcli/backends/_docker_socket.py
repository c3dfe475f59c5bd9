"""Where the Docker Engine of a machine listens, found out there: sent to it as text, run by its own Python, answered as JSON.

Standard library only, Python >= 3.8, imports nothing of mlcli. The same order as in ``mlcli.docker_engine``.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from pathlib import Path

PATIENCE_S = 5.0
UNIX = "unix://"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def find() -> dict[str, str]:
    """``path`` of a socket at which somebody listens, else ``problem``: why there is none."""
    given = os.environ.get("DOCKER_HOST") or of_context()
    if given and not given.startswith(UNIX):
        return {"problem": f"its Docker Engine is at {given}, and only one at a socket of the machine can be used"}
    problem = "there is no Docker Engine"
    for path in [given[len(UNIX) :]] if given else usual():
        try:
            with socket.socket(socket.AF_UNIX) as knock:
                knock.settimeout(PATIENCE_S)
                knock.connect(path)
            return {"path": path}
        except FileNotFoundError:
            continue
        except OSError as refused:
            problem = f"the Docker Engine at {path} cannot be used: {refused.strerror or refused}"
    return {"problem": problem}


def usual() -> list[str]:
    """The default socket, the rootless one, Docker Desktop's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    of_home = [str(Path.home() / ".docker" / folder / "docker.sock") for folder in ("run", "desktop")]
    return ["/var/run/docker.sock", f"{runtime}/docker.sock", *of_home]


def of_context() -> str | None:
    """The address of the Docker context in use; None for the default one."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = os.environ.get("DOCKER_CONTEXT") or record(folder / "config.json").get("currentContext") or "default"
    if name == "default":
        return None
    digest = hashlib.sha256(name.encode()).hexdigest()
    context = record(folder / "contexts" / "meta" / digest / "meta.json")
    host = context.get("Endpoints", {}).get("docker", {}).get("Host")
    return str(host) if host else None


def record(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(find()))
