"""What a job's container starts: a few lines of POSIX sh that look for a Python to run the agent, and do without.

The files lie in ``.container/`` below the run folder while the container is there. Without a Python >= 3.8 in the image
the script itself runs the command, enforces its time limit, and writes ``agent.json`` and ``exit.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote
from typing import Any

from mlcli import agent

FOLDER = ".container"
SCRIPT = f"{FOLDER}/start.sh"
PLAIN = f"{FOLDER}/launch.sh"
PID = f"{FOLDER}/pid"
# What a shell starts in the background ignores these signals, and no shell can undo that; busybox's env cannot either.
_RESETTING = "env --default-signal=INT,QUIT"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Run in the container: tell whoever runs the job that its end is wanted, even behind an entrypoint that hands on no
# signal. Argument: the run folder.
CANCEL = f': > "$1/{agent.CANCEL}"; read -r pid < "$1/{PID}" && kill -TERM "$pid"'

_AGENT = """import os, sys
run = sys.argv[-1]
if sys.version_info < (3, 8):
    os.execv("/bin/sh", ["/bin/sh", run + "/.container/start.sh", run, "plain"])
if os.path.exists(run + "/.container/launch.sh"):
    os.unlink(run + "/.container/launch.sh")
sys.path.append(run + "/.container")
import agent
agent.main()"""

TEXT = f"""#!/bin/sh
# Starts a job in its container: by agent.py where there is a Python >= 3.8, else by itself.
run=$1
echo "$$" > "$run/{PID}"
if ! [ -w "${{HOME:-/}}" ]; then
  if [ -w /tmp ]; then HOME=/tmp; else HOME=$run/{FOLDER}; fi
  export HOME
fi
if ! command -v python > /dev/null && command -v python3 > /dev/null; then # Debian's image has no "python"
  mkdir -p "$run/{FOLDER}/bin"
  printf '#!/bin/sh\nexec python3 "$@"\n' > "$run/{FOLDER}/bin/python"
  chmod 755 "$run/{FOLDER}/bin/python"
  PATH=$PATH:$run/{FOLDER}/bin
fi
if [ "$2" != plain ]; then
  python=
  if command -v python3 > /dev/null; then python=python3
  elif python -c 'import sys; sys.exit(sys.version_info < (3,))' 2> /dev/null; then python=python
  fi
  [ -n "$python" ] && exec "$python" -I -S -c {quote(_AGENT)} run "$run"
fi
[ -e "$run/{agent.AGENT}" ] && exit {agent.NOT_STARTED}

now() {{ date +%s 2> /dev/null || echo null; }}
end() {{ # cause, code, signal, message
  printf '{{"cause": "%s", "code": %s, "signal": %s, "started_at": %s, "ended_at": %s, "message": %s}}\\n' \\
    "$1" "$2" "$3" "$started" "$(now)" "$4" > "$run/{agent.EXIT}.new"
  mv "$run/{agent.EXIT}.new" "$run/{agent.EXIT}"
  [ "$2" = null ] && exit {agent.NOT_STARTED}
  exit "$2"
}}
started=null
[ -e "$run/{agent.CANCEL}" ] && end canceled null null '"cancelled before it started"'
. "$run/{PLAIN}"
: > "$run/{PLAIN}"
rm -f "$run/{PLAIN}" "$run/{agent.LAUNCH}"

# How many processes the kernel has killed in here for want of memory.
killed() {{
  for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$file" ] && while read -r name count; do [ "$name" = oom_kill ] && echo "$count"; done < "$file"
  done
}}
limit() {{
  for file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    [ -r "$file" ] && read -r bytes < "$file" && [ "${{#bytes}}" -lt 16 ] && echo " (limit $((bytes >> 20))m)"
  done
}}

