"""The in-job side of mlcli: starts one command, waits for it, ends it, and writes down how it ended.

It is copied to where the job runs, so it imports nothing of mlcli, needs only Python >= 3.8 on a POSIX system, and lives
as long as the job: modules that would cost it start-up time or memory (json, signal and enum behind it, subprocess,
argparse) stay out. Run by the command line that ``invocation`` gives; each verb prints one line of JSON per run folder.

``start``    start what ``launch.json`` says, once; answers when the agent proper has taken over
``observe``  what is to be seen of the run: exited, running, starting, gone, absent, no_answer
``cancel``   ask for the end: TERM to every process of the run, KILL after its grace period
``run``      as ``start``, in the foreground: the main process of a container, which ends with the command's exit code
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
ELSEWHERE = "tracking.json"
RESERVED = "exit.json.reserved"
AGENT_LOG = os.path.join("system_logs", "agent.log")
COOKIE = "MLCLI_RUN_COOKIE"
GROUP = "mlcli-run-"
LONGEST_SELECT_S = 1e6
EXIT_RECORD_BYTES = 4096
FULL_BYTES = 1 << 15
LEFTOVER_POLL_S = 0.02
LINGER_S = 2.0
YOUNG_S = 0.5
FEW = 50
KILL_PATIENCE_S = 5.0
CLAIM_PATIENCE_S = 10.0
NOT_STARTED = 125
ENDPOINT_PATIENCE_S = 10.0
ENDPOINT_SHORTEST_LIFE_S = 5.0
ENDPOINT_ATTEMPTS = 5
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./- ")  # nothing to a shell
FILES = (  # what is copied to where the job runs, relative to this file's folder
    "agent.py",
    "endpoint/__init__.py",
    "endpoint/calls.py",
    "endpoint/errors.py",
    "endpoint/fields.py",
    "endpoint/filters.py",
    "endpoint/lines.py",
    "endpoint/model_calls.py",
    "endpoint/pages.py",
    "endpoint/run.py",
    "endpoint/run_calls.py",
    "endpoint/server.py",
    "endpoint/store.py",
    "endpoint/wire.py",
)
ENDED_FROM_OUTSIDE = "ended by SIGTERM from outside mlcli: the machine or its container engine was stopped, or a batch system ended the job"
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

        value, end = make_scanner(_Scan)(text, 0)  # type: ignore[arg-type]
    except (ImportError, AttributeError, StopIteration, SystemError):
        # Another Python; or no JSON: without the json module loaded the scanner cannot say what is wrong with it.
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
        parts: list[bytes] = []
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
    if data is None:
        return None
    record = decode(data)
    if not isinstance(record, dict):
        raise ValueError(f"{name} is not a record")  # noqa: TRY004  (a damaged file, not a wrong call)
    return record


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _write_record(folder: str, name: str, value: dict[str, Any]) -> None:
    path = os.path.join(folder, name)
    temporary = f"{path}.{os.getpid()}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(file, encode(value).encode() + b"\n")
        os.fsync(file)
        os.rename(temporary, path)
    except OSError:
        _remove(temporary)
        raise
    finally:
        os.close(file)


def _remove(path: str) -> None:
    try:  # noqa: SIM105  (contextlib is one more module to import)
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
    return bool(boot != here and machine != this_machine)


_boot: list[str] = []  # what boot_id has found


def boot_id() -> str:
    """``BOOT@MACHINE``: BOOT is new after every restart (and in every container), MACHINE stays."""
    if not _boot:
        _boot.append(_boot_id())
    return _boot[0]


def _boot_id() -> str:
    if not LINUX:
        return (_output(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]).strip() or "boot") + "@"
    boot = (_read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:  # a sandbox that has none
        namespace = ""
    machine = (_read("/etc/machine-id") or b"").decode().strip() or os.uname().nodename
    return f"{boot}.{namespace}@{machine}"


def _facts(pid: int) -> tuple[int, int, int] | None:
    """(process group, session, start time) of a live process; None when it is dead or a zombie."""
    if not LINUX:
        lines = parse_ps(_output(["ps", "-o", "pid=,pgid=,stat=,lstart=", "-p", str(pid)]))
        return lines.get(pid)
    try:
        data = _read(f"/proc/{pid}/stat")
    except PermissionError:  # hidepid: somebody else's
        return None
    if data is None:
        return None
    fields = data[data.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[2]), int(fields[3]), int(fields[19])


def parse_ps(text: str) -> dict[int, tuple[int, int, int]]:
    """A map from pid to (process group, 0, start in seconds since 1970) of what ``ps -o pid=,pgid=,stat=,lstart=`` printed in UTC.

    Zombies are left out. For systems without /proc.
    """
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
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


class _Run:
    """The processes of one run: the command, and what it has started.

    ``held``: the command's pid cannot have gone to a stranger, because its parent (this process) has not reaped it.
    """

    def __init__(self, command: dict[str, Any], cookie: str, *, held: bool) -> None:
        self.command = command
        self.cookie = cookie
        self.held = held
        self._since = time.monotonic()
        self._asked_at: float | None = None

    def signal(self, number: int) -> list[int]:
        """Signal every live process of the run; those that were there."""
        found = self.processes()
        for pid in found:
            try:  # noqa: SIM105
                os.kill(pid, number)
            except OSError:
                pass
        return found

    def processes(self) -> list[int]:
        """Live processes in the command's session or group, or started with the run's cookie wherever they went."""
        leader = self.command["pid"]
        ours = self.held or is_alive(self.command)
        if not LINUX:
            table = parse_ps(_output(["ps", "-A", "-o", "pid=,pgid=,stat=,lstart="]))
            return [pid for pid, facts in table.items() if ours and facts[0] == leader]
        needle = f"{COOKIE}={self.cookie}".encode()
        since = self._pids_since()
        if since and len(since) <= FEW and not any(self._has(pid, needle, leader) for pid in since):
            return []
        first = leader if since else 0
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) >= first]
        return [pid for pid in pids if self._has(pid, needle, leader if ours else None)]

    def _pids_since(self) -> range:
        """The pids that were given out since the command's, where it was started so short a time ago that whatever came after
        it has a greater one, which spares a look at every process of the machine: pids do not go round twice in that time, and
        if they did once the last one is smaller. Else none.
        """
        if not self.held or time.monotonic() - self._since > YOUNG_S:
            return range(0)
        last = _read("/proc/sys/kernel/ns_last_pid")
        return range(self.command["pid"], int(last or 0) + 1)

    def _has(self, pid: int, needle: bytes, leader: int | None) -> bool:
        try:
            facts = _facts(pid)
            if facts is None or facts[2] < self.command["start_time"] or pid == os.getpid():
                return False
            if leader is not None and leader in facts[:2]:
                return True
            return needle in (_read(f"/proc/{pid}/environ") or b"").split(b"\0")
        except OSError:  # it has just ended, or is not ours to see
            return False

    def linger(self) -> bool:
        """Let what the command has left finish by itself, as the ``tee`` of ``exec > >(tee log)`` writes its last lines;
        whether something is left even so.
        """
        deadline = time.monotonic() + LINGER_S
        while self.processes():
            if time.monotonic() > deadline:
                return True
            time.sleep(LEFTOVER_POLL_S)
        return False

    def ask(self) -> list[int]:
        """TERM to every live process of the run, once; those that are there."""
        if self._asked_at is not None:  # to many programs a second TERM means: now
            return self.processes()
        self._asked_at = time.monotonic()
        return self.signal(signal.SIGTERM)

    def end(self, grace_s: float) -> tuple[list[int], list[int]]:
        """TERM to what is there, KILL when the grace period since then is over; (what was there, what even that left)."""
        found = left = self.ask()
        deadline = (self._asked_at or 0.0) + grace_s
        while left and time.monotonic() < deadline:
            time.sleep(LEFTOVER_POLL_S)
            left = self.processes()
        deadline = time.monotonic() + KILL_PATIENCE_S
        while left and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            time.sleep(LEFTOVER_POLL_S)
            left = self.processes()
        return found, left


# start: the starter, the agent proper, the command


def start(folder: str) -> dict[str, Any]:
    """Start what the run folder's ``launch.json`` says, unless somebody has; answers who the agent is.

    ``{"run_folder", "agent"}``, or ``{"run_folder", "exit"}`` when the run is over already (cancelled before it started),
    or ``{"run_folder", "error"}``: nothing was started, and why.
    """
    try:
        lock = _lock(folder)
        known = _begun(folder)
        if known is None:
            error = _fork_agent(folder, lock)
            known = _begun(folder) or {"error": error or "the agent ended before it could start the command"}
            _remove(os.path.join(folder, LAUNCH))  # nobody will read the secrets in it any more
        os.close(lock)
    except (OSError, ValueError, KeyError) as failed:
        known = {"error": _sentence(failed)}
    return dict(run_folder=folder, **known)


def _sentence(failed: Exception) -> str:
    if isinstance(failed, OSError) and failed.strerror:
        return f"{failed.strerror}: {failed.filename}" if failed.filename else failed.strerror
    return f"{type(failed).__name__}: {failed}"


def _begun(folder: str) -> dict[str, Any] | None:
    """What a start of a run that was started (or cancelled) before answers; its secrets are not kept any longer."""
    for key, name in (("agent", AGENT), ("exit", EXIT)):
        record = _record(folder, name)
        if record is not None:
            _remove(os.path.join(folder, LAUNCH))
            return {key: record}
    return None


def _lock(folder: str) -> int:
    """Wait for the right to start the run. Handed on by fork, so that it is free again only when the run has begun, or
    everybody who could begin it is dead.
    """
    from fcntl import LOCK_EX, flock

    path = os.path.join(folder, LOCK)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        flock(lock, LOCK_EX)
    except OSError as failed:
        if failed.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
        _claim_without_locks(folder, path + ".once")
    return lock


def _claim_without_locks(folder: str, path: str) -> None:
    """The first one to make the file starts the run, now or never; the others wait for what becomes of it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        deadline = time.monotonic() + CLAIM_PATIENCE_S
        while _begun(folder) is None:
            if time.monotonic() > deadline:
                raise
            time.sleep(LEFTOVER_POLL_S)


