"""The work of agent-schedule: units for systemd (systemd.service(5), systemd.timer(5)), or the line for cron."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess

from agentlib import paths, records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.lock import replace
from agentlib.schedule.every import seconds
from agentlib.types import Namespace

PREFIX = "agentutils-"
SERVICE = """# made by agent-schedule; agent-schedule remove {name} takes it away
[Unit]
Description=agentutils: {name}

[Service]
Type=oneshot
ExecStart={exec}
WorkingDirectory={folder}
{keys}TimeoutStartSec={timeout:g}
KillMode=control-group
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
TasksMax=512
"""
TIMER = """# made by agent-schedule; agent-schedule remove {name} takes it away
[Unit]
Description=agentutils: {name}

[Timer]
{when}
RandomizedDelaySec={jitter:g}
Persistent=yes

[Install]
WantedBy=timers.target
"""


def main(args: Namespace) -> int:
    """Do what the first operand says."""
    if args.do == "list":
        return listing()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", args.name or ""):
        raise Fault("invalid_input", f"the name {args.name!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
    return add(args) if args.do == "add" else remove(args)


def add(args: Namespace) -> int:
    """Write and enable one."""
    if not args.command or bool(args.every) == bool(args.at):
        raise Fault("invalid_input", "add: --every TIME or --at CALENDAR, and the command after --")
    argv = [os.path.abspath(command.found(args.command[0])), *args.command[1:]]
    if any("\n" in word or "\0" in word for word in [*argv, args.folder]):
        raise Fault("invalid_input", "add: a word of the command holds a line end")
    if args.keys:
        secret(args.keys)
    systemd = (
        args.manager == "systemd" or not args.manager and systemctl("show-environment") is None
    )
    return by_systemd(args, argv) if systemd else cron_line(args, argv)


def secret(file: str) -> None:
    """A file of keys is the user's alone."""
    try:
        seen = os.stat(file)
    except OSError as bad:
        raise Fault("invalid_input", f"--keys {file}: {bad.strerror}") from None
    if not stat.S_ISREG(seen.st_mode) or seen.st_mode & 0o077:
        why = f"--keys {file}: must be a file of mode 0600: chmod 600 {file}"
        raise Fault("invalid_input", why)


def systemctl(*words: str) -> str | None:
    """systemctl --user: what went wrong, in a line; None where nothing did."""
    try:
        done = subprocess.run(
            ["systemctl", "--user", *words], capture_output=True, text=True, timeout=60
        )
    except OSError as bad:
        return bad.strerror
    return next(iter(done.stderr.splitlines()), "?") if done.returncode else None


def units() -> str:
    """The folder of the user's own units."""
    return os.path.join(os.path.dirname(paths.place("config")), "systemd", "user")


def by_systemd(args: Namespace, argv: list[str]) -> int:
    """A service and a timer."""
    every = (
        f"OnActiveSec=1s\nOnUnitActiveSec={seconds(args.every):g}"
        if args.every
        else f"OnCalendar={args.at}"
    )
    keys = f"EnvironmentFile={os.path.abspath(args.keys).replace('%', '%%')}\n" if args.keys else ""
    run = " ".join(map(quoted, argv))
    folder = os.path.abspath(args.folder).replace("%", "%%")
    service = SERVICE.format(
        name=args.name, exec=run, folder=folder, keys=keys, timeout=seconds(args.timeout)
    )
    timer = TIMER.format(name=args.name, when=every, jitter=seconds(args.jitter))
    if args.dry_run:
        records.put(f"{service}\n{timer}".encode())
        return 0
    for kind, text in (("service", service), ("timer", timer)):
        replace(os.path.join(units(), f"{PREFIX}{args.name}.{kind}"), text.encode(), 0o644)
    for words in (("daemon-reload",), ("enable", "--now", f"{PREFIX}{args.name}.timer")):
        if why := systemctl(*words):
            stderr.warn(
                f"written to {units()}, but systemctl --user {' '.join(words)} failed: {why}"
            )
            return 1
    return 0


def quoted(word: str) -> str:
    """A word as ExecStart= takes it: quotes, and % and $ doubled (systemd.service(5), "Command lines")."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def cron_line(args: Namespace, argv: list[str]) -> int:
    """Print the line for the user to enter: a table that is written by machine can be lost by machine."""
    if args.keys:
        why = "--keys: cron reads no file of keys; config.toml can name a command that prints one"
        raise Fault("invalid_input", why)
    fields = cron_fields(seconds(args.every)) if args.every else args.at
    if len(fields.split()) != 5 or "\n" in fields:
        why = f"--at {fields!r}: cron takes five fields, such as '0 8 * * 1-5'"
        raise Fault("invalid_input", why)
    run = f"cd {shlex.quote(os.path.abspath(args.folder))} && exec {shlex.join(argv)}"
    records.put(f"{fields} {run.replace('%', chr(92) + '%')}\n".encode())
    stderr.warn("nothing is scheduled yet: enter this line with `crontab -e`")
    return 0


def cron_fields(interval: float) -> str:
    """An interval in cron's five fields; a Fault where they cannot say it."""
    minutes = interval / 60
    if minutes in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30):
        return f"*/{minutes:g} * * * *"
    if minutes in (60, 120, 180, 240, 360, 480, 720):
        return f"0 */{minutes / 60:g} * * *"
    if minutes == 1440:
        return "0 0 * * *"
    why = "cron cannot say this interval: minutes that divide an hour, hours that divide a day"
    raise Fault("invalid_input", why)


def listing() -> int:
    """What agent-schedule has written."""
    folder = units()
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if entry.startswith(PREFIX) and entry.endswith(".timer"):
            name = entry[len(PREFIX) : -len(".timer")]
            when = _line(os.path.join(folder, entry), "OnCalendar=", "OnUnitActiveSec=")
            what = _line(os.path.join(folder, f"{PREFIX}{name}.service"), "ExecStart=")
            records.put(f"{name}\t{when}\t{what}\n".encode())
    return 0


def _line(file: str, *starts: str) -> str:
    """What stands after one of the starts, in the first line that has one."""
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            return next(
                (line[len(s) :].strip() for line in lines for s in starts if line.startswith(s)),
                "?",
            )
    except OSError:
        return "?"


def remove(args: Namespace) -> int:
    """Take one away; 1 where there is none."""
    files = [os.path.join(units(), f"{PREFIX}{args.name}.{kind}") for kind in ("timer", "service")]
    there = [file for file in files if os.path.exists(file)]
    if not there:
        stderr.warn(f"there is no {args.name}")
        return 1
    systemctl("disable", "--now", f"{PREFIX}{args.name}.timer")
    for file in there:
        os.unlink(file)
    systemctl("daemon-reload")
    return 0
