"""The work of agent-schedule: units for the user's systemd (systemd.service(5), systemd.timer(5)) or lines for cron."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess

from agentlib import paths, records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.lock import replace
from agentlib.schedule.every import seconds
from agentlib.types import Namespace

PREFIX = "agentutils-"
MARK = "# agentutils: "
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
    return (
        by_systemd(args, argv) if (args.manager or manager()) == "systemd" else by_cron(args, argv)
    )


def secret(file: str) -> None:
    """A file of keys is the user's alone."""
    try:
        seen = os.stat(file)
    except OSError as bad:
        raise Fault("invalid_input", f"--keys {file}: {bad.strerror}") from None
    if not stat.S_ISREG(seen.st_mode) or seen.st_mode & 0o077:
        raise Fault(
            "invalid_input", f"--keys {file}: must be a file of mode 0600: chmod 600 {file}"
        )


def manager() -> str:
    """Who runs things at times here."""
    if shutil.which("systemctl") and systemctl("show-environment").returncode == 0:
        return "systemd"
    if shutil.which("crontab"):
        return "cron"
    raise Fault(
        "not_found", "neither a systemd of the user nor crontab is here; agent-every needs neither"
    )


def systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    """systemctl --user."""
    return subprocess.run(
        ["systemctl", "--user", *words], capture_output=True, text=True, timeout=60
    )


def units() -> str:
    """The folder of the user's own units."""
    return str(paths.config().parent / "systemd" / "user")


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
        done = systemctl(*words)
        if done.returncode:
            why = done.stderr.strip().splitlines()
            stderr.warn(
                f"written to {units()}, but systemctl --user {' '.join(words)} failed: {why[0] if why else '?'}"
            )
            return 1
    return 0


def quoted(word: str) -> str:
    """A word as ExecStart= takes it: quotes, and % and $ doubled (systemd.service(5), "Command lines")."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def by_cron(args: Namespace, argv: list[str]) -> int:
    """A line in the crontab, its mark above it."""
    fields = cron_fields(seconds(args.every)) if args.every else args.at
    if len(fields.split()) != 5 or "\n" in fields:
        raise Fault(
            "invalid_input", f"--at {fields!r}: cron takes five fields, such as '0 8 * * 1-5'"
        )
    keys = f"set -a; . {shlex.quote(os.path.abspath(args.keys))}; set +a; " if args.keys else ""
    run = f"cd {shlex.quote(os.path.abspath(args.folder))} && {keys}exec {shlex.join(argv)}"
    line = f"{MARK}{args.name}\n{fields} " + run.replace("%", "\\%") + "\n"
    if args.dry_run:
        records.put(line.encode())
        return 0
    put_crontab(without(args.name, crontab()) + line)
    return 0


def cron_fields(interval: float) -> str:
    """An interval in cron's five fields; a Fault where they cannot say it."""
    minutes = round(interval / 60)
    if (
        minutes * 60 == interval
        and minutes
        and (60 % minutes == 0 if minutes < 60 else minutes % 60 == 0)
    ):
        hours = minutes // 60
        if minutes < 60:
            return f"*/{minutes} * * * *"
        if 24 % hours == 0:
            return f"0 */{hours} * * *" if hours < 24 else "0 0 * * *"
    raise Fault(
        "invalid_input",
        "cron cannot say this interval: minutes that divide an hour, hours that divide a day",
    )


def crontab() -> str:
    """The user's table, "" where there is none."""
    done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, timeout=60)
    return done.stdout if done.returncode == 0 else ""


def put_crontab(text: str) -> None:
    """Replace the user's table."""
    done = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Fault("tool_error", f"crontab: {done.stderr.strip()}")


def without(name: str, table: str) -> str:
    """The table less the two lines of that name."""
    return re.sub(rf"^{re.escape(MARK + name)}\n.*\n?", "", table, flags=re.M)


def listing() -> int:
    """What agent-schedule has written, wherever."""
    folder = units()
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if entry.startswith(PREFIX) and entry.endswith(".timer"):
            name = entry[len(PREFIX) : -len(".timer")]
            when = _line(os.path.join(folder, entry), "OnCalendar=", "OnUnitActiveSec=")
            what = _line(os.path.join(folder, f"{PREFIX}{name}.service"), "ExecStart=")
            records.put(f"{name}\t{when}\t{what}\n".encode())
    for name, line in re.findall(
        rf"^{MARK}(\S+)\n(.*)$", crontab() if shutil.which("crontab") else "", flags=re.M
    ):
        records.put(
            (
                f"{name}\t" + " ".join(line.split()[:5]) + "\t" + " ".join(line.split()[5:]) + "\n"
            ).encode()
        )
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
    if there and shutil.which("systemctl"):
        systemctl("disable", "--now", f"{PREFIX}{args.name}.timer")
    for file in there:
        os.unlink(file)
    if there and shutil.which("systemctl"):
        systemctl("daemon-reload")
    table = crontab() if shutil.which("crontab") else ""
    if (rest := without(args.name, table)) != table:
        put_crontab(rest)
    elif not there:
        stderr.warn(f"there is no {args.name}")
        return 1
    return 0