def _fork_agent(folder: str, lock: int) -> str:
    """Start the agent proper and wait until it has told who it is; why it could not, or nothing."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reader)
            _become_agent(folder, lock, writer)
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())  # a defect of ours: into the agent's log
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        return answer.read().decode("utf-8", "replace")


def _become_agent(folder: str, lock: int, answer: int) -> NoReturn:
    """The agent proper: a session of its own, no terminal, no stream that the starter's caller waits for."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    path = os.path.join(folder, AGENT_LOG)
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # no folder for it: not wanted
        log = null
    os.dup2(log, 2)
    _carry(folder, lock, answer)
    if log != null and os.fstat(log).st_size == 0:
        _remove(path)
    os._exit(0)


def _carry(folder: str, lock: int, answer: int) -> None:
    """Start the command, say so, wait for its end, write it down."""
    try:
        launch = _launch(folder)
        reserved = _reserve(folder)
        wake = _listen()
        launch["group"] = memory_group((launch.get("limits") or {}).get("memory_bytes"))
        tracking = _Tracking(folder, launch)
        child = _Child(folder, launch)
        command = identity(child.pid)
        _write_record(
            folder,
            AGENT,
            dict(
                identity(),
                version=VERSION,
                host=os.uname().nodename,
                command=command,
                cookie=launch["cookie"],
                grace_s=launch["grace_s"],
                started_at=time.time(),
            ),
        )
        _remove(os.path.join(folder, LAUNCH))
    except (OSError, ValueError, KeyError) as failed:
        _remove(os.path.join(folder, RESERVED))
        os.write(answer, _sentence(failed).encode())
        os.close(answer)
        return  # the child sees the end of its pipe, and goes
    started_at = time.time()
    os.close(answer)
    os.close(lock)
    why = child.release(launch)
    if why:
        os.waitpid(child.pid, 0)
        _remove_group(launch["group"])
        _finish(folder, reserved, _exit_record("not_started", None, started_at, why))
        return
    run = _Run(command, launch["cookie"], held=True)
    killed_before = _out_of_memory_kills(launch["group"])
    cause, status = _watch(run, wake, tracking, launch["timeout_s"], launch["grace_s"])
    record = _exit_record(cause, status, started_at, "")
    left, stubborn = ([], []) if cause == "exit" and not run.linger() else run.end(launch["grace_s"])
    out_of_memory = status != 0 and _out_of_memory_kills(launch["group"]) > killed_before
    tracking.end()
    message = _message(folder, cause, status, left, stubborn)
    if cause == "exit" and out_of_memory:
        message = "; ".join(filter(None, [f"killed: out of memory{_memory_limit(launch['group'])}", message]))
    _finish(folder, reserved, dict(record, message=message))
    if hasattr(os, "waitid"):  # else _status has reaped it already
        os.waitpid(child.pid, 0)
    _remove_group(launch["group"])


