"""The in-job side of mlcli: starts one command, waits for it, ends it, and writes down how it ended.

It is copied to where the job runs, so it imports nothing of mlcli, needs only Python >= 3.8 on a POSIX system, and lives
as long as the job: modules that would cost it start-up time or memory (json, signal and enum behind it, subprocess,
argparse) stay out. Run as ``python -I -S -c "import sys; sys.path.append(FOLDER); import agent; agent.main()" VERB
FOLDER...``; each verb prints one line of JSON per run folder.

``start``    start what ``launch.json`` says, once; answers when the agent proper has taken over
``observe``  what is to be seen of the run: exited, running, starting, gone, absent, no_answer
``cancel``   ask for the end: TERM to every process of the run, KILL after its grace period
``list``     the files of a folder below the run folder, with their sizes

Files of a run folder that are its own:

``launch.json``  written by the backend (0600, it may hold secrets), removed when the command has been started
``agent.lock``   locked while somebody is starting the run
``agent.json``   who the agent and the command are: boot id, pid, start time
``cancel``       somebody asked for the end
``exit.json``    how the command ended; its space on the disk is reserved before the command starts
"""

from __future__ import annotations

import errno
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn
else:
    try:
        import _signal as signal  # the public module wraps the same functions in enums, which takes 9 ms to import
    except ImportError:
        import signal

VERSION = 1
LAUNCH, LOCK, AGENT, CANCEL, EXIT = "launch.json", "agent.lock", "agent.json", "cancel", "exit.json"
RESERVED = "exit.json.reserved"
AGENT_LOG = os.path.join("system_logs", "agent.log")
COOKIE = "MLCLI_RUN_COOKIE"
LONGEST_SELECT_S = 1e6
EXIT_RECORD_BYTES = 4096
LEFTOVER_POLL_S = 0.02
KILL_PATIENCE_S = 5.0
LINUX = sys.platform.startswith("linux")


# JSON without the json module, whose import (re, enum) would double the start-up time