# Every process of the job: whatever in here was started after this one, but for its own timers and what they sleep in.
others() {{ # signal
  found= number=$1
  if [ -z "$alone" ]; then kill "-$number" "$child" 2> /dev/null && found=1; return; fi
  for process in /proc/[0-9]*; do
    pid=${{process#/proc/}}
    [ "$pid" -gt "$$" ] && {{ read -r facts < "$process/stat"; }} 2> /dev/null || continue
    set -- ${{facts##*) }} # state, parent
    case " $timers " in *" $pid "* | *" $2 "*) continue ;; esac
    kill "-$number" "$pid" 2> /dev/null && found=1
  done
}}
timers= cause=exit asked=
after() {{ # seconds, signal to this process then
  (sleep "$1" && kill "-$2" "$$") > /dev/null 2>&1 &
  timers="$timers $!"
}}
stop() {{ # cause
  woken=1
  if [ -z "$asked" ]; then
    asked=1 cause=$1
    others TERM
    after "$grace" USR1
  fi
}}
trap 'stop canceled' TERM
trap 'stop time_limit' USR2
trap 'woken=1; others KILL' USR1
trap '' HUP INT

started=$(now) killed=$(killed)
(
  trap - TERM USR1 USR2 HUP INT
  cd "$directory" || {{ printf '%s' "$nowhere" > "$run/{FOLDER}/why"; exit 126; }}
  prepare
  command -v "$program" > /dev/null || {{ printf '%s' "$missing" > "$run/{FOLDER}/why"; exit 127; }}
  launch
) < /dev/null >> "$run/$log" 2>&1 &
child=$!
printf '{{"version": {agent.VERSION}, "boot_id": "container@", "pid": %s, "start_time": 0, "host": "", "cookie": "", ' "$$" \\
  > "$run/{agent.AGENT}.new"
printf '"command": {{"boot_id": "container@", "pid": %s, "start_time": 0}}, "grace_s": %s, "started_at": %s}}\\n' \\
  "$child" "$grace" "$started" >> "$run/{agent.AGENT}.new"
mv "$run/{agent.AGENT}.new" "$run/{agent.AGENT}"
[ -n "$patience" ] && after "$patience" USR2
while :; do
  woken=
  wait "$child"
  status=$?
  [ -z "$woken" ] && break
done
trap '' TERM USR1 USR2
jobs > "$run/{FOLDER}/jobs" # dash and busybox tell an exit code from a signal here, bash has forgotten the job
[ -s "$run/{FOLDER}/why" ] && end not_started null null "$(cat "$run/{FOLDER}/why")"

# What the command has left running may finish its last lines, then it is ended.
naps=0
others 0
while [ -n "$found" ] && [ "$naps" -lt 20 ]; do
  sleep 0.1 || break
  naps=$((naps + 1))
  others 0
done
message='""' signal=null
if [ -n "$found" ]; then
  others TERM
  [ "$cause" = exit ] && message='"processes that the command had left running were ended"'
fi
if [ "$cause" = canceled ] && ! [ -e "$run/{agent.CANCEL}" ]; then message='"{agent.ENDED_FROM_OUTSIDE}"'; fi
if [ "$cause" = exit ] && [ "$status" != 0 ] && [ "$(killed)" != "$killed" ]; then
  message='"killed: out of memory'$(limit)'"'
fi
if [ "$status" -gt 128 ] && [ "$status" -le 192 ]; then
  signal=$((status - 128))
  while read -r job; do
    case $job in "[1]"*Done*) signal=null ;; esac
  done < "$run/{FOLDER}/jobs"
fi
end "$cause" "$status" "$signal" "$message"
"""


def plain_launch(record: Mapping[str, Any], *, alone: bool) -> str:
    """The same as ``launch.json``, for the shell: read once and removed, it may hold secrets.

    ``alone``: no processes but the job's are to be seen in the container.
    """
    argv = [*record["argv"], "bash", "-c", record["command"]]
    changes = record["environment"]
    awkward = [f"{name}={value}" for name, value in changes["set"].items() if not _IDENTIFIER.fullmatch(name)]
    words = (["env", *awkward] if awkward else []) + argv
    without_bash = [*words[:-3], "sh", *words[-2:]]
    program = words[0] if len(words) > 3 else "sh"
    lines = [
        f"log={quote(record['log'])} directory={quote(record['working_directory'])} program={quote(program)}",
        f"patience={record['timeout_s'] or ''} grace={record['grace_s']} alone={'1' if alone else ''}",
        f"missing={quote(agent.encode(f'{program}: no such program'))}",
        f"nowhere={quote(agent.encode('the working directory ' + record['working_directory'] + ' cannot be entered'))}",
        "prepare() {",
        *(f'  export {name}="${{{name}-{_in_quotes(value)}}}"' for name, value in changes["defaults"].items()),
        *(f"  unset {name}" for name in changes["unset"] if _IDENTIFIER.fullmatch(name)),
        *(f"  export {name}={quote(value)}" for name, value in changes["set"].items() if _IDENTIFIER.fullmatch(name)),
        f"  PATH={_path(changes)}",
        "  export PATH",
        "}",
        "launch() {",
        "  resetting=",
        f"  {_RESETTING} true 2> /dev/null && resetting={quote(_RESETTING)}",
        "  if command -v bash > /dev/null; then",
        "    exec $resetting " + " ".join(map(quote, words)),
        "  else",
        "    exec $resetting " + " ".join(map(quote, without_bash)),
        "  fi",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _in_quotes(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _path(changes: Mapping[str, Any]) -> str:
    before = "".join(f"{quote(folder)}:" for folder in changes["prepend_path"])
    after = "".join(f":{quote(folder)}" for folder in changes["append_path"])
    return f'{before}"${{PATH:-/usr/local/bin:/usr/bin:/bin}}"{after}'