def _launch(folder: str) -> dict[str, Any]:
    launch = _record(folder, LAUNCH)
    if launch is None:
        raise FileNotFoundError(errno.ENOENT, "there is nothing to launch", os.path.join(folder, LAUNCH))
    if launch["version"] != VERSION:
        raise ValueError(f"launch.json is of version {launch['version']}, this agent reads {VERSION}")
    launch["cookie"] = os.urandom(16).hex()
    launch["variables"] = command_environment(dict(os.environ), launch["environment"], launch["cookie"])
    return launch


def _reserve(folder: str) -> int:
    """A file that exit.json will be renamed from, with its space on the disk taken now: a full disk must not keep a run
    from telling its end.
    """
    path = os.path.join(folder, RESERVED)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, EXIT_RECORD_BYTES)
            return file
        except OSError as failed:
            if failed.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    _write_all(file, b" " * EXIT_RECORD_BYTES)
    return file


def _exit_record(cause: str, status: int | None, started_at: float, message: str) -> dict[str, Any]:
    """``status``: the command's exit code, or minus the number of the signal that killed it."""
    number = -status if status is not None and status < 0 else None
    return {
        "cause": cause,
        "code": status if number is None else 128 + number,
        "signal": number,
        "started_at": started_at,
        "ended_at": max(started_at, time.time()),
        "message": message,
    }