class _Scan:
    """What CPython's own JSON scanner asks of the object it is made for."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def decode(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything else."""
    text = data.decode("utf-8").strip()
    try:
        from _json import make_scanner

        value, end = make_scanner(_Scan)(text, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    except (ImportError, AttributeError):
        import json

        return json.loads(text)
    if end != len(text):
        raise ValueError("not JSON: more follows the value")
    return value


def encode(value: Any) -> str:
    """JSON text, one line, ASCII, of None, booleans, finite numbers, texts, lists and dicts with text keys."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        return "{" + ", ".join(_quote(key) + ": " + encode(item) for key, item in value.items()) + "}"
    return "[" + ", ".join(encode(item) for item in value) + "]"


def _quote(text: str) -> str:
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii(text)


# Files


def _read(path: str) -> bytes | None:
    """A file's bytes, None when it is not there (or is a process that has just ended)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
    try:
        parts = []
        while True:
            part = os.read(file, 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
    except ProcessLookupError:
        return None
    finally:
        os.close(file)


def _record(folder: str, name: str) -> dict[str, Any] | None:
    data = _read(os.path.join(folder, name))
    return None if data is None else decode(data)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _write_record(folder: str, name: str, value: dict[str, Any]) -> None:
    path = os.path.join(folder, name)
    temporary = "%s.%d" % (path, os.getpid())
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(file, encode(value).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(temporary, path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# Processes


def identity(pid: int | None = None) -> dict[str, Any]:
    """``{"boot_id": str, "pid": int, "start_time": int}`` of a live process (None: this one).

    ``start_time`` counts clock ticks since boot (Linux, field 22 of ``/proc/PID/stat``) or seconds since 1970 (elsewhere).
    Raises ProcessLookupError when there is no such process.
    """
    pid = os.getpid() if pid is None else pid
    facts = _facts(pid)
    if facts is None:
        raise ProcessLookupError(errno.ESRCH, "no such process", str(pid))
    return {"boot_id": boot_id(), "pid": pid, "start_time": facts[2]}


def is_alive(who: dict[str, Any]) -> bool:
    """Whether exactly that process still runs here: same boot, same pid, same start time, not a zombie."""
    if who["boot_id"].partition("@")[0] != boot_id().partition("@")[0]:
        return False
    facts = _facts(who["pid"])
    return facts is not None and facts[2] == who["start_time"]


def is_foreign(who: dict[str, Any]) -> bool:
    """Whether the process belongs to another machine, so that nothing can be said of it from here."""
    boot, _, machine = who["boot_id"].partition("@")
    here, _, this_machine = boot_id().partition("@")
    return boot != here and machine != this_machine


def boot_id() -> str:
    """``BOOT@MACHINE``: BOOT is new after every restart (and in every container), MACHINE stays."""
    if not LINUX:
        return (_output(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]).strip() or "boot") + "@"
    boot = (_read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    machine = (_read("/etc/machine-id") or b"").decode().strip() or os.uname().nodename
    return "%s.%s@%s" % (boot, namespace, machine)


def _facts(pid: int) -> tuple[int, int, int] | None:
    """(process group, session, start time) of a live process; None when it is dead or a zombie."""
    if not LINUX:
        lines = parse_ps(_output(["ps", "-o", "pid=,pgid=,stat=,lstart=", "-p", str(pid)]))
        return lines.get(pid)
    try:
        data = _read("/proc/%d/stat" % pid)
    except PermissionError:  # hidepid: somebody else's
        return None
    if data is None:
        return None
    fields = data[data.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[2]), int(fields[3]), int(fields[19])


def parse_ps(text: str) -> dict[int, tuple[int, int, int]]:
    """pid -> (process group, 0, start in seconds since 1970) of what ``ps -o pid=,pgid=,stat=,lstart=`` printed in UTC.

    Zombies are left out. For systems without /proc.
    """
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    found = {}
    for line in text.splitlines():
        pid, group, state, _, month, day, clock, year = line.split()
        if state.startswith("Z"):
            continue
        hour, minute, second = (int(part) for part in clock.split(":"))
        days = _days(int(year), months.index(month) + 1, int(day))
        found[int(pid)] = (int(group), 0, ((days * 24 + hour) * 60 + minute) * 60 + second)
    return found


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a Gregorian date."""
    year, month = (year, month) if month > 2 else (year - 1, month + 12)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469


def _output(argv: list[str]) -> str:
    """What a short command prints, in the C locale and UTC; empty when it cannot be run."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writer, 1)
            os.execvpe(argv[0], argv, {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC0"})
        finally:
            os._exit(127)
    os.close(writer)
    with os.fdopen(reader, "rb") as output:
        text = output.read().decode("utf-8", "replace")
    os.waitpid(child, 0)
    return text


def _send(who: dict[str, Any], number: int) -> bool:
    """Send a signal to exactly that process, never to a later one with its pid; False when it is dead."""
    try:
        handle = os.pidfd_open(who["pid"]) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    except OSError:  # a kernel before 5.3
        handle = None
    try:
        if not is_alive(who):
            return False
        if handle is None:
            os.kill(who["pid"], number)
        else:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def _leftovers(command: dict[str, Any], cookie: str) -> list[int]:
    """Live processes of the run: in the command's session or group, or started with the run's cookie."""
    if not LINUX:
        table = parse_ps(_output(["ps", "-A", "-o", "pid=,pgid=,stat=,lstart="]))
        return [pid for pid, facts in table.items() if facts[0] == command["pid"]]
    user = os.geteuid()
    needle = ("%s=%s" % (COOKIE, cookie)).encode()
    leader = _facts(command["pid"])
    ours = leader is None or leader[2] == command["start_time"]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _belongs(int(name), command, needle, user, ours):
            found.append(int(name))
    return found


def _belongs(pid: int, command: dict[str, Any], needle: bytes, user: int, ours: bool) -> bool:
    """``ours``: the command's pid has not gone to a stranger, whose session would bear the same number."""
    try:
        if user not in (0, os.stat("/proc/%d" % pid).st_uid):
            return False
        facts = _facts(pid)
        if facts is None or facts[2] < command["start_time"] or pid == os.getpid():
            return False
        if ours and command["pid"] in facts[:2]:
            return True
        return needle in (_read("/proc/%d/environ" % pid) or b"").split(b"\0")
    except OSError:  # it has just ended, or is not ours to see
        return False


def _signal_all(command: dict[str, Any], cookie: str, number: int) -> list[int]:
    """Signal every process of the run; those that were there."""
    found = _leftovers(command, cookie)
    for pid in found:
        try:
            os.kill(pid, number)
        except OSError:
            pass
    return found


def _end_leftovers(command: dict[str, Any], cookie: str, grace_s: float) -> list[int]:
    """TERM to what is left of the run, KILL after the grace period; the pids that even KILL could not end."""
    if not _signal_all(command, cookie, signal.SIGTERM):
        return []
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        time.sleep(LEFTOVER_POLL_S)
        if not _leftovers(command, cookie):
            return []
    deadline = time.monotonic() + KILL_PATIENCE_S
    while _signal_all(command, cookie, signal.SIGKILL):
        if time.monotonic() > deadline:
            return _leftovers(command, cookie)
        time.sleep(LEFTOVER_POLL_S)
    return []
