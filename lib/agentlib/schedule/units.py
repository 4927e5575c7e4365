"""The work of agent-schedule: units for systemd (systemd.service(5), systemd.timer(5)), or the line for cron."""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

from agentlib import paths, records, stderr
from agentlib.cli import duration
from agentlib.faults import Fault, os_errors
from agentlib.launch import command
from agentlib.lock import replace
from agentlib.types import Namespace

PREFIX = "agentutils-"
KINDS = ("service", "timer")  # of units; agent.KIND is the form of one


def main(args: Namespace) -> int:
    """Do what the first operand says."""
    if args.do == "list":
        return _listing()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", args.name or ""):
        raise Fault("invalid_input", f"the name {args.name!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
    return _add(args) if args.do == "add" else _remove(args)


def _add(args: Namespace) -> int:
    if not args.command or bool(args.every) == bool(args.at):
        raise Fault("invalid_input", "add: --every TIME or --at CALENDAR, and the command after --")
    argv = [os.path.abspath(command.found(args.command[0])), *args.command[1:]]
    if any("\n" in word or "\0" in word for word in [*argv, args.folder]):
        raise Fault("invalid_input", "add: a word of the command holds a line end")
    if args.keys:
        with os_errors(f"--keys {args.keys}"):
            mode = os.stat(args.keys).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            cure = f"must be a file of mode 0600: chmod 600 {args.keys}"
            raise Fault("invalid_input", f"--keys {args.keys}: {cure}")
    manager = args.manager or ("cron" if systemctl("show-environment") else "systemd")
    return _write_units(args, argv) if manager == "systemd" else cron_line(args, argv)


def systemctl(*words: str) -> str | None:
    """systemctl --user: what went wrong, in a line; None where nothing did."""
    argv = ["systemctl", "--user", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except OSError as bad:
        return bad.strerror
    return next(iter(done.stderr.splitlines()), "?") if done.returncode else None


def units() -> str:
    """The folder of the user's own units."""
    return os.path.join(os.path.dirname(paths.place("config")), "systemd", "user")


def _write_units(args: Namespace, argv: list[str]) -> int:
    when = f"OnCalendar={args.at}"
    if args.every:
        when = f"OnActiveSec=1s\nOnUnitActiveSec={duration(args.every):g}"
    keys = f"EnvironmentFile={_path(args.keys)}\n" if args.keys else ""
    fields = {"exec": " ".join(map(quoted, argv)), "folder": _path(args.folder), "keys": keys}
    times = {"timeout": duration(args.timeout), "when": when, "jitter": duration(args.jitter)}
    forms = {kind: Path(__file__).resolve().with_name(f"agent.{kind}") for kind in KINDS}
    texts = {
        k: form.read_text().format(name=args.name, **times, **fields) for k, form in forms.items()
    }
    if args.dry_run:
        records.put("\n".join(texts.values()).encode())
        return 0
    unit = os.path.join(units(), f"{PREFIX}{args.name}")
    new = not os.path.exists(f"{unit}.service")
    try:
        for kind, text in texts.items():
            replace(f"{unit}.{kind}", text.encode(), 0o644)
    except BaseException:
        if new:  # a service without its timer is half of the work
            Path(f"{unit}.service").unlink(missing_ok=True)
        raise
    for words in (("daemon-reload",), ("enable", "--now", f"{PREFIX}{args.name}.timer")):
        if why := systemctl(*words):
            failed = f"systemctl --user {' '.join(words)} failed: {why}"
            stderr.warn(f"written to {units()}, but {failed}")
            return 1
    return 0


def _path(path: str) -> str:
    return os.path.abspath(path).replace("%", "%%")


def quoted(word: str) -> str:
    """A word as ExecStart= takes it: quotes, and % and $ doubled (systemd.service(5), "Command lines")."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def cron_line(args: Namespace, argv: list[str]) -> int:
    """Print the line for the user to enter: a table that is written by machine can be lost by machine."""
    if args.keys:
        why = "--keys: cron reads no file of keys; config.toml can name a command that prints one"
        raise Fault("invalid_input", why)
    fields = cron_fields(duration(args.every)) if args.every else args.at
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
    if minutes / 60 in (1, 2, 3, 4, 6, 8, 12, 24):
        return "0 0 * * *" if minutes == 24 * 60 else f"0 */{minutes / 60:g} * * *"
    why = "cron cannot say this interval: minutes that divide an hour, hours that divide a day"
    raise Fault("invalid_input", why)


def _listing() -> int:
    for timer in sorted(Path(units()).glob(f"{PREFIX}*.timer")):
        when = _value(timer, "OnCalendar|OnUnitActiveSec")
        what = _value(timer.with_suffix(".service"), "ExecStart")
        records.put(f"{timer.stem.removeprefix(PREFIX)}\t{when}\t{what}\n".encode())
    return 0


def _value(file: Path, names: str) -> str:
    text = file.read_text("utf-8", "replace") if file.exists() else ""
    found = re.search(rf"^(?:{names})=(.*)$", text, re.M)
    return found[1].strip() if found else "?"


def _remove(args: Namespace) -> int:
    files = [Path(units(), f"{PREFIX}{args.name}.{kind}") for kind in KINDS]
    if not any(file.exists() for file in files):
        stderr.warn(f"there is no {args.name}")
        return 1
    systemctl("disable", "--now", f"{PREFIX}{args.name}.timer")
    for file in files:
        file.unlink(missing_ok=True)
    systemctl("daemon-reload")
    return 0