def _finish(folder: str, reserved: int, record: dict[str, Any]) -> None:
    """Write exit.json so that it is there whole or not at all."""
    data = encode(dict(record, message=record["message"][:500])).encode() + b"\n"
    os.lseek(reserved, 0, os.SEEK_SET)
    _write_all(reserved, data)
    os.ftruncate(reserved, len(data))
    os.fsync(reserved)
    os.rename(os.path.join(folder, RESERVED), os.path.join(folder, EXIT))
    place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(place)  # the name, too, must survive a power cut
    os.close(place)


def _listen() -> int:
    """A pipe that gets a byte, its number, for each signal that matters here."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return reader


class _Child:
    """The command's process, forked but held back until the agent has written down who it is."""

    def __init__(self, folder: str, launch: dict[str, Any]) -> None:
        path = os.path.join(folder, launch["log"])
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        held, self._go = os.pipe()
        self._report, report = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._go)
                _become_command(launch, log, held, report)
            finally:
                os._exit(127)
        for file in (log, held, report):
            os.close(file)

    def release(self, launch: dict[str, Any]) -> str:
        """Let it become the command; why it could not, or nothing."""
        os.write(self._go, b"!")
        os.close(self._go)
        with os.fdopen(self._report, "rb") as report:
            told = report.read().decode()
        if not told:
            return ""
        stage, number = told.split()
        return why_not_started(stage, int(number), launch)


def _become_command(launch: dict[str, Any], log: int, held: int, report: int) -> None:
    """In the child: nothing of the agent's stays (signals, streams, session); then the command. Returns on failure."""
    stage = "session"
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        # Python ignores the last two for itself; a command expects to start with every default.
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(log, 1)
        os.dup2(log, 2)
        if not os.read(held, 1):
            return  # the agent is dead: nobody would know of the command
        stage = "chdir"
        os.chdir(launch["working_directory"])
        _take_limits(launch.get("limits") or {}, launch["group"])
        stage = "exec"
        environment = launch["variables"]
        environment.update(launch["tracking_variables"])
        _exec_plain(launch, environment)
        argv = command_argv(launch)
        os.execvpe(argv[0], argv, environment)
    except (OSError, ValueError) as failed:
        os.write(report, f"{stage} {getattr(failed, 'errno', None) or errno.EINVAL}".encode())


# Tracking: a port for MLflow's clients


class _Tracking:
    """The port at which the command may log, and the process that serves it from the first connection on.

    A job that never logs pays for a socket and nothing more. Nothing is offered to one that has a server of its own.
    """

    def __init__(self, folder: str, launch: dict[str, Any]) -> None:
        self._listener: Any = None
        self._pid = 0
        self._pipe = -1
        self._began = 0.0
        self._attempts = 0
        launch["tracking_variables"] = {}
        facts = launch.get("tracking")
        environment = launch["variables"]
        if not facts:
            return
        if tracks_elsewhere(environment):
            _write_record(folder, ELSEWHERE, elsewhere(environment))
            return
        try:
            self._listener = _loopback()
        except OSError as refused:
            sys.stderr.write(f"no tracking: {_sentence(refused)}\n")
            return
        token = os.urandom(24).hex()
        port = self._listener.getsockname()[1]
        own = {"MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"} & set(launch["environment"]["set"])
        launch["tracking_variables"] = tracking_variables(environment, facts, port, token, own_experiment=bool(own))
        self._facts = dict(
            facts,
            folder=folder,
            token=token,
            working_directory=launch["working_directory"],
            user=user_of(environment),
            started_at_ms=int(time.time() * 1000),
        )

    def unattended(self) -> list[int]:
        """What tells of a client that nobody serves."""
        return [self._listener.fileno()] if self._listener is not None and not self._pid else []

    def attend(self, ready: list[int]) -> None:
        """Start the server when a client is there; notice when it has died: the next client starts it again."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            os.close(self._pipe)
            self._pid = 0
            self._attempts = 0 if time.monotonic() - self._began > ENDPOINT_SHORTEST_LIFE_S else self._attempts + 1
            if self._attempts == ENDPOINT_ATTEMPTS:
                self._give_up()
        elif any(file in ready for file in self.unattended()):
            try:
                self._start()
            except OSError as failed:  # no more processes, no more files
                sys.stderr.write(f"no tracking: {_sentence(failed)}\n")
                self._give_up()

    def _give_up(self) -> None:
        """From now on clients are refused, and say so."""
        self._listener.close()
        self._listener = None

    def _start(self) -> None:
        said, self._pipe = os.pipe()
        os.write(self._pipe, encode(self._facts).encode() + b"\n")
        self._began = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                os.dup2(said, 0)
                os.set_inheritable(self._listener.fileno(), True)
                here = os.path.dirname(os.path.abspath(__file__))
                code = f"import sys; sys.path.append({here!r}); from endpoint import server; server.main()"
                os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code, str(self._listener.fileno())])
            finally:
                os._exit(127)
        os.close(said)

    def end(self) -> None:
        """Have the server finish what it was asked, and sum up; then there is none any more."""
        if self._listener is not None:
            self._listener.close()
        if not self._pid:
            return
        try:  # noqa: SIM105
            os.write(self._pipe, b".")
        except OSError:
            pass  # it has just died
        os.close(self._pipe)
        deadline = time.monotonic() + ENDPOINT_PATIENCE_S
        while not os.waitpid(self._pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(self._pid, signal.SIGKILL)
                deadline = LONGEST_SELECT_S * LONGEST_SELECT_S
            time.sleep(LEFTOVER_POLL_S / 4)


def _loopback() -> Any:
    """A listening socket, open to this machine alone. Raises OSError."""
    try:
        import _socket as socket  # as above: the public module brings enums
    except ImportError:
        raise OSError(errno.ENOSYS, "this Python has no sockets") from None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    os.set_inheritable(listener.fileno(), False)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def user_of(environment: dict[str, str]) -> str:
    """Who MLflow's clients say that they are."""
    return environment.get("USER") or environment.get("LOGNAME") or "unknown"


