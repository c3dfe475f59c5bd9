"""What the person told pip about indexes, certificates and proxies, in uv's words.

uv reads neither pip's configuration files nor its environment variables; many people have nothing else. Files and
their order are those of pip's documentation ("Configuration"): global, user, site, PIP_CONFIG_FILE, then PIP_* variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

# pip's setting -> (uv's variable, how uv separates many, what else already answers it)
_WORDS = {
    "index-url": ("UV_DEFAULT_INDEX", " ", ("UV_INDEX_URL",)),
    "extra-index-url": ("UV_INDEX", " ", ("UV_EXTRA_INDEX_URL",)),
    "find-links": ("UV_FIND_LINKS", ",", ()),
    "trusted-host": ("UV_INSECURE_HOST", " ", ()),
    "cert": ("SSL_CERT_FILE", " ", ()),
    "proxy": ("ALL_PROXY", " ", ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "all_proxy")),
}


def uv_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for uv that say what pip was told; what uv was told itself (``UV_*``) stands."""
    told = pip_settings(environment)
    answer = {}
    for setting, (variable, separator, others) in _WORDS.items():
        if setting in told and not any(name in environment for name in (variable, *others)):
            answer[variable] = separator.join(told[setting].split())
    return answer


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings in force for ``pip install``, by their long option names."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for file in _files(environment):
        parser = RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (Error, UnicodeDecodeError):
            continue  # pip's own complaint to make
        for section, found in sections.items():
            if parser.has_section(section):
                found.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    variables = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }
    return {**sections["global"], **sections["install"], **variables}


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    own = environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    home = Path(environment.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111  (never raises)
    for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    if sys.platform == "darwin":
        yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if own:
        yield Path(own)
