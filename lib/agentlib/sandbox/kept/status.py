"""What the sandbox gives on this machine, and what it does not, in lines for a person (--sandbox-status)."""

import os

from agentlib.faults import Fault
from agentlib.sandbox import landlock, limits, prepare, references, rules, seccomp, workspace
from agentlib.sandbox.kept.pool import SandboxPool
from agentlib.sandbox.mounts import View

GIVES = """\
read: nothing can be changed but scratch folders; homes, /tmp and /run are empty; secrets masked; no network
work: and the working folder can be written, but for what runs or is believed later (.git/hooks, AGENTS.md…)
net: and the internet is open: that is the local network and this machine's own ports as well
off: no sandbox; only by --sandbox off or --allow NAME:off""".splitlines()
LANDLOCK = """\
a folder with .git, AGENTS.md or secrets cannot be written (work and net are refused there)
in work and net, a secret that you make in the working folder during a call can be read by it
in work and net, guarded files that a tool makes are there until its end, and then moved aside
other processes can be seen, not touched: that they are there, whose, and when they end (pidfd_open)
in work and net, mode, owner, times and attributes of one's own files elsewhere can be changed""".splitlines()
REFUSED = "every tool that needs the sandbox is refused (tool_denied); --sandbox off runs without"


def lines(folder: str) -> list[str]:
    """The way, profiles, limits, what is missing, what is special in this folder, whether calls share a sandbox."""
    calls = _calls(folder)  # which shows what wall there can be
    way, why = prepare.walled(View(["/bin/true"], "", folder, "work").listed)
    found = [f"sandbox: {way or 'none'}" + (f" ({why})" if why else "")]
    if not way:
        return [*found, REFUSED, calls]
    found += [f"profile {text}" for text in GIVES]
    used = limits.defaults()
    memory, file = used["memory"] >> 20, used["file"] >> 20
    each = f"{used['processes']} processes of {memory} MiB each, files of {file} MiB"
    found += [f"limits of a call: {each}, {used['files']} open files, no core dumps"]
    if os.geteuid() == 0 and not limits.groups():
        why = "no pids control group here"
        found.append(f"missing: no limit on processes for root ({why}): run as a plain user")
    if way == "landlock":
        version, lacks = landlock.abi(), list(LANDLOCK)
        lacks += ["signals to other processes of this user are not refused"] * (version < 6)
        lacks += ["files cannot be linked or moved between folders"] * (version < 2)
        found += [f"missing: {one}" for one in lacks]
    return [*found, *(f"here: {one}" for one in _here(folder, way)), calls]


def _calls(folder: str) -> str:
    pool = SandboxPool()
    try:
        with prepare.Sandbox(["/bin/true"], "read", folder, env=prepare.environment()) as trial:
            pool.prepare(trial)
    except (Fault, OSError) as bad:
        return f"calls: no tool runs: {bad}"
    finally:
        pool.close()
    return "calls: they share a kept sandbox, each in its own namespaces"


def _here(folder: str, way: str) -> list[str]:
    view = View(["/bin/true"], "", folder, "work")
    if view.cannot:
        return [view.cannot]
    real = view.folder
    space = workspace.of(real)
    seen = space.found
    # of a repository's own folder, what is guarded in it
    parts = [f"{path}/{part}" for path in seen.guarded for part in sorted(references.OF_GIT)]
    parts = [path for path in parts if os.path.lexists(path)]
    others = [one for one in seen.guarded if not any(part.startswith(f"{one}/") for part in parts)]
    guarded = {*references.paths(real, seen), *parts, *others}
    found = [f"masked: {os.path.relpath(path, real)}" for path in seen.secrets]
    found += [
        f"read-only: {os.path.relpath(path, real)}" for path in sorted(guarded - {*seen.secrets})
    ]
    if seen.unread:
        most = f"{workspace.LISTED} are the most that are looked at"
        found.append(f"{seen.unread} files cannot be read: {most}")
    try:
        seccomp.program()
        if way == "landlock":
            rules.of(view, space)
    except Fault as fault:
        found.append(fault.message)
    return found