def tracks_elsewhere(environment: dict[str, str]) -> bool:
    """Whether a command with these variables has a tracking server of its own. That of a job which runs mlcli is not the
    one of the jobs it starts.
    """
    uri = environment.get("MLFLOW_TRACKING_URI")
    return bool(uri) and uri != environment.get("MLCLI_TRACKING_URI")


def elsewhere(environment: dict[str, str]) -> dict[str, str]:
    """Where a command with these variables logs: what readers need to find it there, no user and no password."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_INSECURE_TLS")
    told = {name: environment[name] for name in names if name in environment}
    scheme, slashes, rest = told["MLFLOW_TRACKING_URI"].partition("://")
    if slashes:
        host, slash, path = rest.partition("/")
        told["MLFLOW_TRACKING_URI"] = scheme + slashes + host.rpartition("@")[2] + slash + path.partition("?")[0]
    return told


_NO_ADDRESS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"


def tracking_variables(
    environment: dict[str, str], facts: dict[str, Any], port: int, token: str, *, own_experiment: bool
) -> dict[str, str]:
    """What leads MLflow's clients to the port, to the run ``facts["run_id"]`` of the experiment ``facts["experiment"]``."""
    uri = f"http://127.0.0.1:{port}"
    changes = {
        "MLCLI_TRACKING_URI": uri,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_TRACKING_TOKEN": token,
        # Else a name and password in ~/.mlflow/credentials would go before the token.
        "MLFLOW_TRACKING_USERNAME": user_of(environment),
        "MLFLOW_TRACKING_PASSWORD": token,
        "MLFLOW_RUN_ID": facts["run_id"],
        # Else they print the port's address as if it had pages.
        _NO_ADDRESS: environment.get(_NO_ADDRESS, "true"),
    }
    if not own_experiment:
        changes.update(MLFLOW_EXPERIMENT_ID="0", MLFLOW_EXPERIMENT_NAME=facts["experiment"])
    changes.update((name, "") for name in ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4") if name in environment)
    if any(f"{kind}_proxy" in map(str.lower, environment) for kind in ("http", "all")):
        direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        direct = ",".join(filter(None, [direct, "127.0.0.1"]))
        changes.update(no_proxy=direct, NO_PROXY=direct)
    return changes


# Limits: cores, memory and priority of one node of a compute


def _take_limits(limits: dict[str, Any], group: str) -> None:
    """In the child: keep to what the node has, as far as this system lets a process be kept to it."""
    cpus, nice = limits.get("cpus"), limits.get("nice")
    if nice:
        os.nice(nice)
    try:
        if cpus and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cpus)
        if group:
            _put(os.path.join(group, "cgroup.procs"), "0")
    except OSError:
        pass  # cores that are switched off by now, a group that nobody may be moved to


def memory_group(limit: int | None) -> str:
    """Make a control group whose processes have at most ``limit`` bytes of memory; "" where that cannot be done, or for no
    limit.
    """
    for parent in _memory_parents() if limit and LINUX else ():
        group = os.path.join(parent, f"{GROUP}{os.getpid()}-{os.urandom(4).hex()}")
        try:
            _sweep_groups(parent)
            os.mkdir(group)
        except OSError:
            continue
        for main, swap, most in (
            ("memory.max", "memory.swap.max", 0),
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", limit),
        ):
            try:
                _put(os.path.join(group, main), str(limit))
            except OSError:
                continue
            try:  # noqa: SIM105
                _put(os.path.join(group, swap), str(most))
            except OSError:
                pass  # a system that does not count swap
            return group
        os.rmdir(group)
    return ""


def can_limit_memory() -> bool:
    """Whether a job's memory can be limited here: a group is made, and a process moved to it."""
    group = memory_group(1 << 30)
    if not group:
        return False
    child = os.fork()
    if child == 0:
        try:
            _put(os.path.join(group, "cgroup.procs"), "0")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    _remove_group(group)
    return status == 0


def _memory_parents() -> list[str]:
    """Folders of control groups in which one for memory may be made: our own, then those above it."""
    own = {}
    for line in (_read("/proc/self/cgroup") or b"").decode().splitlines():
        _, controllers, group = line.split(":", 2)
        own[controllers] = group
    found = []
    for line in (_read("/proc/self/mountinfo") or b"").decode("utf-8", "replace").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        root, mount = fields.split()[3:5]
        if kind == "cgroup2":
            path = own.get("")
        elif kind == "cgroup" and "memory" in options.split(","):
            path = next((own[names] for names in own if "memory" in names.split(",")), None)
        else:
            continue
        inside = os.path.relpath(path or "/", root)
        steps = [] if inside.startswith(".") else inside.split("/")
        found += [os.path.join(mount, *steps[:depth]) for depth in range(len(steps), -1, -1)]
    return found


def _sweep_groups(parent: str) -> None:
    """Remove the groups of agents that were killed."""
    for name in os.listdir(parent):
        pid = name[len(GROUP) :].partition("-")[0] if name.startswith(GROUP) else ""
        if pid.isdigit() and _facts(int(pid)) is None:
            _remove_group(os.path.join(parent, name), patience_s=0.0)


def _remove_group(group: str, patience_s: float = 0.5) -> None:
    """Remove an empty control group; one that still has processes stays for the next agent to sweep."""
    deadline = time.monotonic() + patience_s
    while group:
        try:
            return os.rmdir(group)
        except FileNotFoundError:
            return None
        except OSError:
            if time.monotonic() >= deadline:
                return None
            time.sleep(LEFTOVER_POLL_S)
    return None


def _put(path: str, text: str) -> None:
    """Write to a file that is there."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def command_argv(launch: dict[str, Any]) -> list[str]:
    """``argv``, then the shell that runs ``command`` (when there is one): bash, as Azure ML, else sh."""
    if launch["command"] is None:
        return list(launch["argv"])
    shell = "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
    return [*launch["argv"], shell, "-c", launch["command"]]


def plain_argv(launch: dict[str, Any], environment: dict[str, str]) -> list[str] | None:
    """The words of a command for which a shell would do no more than to become its program, ``python train.py --rate 0.1``: the
    program can be started without it. None for any other, and where the shell has files or functions to read.
    """
    command = (launch["command"] or "").strip()
    if launch["argv"] or not PLAIN.issuperset(command) or any(name.startswith("BASH_") for name in environment):
        return None
    words = command.split()
    is_program = bool(words) and "=" not in words[0] and ("/" in words[0] or words[0].startswith("python"))
    return words if is_program else None


def _exec_plain(launch: dict[str, Any], environment: dict[str, str]) -> None:
    """Become the program of a plain command. Returns where that cannot be: the shell knows how to say why."""
    words = plain_argv(launch, environment)
    if words is not None:
        try:  # noqa: SIM105
            os.execvpe(words[0], words, {**environment, "PWD": os.getcwd()})
        except OSError:
            pass


def command_environment(machine: dict[str, str], changes: dict[str, Any], cookie: str) -> dict[str, str]:
    """The machine's own variables with ``defaults`` where it has none, less ``unset``, with ``set``; ``prepend_path`` and
    ``append_path`` around its PATH; and the cookie by which the run's processes are known.
    """
    environment = dict(changes["defaults"])
    environment.update(machine)
    for name in changes["unset"]:
        environment.pop(name, None)
    environment.update(changes["set"])
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = os.pathsep.join([*changes["prepend_path"], *filter(None, [path]), *changes["append_path"]])
    environment[COOKIE] = cookie
    return environment


def why_not_started(stage: str, number: int, launch: dict[str, Any]) -> str:
    """A failed start as a sentence for the person who wrote the job."""
    text = os.strerror(number)
    if stage == "chdir":
        return f"the working directory {launch['working_directory']} cannot be entered: {text}"
    if stage != "exec":
        return f"the command could not be given a session of its own: {text}"
    program = command_argv(launch)[0]
    missing = f"{program}: no such program"
    if os.path.exists(program):
        missing = f"{program} cannot be run: the interpreter in its first line (#!) is not there"
    known = {
        errno.EINVAL: "no program can be given a NUL character, or an environment variable with '=' in its name",
        errno.E2BIG: f"the command and its environment variables are longer than this system allows ({text})",
        errno.ENOENT: missing,
        errno.EACCES: f"{program}: permission denied (not an executable file, or in a folder that may not be read)",
    }
    return known.get(number, f"{program} cannot be run: {text}")


def _watch(run: _Run, wake: int, tracking: _Tracking, timeout_s: float | None, grace_s: float) -> tuple[str, int]:
    """Sleep until the command has ended, by itself, by SIGTERM to the agent (a cancel) or by its time limit.

    (cause, exit code or minus the signal's number). The command is left as a zombie, so that its pid stays its own.
    """
    cause = "exit"
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        rest = LONGEST_SELECT_S if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([wake, *tracking.unattended()], [], [], min(rest, LONGEST_SELECT_S))
        signals = os.read(wake, 4096) if wake in ready else b""
        tracking.attend(ready)
        status = _status(run.command["pid"])
        if status is not None:
            return cause, status
        over = deadline is not None and time.monotonic() >= deadline
        if cause == "exit" and (over or signal.SIGTERM in signals):
            cause = "time_limit" if over else "canceled"
            run.ask()
            deadline = time.monotonic() + grace_s
        elif over:
            run.signal(signal.SIGKILL)
            deadline = time.monotonic() + KILL_PATIENCE_S


def _status(pid: int) -> int | None:
    """How a child has ended (code, or minus the signal's number), None while it runs."""
    if hasattr(os, "waitid"):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    found, status = os.waitpid(pid, os.WNOHANG)
    if found == 0:
        return None
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def _message(folder: str, cause: str, status: int, left: list[int], stubborn: list[int]) -> str:
    """What the exit record's other fields cannot say; mostly nothing."""
    parts = []
    if cause == "canceled" and not os.path.exists(os.path.join(folder, CANCEL)):
        parts.append(ENDED_FROM_OUTSIDE)
    about = [f"processes that it had left running were ended ({_pids(left)})"] if left else []
    if status != 0 and _is_full(folder):  # so full that the command could not say so in its log
        about.append("the disk is full")
    if cause == "exit" and about:
        how = f"was killed by signal {-status}" if status < 0 else f"exited with code {status}"
        parts.append("; ".join([f"the command {how}", *about]))
    if stubborn:
        parts.append(f"processes that could not be ended: {_pids(stubborn)}")
    return "; ".join(parts)


def _is_full(folder: str) -> bool:
    """Whether there is no room on the disk of this folder but for crumbs; False where it does not say."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < FULL_BYTES


def _out_of_memory_kills(group: str) -> int:
    """How many processes the kernel has killed for want of memory in a control group, or in this container; 0 where it
    does not say.
    """
    for path in _memory_files(group, "memory.events", "memory.oom_control"):
        try:
            lines = (_read(path) or b"").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(b" ")
            if name == b"oom_kill":
                return int(count)
    return 0


def _memory_limit(group: str) -> str:
    """`` (limit 64m)`` of a control group, or of this container, or nothing."""
    for path in _memory_files(group, "memory.max", "memory.limit_in_bytes"):
        try:
            text = (_read(path) or b"").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return f" (limit {int(text) >> 20}m)"
    return ""


def _memory_files(group: str, new: str, old: str) -> list[str]:
    """Where a control group's file is, by its names in both versions of control groups; "" stands for the container's."""
    if group:
        return [os.path.join(group, name) for name in (new, old)]
    return [os.path.join("/sys/fs/cgroup", new), os.path.join("/sys/fs/cgroup/memory", old)]


def _pids(pids: list[int]) -> str:
    return "pid " + ", ".join(str(pid) for pid in pids[:10]) + (", ..." if len(pids) > 10 else "")


# run


def run(folder: str) -> int:
    """Be the agent proper of the run in ``folder``, here and now; the exit code to end with.

    Whoever starts a container does that once, so nothing is locked. A container that is started again does nothing more.
    """
    if os.path.exists(os.path.join(folder, CANCEL)):
        _write_record(folder, EXIT, canceled_before_start())
    if _begun(folder) is None:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        reader, writer = os.pipe()
        _carry(folder, null, writer)
        with os.fdopen(reader, "rb") as answer:
            sys.stderr.write(answer.read().decode("utf-8", "replace"))
            sys.stderr.flush()
    ended = _record(folder, EXIT)
    if ended is None:
        return NOT_STARTED
    return NOT_STARTED if ended["code"] is None else int(ended["code"])


# observe, cancel, list


def observe(folder: str) -> dict[str, Any]:
    """What is to be seen of a run: ``{"run_folder", "sight", "exit", "started_at", "evidence"}``.

    The exit record is read before asking whether the agent lives, and once more when it does not.
    """
    try:
        return dict(run_folder=folder, **_sight(folder))
    except (OSError, ValueError, KeyError) as unreadable:
        return {"run_folder": folder, "sight": "no_answer", "evidence": _sentence(unreadable)}


def _sight(folder: str) -> dict[str, Any]:
    exit_record = _record(folder, EXIT)
    if exit_record is not None:
        return {"sight": "exited", "exit": exit_record}
    agent = _record(folder, AGENT)
    if agent is None:
        return {"sight": "starting"} if _is_locked(folder) else {"sight": "absent", "evidence": "it was never started"}
    if is_alive(agent):
        return {"sight": "running", "started_at": agent["started_at"]}
    if is_foreign(agent):
        evidence = f"the job runs on {agent['host']}: only there can be told whether it still does"
        return {"sight": "no_answer", "evidence": evidence}
    exit_record = _record(folder, EXIT)
    if exit_record is not None:
        return {"sight": "exited", "exit": exit_record}
    return {"sight": "gone", "started_at": agent["started_at"], "evidence": _how_lost(agent)}


def _how_lost(agent: dict[str, Any]) -> str:
    if agent["boot_id"] != boot_id():
        return "the machine was restarted while the job ran"
    left = _Run(agent["command"], agent["cookie"], held=False).processes()
    still = f"; its command was still running ({_pids(left)})" if left else ""
    return f"the agent that watched the job (pid {agent['pid']}) was killed and left no exit record{still}"


def _is_locked(folder: str) -> bool:
    from fcntl import LOCK_NB, LOCK_SH, flock

    try:
        lock = os.open(os.path.join(folder, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        flock(lock, LOCK_SH | LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def cancel(folder: str) -> dict[str, Any]:
    """Ask for the run's end and return at once; no error when it is over. A run that has not started never will.

    What a killed agent has left running is ended too, by a process that is started for that.
    """
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        agent = _record(folder, AGENT) or _cancel_before_start(folder)
        if agent is not None and not os.path.exists(os.path.join(folder, EXIT)):
            mark_cancelled(folder)
            if not _send(agent, signal.SIGTERM):
                _end_lost(agent)
    except (OSError, ValueError, KeyError) as failed:
        return {"run_folder": folder, "error": _sentence(failed)}
    return observe(folder)


def _cancel_before_start(folder: str) -> dict[str, Any] | None:
    """Write the end of a run that nobody has started; the agent's record when somebody was quicker."""
    lock = _lock(folder)
    try:
        agent = _record(folder, AGENT)
        if agent is None and not os.path.exists(os.path.join(folder, EXIT)):
            _write_record(folder, EXIT, canceled_before_start())
            _remove(os.path.join(folder, LAUNCH))
        return agent
    finally:
        os.close(lock)


def canceled_before_start() -> dict[str, Any]:
    """The exit record of a run that will never start."""
    record = {"cause": "canceled", "code": None, "signal": None, "started_at": None, "ended_at": time.time()}
    return dict(record, message="cancelled before it started")


def mark_cancelled(folder: str) -> None:
    """Note that somebody asked for the end."""
    try:  # noqa: SIM105
        os.close(os.open(os.path.join(folder, CANCEL), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        pass  # on a full disk only the exit record's message is less exact


def _end_lost(agent: dict[str, Any]) -> None:
    """End what an agent that was killed has left running, in a process of its own."""
    if agent["boot_id"] != boot_id():
        return
    run = _Run(agent["command"], agent["cookie"], held=False)
    if run.processes() and os.fork() == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            run.end(agent["grace_s"])
        finally:
            os._exit(0)


def list_files(folder: str, below: str) -> dict[str, Any]:
    """``{"run_folder", "files": {path relative to FOLDER/BELOW: size in bytes}}``; symbolic links to files count as what
    they lead to, those to folders only while they stay inside the run folder.
    """
    files: dict[str, int] = {}
    _walk(os.path.realpath(folder), os.path.join(folder, below), "", (), files)
    return {"run_folder": folder, "files": files}


def _walk(root: str, folder: str, prefix: str, above: tuple[str, ...], files: dict[str, int]) -> None:
    real = os.path.realpath(folder)
    if real in above or not (real + "/").startswith(root + "/"):
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            if entry.is_dir():
                _walk(root, entry.path, prefix + entry.name + "/", (*above, real), files)
            elif entry.is_file():
                files[prefix + entry.name] = entry.stat().st_size
        except FileNotFoundError:  # the job goes on meanwhile
            continue


def main() -> None:
    """``VERB FOLDER...``: one line of JSON per run folder; exits with 1 when an answer tells an error."""
    verb, *arguments = sys.argv[1:]
    if verb == "run":
        os._exit(run(os.path.abspath(arguments[0])))
    if verb == "list":
        answers = [list_files(os.path.abspath(arguments[0]), arguments[1])]
    else:
        act = {"start": start, "observe": observe, "cancel": cancel}[verb]
        answers = [act(os.path.abspath(folder)) for folder in arguments]
    sys.stdout.write("".join(encode(answer) + "\n" for answer in answers))
    sys.stdout.flush()
    errors = [answer["error"] for answer in answers if "error" in answer]
    sys.stderr.write("".join(f"{error}\n" for error in errors))
    sys.stderr.flush()
    os._exit(1 if errors else 0)  # nothing is left to do, and taking the interpreter down takes a while


def invocation(python: str, folder: str, *arguments: str) -> list[str]:
    """The command line that runs a verb of the ``agent.py`` in ``folder`` with the interpreter ``python``.

    ``-I -S``: nothing of the person's own Python set-up is imported. As a module, so that its bytecode is cached.
    """
    code = f"import sys; sys.path.append({folder!r}); import agent; agent.main()"
    return [python, "-I", "-S", "-c", code, *arguments]
