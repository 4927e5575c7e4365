#!/usr/bin/env python3
"""scale [WORD...] - every figure of docs/scale.md, as the lines of its tables, in the order of the page

WORD: of the parts `one each ssh ray first limit limits memory`, all if there is none. It needs GNU parallel, sshd (four
of them are started on loopback), PostgreSQL, and for `ray` a package index: what it installs stays in the user's cache
folder. On an idle machine with two cores it takes less than 4 minutes. Status 1 where a figure is over its limit.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import batch
from concurrency import vendor
from measure import ROOT, medians, surroundings
from parallel import AGENT, JOBS, LATENCY, WORKERS

COUNT = 10_000
KEPT = 2000  # memories of one process
PARALLEL = [str(ROOT / "bin/agent-parallel"), "--quiet"]
REACT = str(ROOT / "bin/agent-react")
Env = dict[str, str]
good = True


def row(what: str, measured: str, limit: str = "", holds: bool = True) -> None:
    """A line of the page's table."""
    global good
    good &= holds
    print(f"| {what} | {measured} | {limit} |{'' if holds else '  OVER ITS LIMIT'}", flush=True)


def tasks(folder: Path, count: int, prefix: str = "") -> Path:
    file = folder / f"tasks-{prefix}{count}"
    lines = (f'{{"type":"task","id":"{prefix}{n}","input":"go"}}\n' for n in range(count))
    file.write_text("".join(lines))
    return file


def run(argv: Sequence[str], env: Env, stdin: Path, look: float = 60.0) -> tuple[float, float, int]:
    """(wall s, CPU s of all processes, peak kB): each task must have one good result."""
    count = stdin.read_bytes().count(b"\n")
    return batch.run(argv, {**env, "TASKS": str(count)}, stdin, look)


def agent(folder: Path) -> str:
    """The path of an agent that answers at once."""
    path = folder / "agent"
    path.write_text(AGENT)
    path.chmod(0o755)
    return str(path)


def one(env: Env, folder: Path) -> None:
    """One machine: a thousand tasks in one agent-react."""
    argv = [REACT, "--jobs", "1000"]
    least = run(argv, env, tasks(folder, 1), 0.05)
    wall, cpu, _ = run(argv, env, tasks(folder, 1000))
    peak = run(argv, env, tasks(folder, 1000), 0.05)[2]
    each = (peak - least[2]) / 1000
    row(
        f"1,000 tasks at once in one `agent-react`, a model that takes {LATENCY:g} s",
        f"{wall:.1f} s, {cpu:.1f} ms of CPU and {each:.0f} kB a task",
    )
    row("`agent-react` with its `agent-llm`, one task", f"{least[2] / 1024:.0f} MB")


def own_cpu(pid: int) -> float:
    """Seconds of CPU of a process itself."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def controller(argv: Sequence[str], env: Env, stdin: Path) -> float:
    """Seconds of CPU of agent-parallel alone."""
    used = 0.0
    with stdin.open("rb") as file:
        child = subprocess.Popen(argv, env=env, stdin=file, stdout=subprocess.DEVNULL)
        while child.poll() is None:
            used = max(used, own_cpu(child.pid))
            time.sleep(0.02)
    return used


def each(env: Env, folder: Path) -> None:
    """What a task costs more through agent-parallel, beside the same agent in a pipe: medians of pairs."""
    stdin, by_hand = tasks(folder, COUNT), [agent(folder)]
    argv = [*PARALLEL, "--local", str(WORKERS), "--", *by_hand]
    more = [run(argv, env, stdin)[0] - run(by_hand, env, stdin)[0] for _ in range(3)]
    cost = median(more) / COUNT * 1e3
    what = "10,000 tasks through 8 workers on one machine, compared with the same agent in a pipe"
    row(what, f"{cost:.2f} ms a task more", "2 ms", cost <= 2)
    row("CPU of the controller", f"{controller(argv, env, stdin) / COUNT * 1e3:.2f} ms a task")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def hosts(env: Env, folder: Path) -> Iterator[Path]:
    """A file of four hosts: four sshd on loopback, each with a home of its own."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    for name in ("host", "user"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    servers, lines = [], []
    for number in range(4):
        home, port = folder / f"home{number}", free_port()
        (home / ".local/state/agentutils/history").mkdir(parents=True)
        options = f"ListenAddress=127.0.0.1 AuthorizedKeysFile={folder}/user.pub StrictModes=no PidFile=none UsePAM=no"
        words = [f"-o{option}" for option in (*options.split(), "PermitRootLogin=yes")]
        words.append(f"-oSetEnv=HOME={home} PATH={env['PATH']}")
        argv = [sshd, "-D", "-f", "/dev/null", "-h", str(folder / "host"), "-p", str(port), *words]
        servers.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
        ours = "-oUserKnownHostsFile=/dev/null -oStrictHostKeyChecking=no -oLogLevel=ERROR"
        lines.append(f"ssh -Fnone -i{folder}/user {ours} -p{port} 127.0.0.1\n")
        await_port(port)
    batch.stay.update(server.pid for server in servers)
    file = folder / "hosts"
    file.write_text("".join(lines))
    try:
        yield file
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def await_port(port: int) -> None:
    for _ in range(1000):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens at port {port}")


def ssh(env: Env, folder: Path) -> None:
    with hosts(env, folder) as file:
        argv = [*PARALLEL, "--hosts", str(file)]
        stdin = tasks(folder, COUNT)
        wall = median(run([*argv, "--", agent(folder)], env, stdin)[0] for _ in range(3))
        cost = wall / COUNT * 1e3
        what = "the same over ssh to four hosts, with the connections and the start of the workers"
        row(what, f"{cost:.2f} ms a task", "2 ms", cost <= 2)
        first("over ssh", argv, env, folder)


def first(where: str, argv: Sequence[str], env: Env, folder: Path) -> None:
    """The first result of agent-react: one task, with the start and the end of everything."""
    words = [*argv, *(f"--env={name}" for name in env if name.startswith(("AGENT_", "OPENAI_")))]
    wall = median(run(words, env, tasks(folder, 1))[0] for _ in range(3)) - LATENCY
    row(f"one task from start to end, beside the model's {LATENCY:g} s: {where}", f"{wall:.1f} s")


def here(env: Env, folder: Path) -> None:
    first("on one machine", [*PARALLEL, "--local", "1"], env, folder)


def limit(env: Env, folder: Path) -> None:
    """10,000 tasks of agent-react against the limit of latency."""
    argv = [*PARALLEL, "--local", str(WORKERS), "--jobs", str(JOBS)]
    wall, cpu, _ = run(argv, env, tasks(folder, COUNT))
    least = COUNT / (WORKERS * JOBS) * LATENCY
    what = f"10,000 tasks of agent-react, 8 workers with {JOBS} tasks each, a model that takes {LATENCY:g} s"
    measured = f"{wall:.0f} s, {wall / least:.2f} times what the {LATENCY:g} s allow"
    row(what, measured, "1.15", wall <= 1.15 * least)
    row("CPU of all processes for these", f"{cpu / COUNT * 1e3:.1f} ms a task")


def limits(env: Env, folder: Path) -> None:
    """Shared limits: what a turn costs, whether the rate is kept, by how much the budget is passed."""
    argv, stdin = [*PARALLEL, "--local", "4", "--jobs", "10"], tasks(folder, 600)
    kinds = {
        "": [],
        "rate": ["--rate-limit", "100000/s"],
        "budget": ["--max-total-tokens", "9" * 12],
    }
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in kinds}
    for _ in range(3):
        for name, more in kinds.items():
            found[name].append(run([*argv, *more], env, stdin))
    cpu = {name: median(one[1] for one in runs) / 600 * 1e3 for name, runs in found.items()}
    for name, option in (("rate", "--rate-limit"), ("budget", "--budget")):
        what = f"`{option}`: a call more, in CPU of all processes on all machines"
        row(what, f"{cpu[name] - cpu['']:.1f} ms of {cpu['']:.1f}")
    wall = run([*argv, "--rate-limit", "50/s"], env, tasks(folder, 300))[0]
    row(
        "300 requests at `--rate-limit 50/s`, 4 workers",
        f"{wall:.1f} s",
        "not under 5.8 s",
        wall >= 5.8,
    )
    budget([*argv, "--max-total-tokens", "400"], env, stdin)


def budget(argv: Sequence[str], env: Env, stdin: Path) -> None:
    """Calls that go beyond a budget of 200 calls (of 2 tokens each)."""
    with stdin.open("rb") as file:
        out = subprocess.run(argv, env=env, stdin=file, stdout=subprocess.PIPE).stdout
    calls = sum(b'"error"' not in line for line in out.splitlines())
    what = "a budget of 200 calls, 4 workers with 10 tasks each"
    row(what, f"passed by {calls - 200} calls", "40, those in flight", 200 <= calls <= 240)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The address of a server of our own, with its default settings."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    home = Path(tempfile.mkdtemp(prefix="pg"))
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    os.chown(home, user.pw_uid, user.pw_gid)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home}
    plain = {"user": user.pw_uid, "group": user.pw_gid} if os.getuid() == 0 else {}
    make = [binaries / "initdb", "-D", home / "data", "-A", "trust", "-U", "bench"]
    subprocess.run(make, check=True, **quiet, **plain)  # type: ignore[call-overload]
    argv = [binaries / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses="]
    server = subprocess.Popen(argv, **quiet, **plain)  # type: ignore[call-overload]
    batch.stay.add(server.pid)
    try:
        for _ in range(200):
            if not subprocess.run([binaries / "pg_isready", "-q", "-h", home]).returncode:
                break
            time.sleep(0.1)
        yield f"postgresql://bench@/postgres?host={home}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def memory(env: Env, folder: Path) -> None:
    """Shared memory: the same memories into a file and into a server, alone and four at once; a recall."""
    program = str(ROOT / "bin/agent-memory")
    files = [folder / f"memories{n}" for n in range(5)]
    for n, file in enumerate(files):
        lines = (
            {"type": "memory", "key": f"k{n} {m}", "value": f"a fact {m}"} for m in range(KEPT)
        )
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with postgres(folder) as url:
        stores = {"in a file (SQLite)": str(folder / "facts.db"), "in PostgreSQL": url}
        for where, store in stores.items():
            argv = [program, "import", "--store", store]
            alone, together = imported(argv, env, files[:1]), imported(argv, env, files[1:])
            recall, bare = medians(
                [[program, "recall", "k0 7", "--store", store], [program, "--version"]], 7, env
            )
            row(f"a memory kept {where}, by one process", f"{alone:.2f} ms")
            row(f"a memory kept {where}, by four at once", f"{together:.2f} ms")
            row(f"a recall {where}, beside the start", f"{(recall.wall - bare.wall) * 1e3:.0f} ms")


def imported(argv: Sequence[str], env: Env, files: Sequence[Path]) -> float:
    """Milliseconds for each memory of files that are all imported at once."""
    began, children = time.monotonic(), []
    none = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for file in files:
        with file.open("rb") as stdin:
            children.append(subprocess.Popen(argv, env=env, stdin=stdin, **none))
    if any([child.wait() for child in children]):
        sys.exit(f"{argv}: failed")
    return (time.monotonic() - began) / (len(files) * KEPT) * 1e3


def ray_place() -> Path:
    """An environment with the suite as its wheel and Ray, made where it is not there yet."""
    extra = [
        line.split("#")[0]
        for line in (ROOT / "requirements-extra.txt").read_text().splitlines()
        if re.search(r"# .*\bray\b", line)
    ]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place, uv = cache / "agentutils-bench" / "ray", str(ROOT / ".venv/bin/uv")
    pip = [uv, "pip", "install", "-q", "--python", str(place)]
    if not (place / "bin/ray").exists():
        print(f"installing Ray into {place}", file=sys.stderr)
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
        subprocess.run(
            [*pip, "-r", str(ROOT / "requirements.txt"), *map(str.strip, extra)], check=True
        )
    with tempfile.TemporaryDirectory() as dist:
        make = [str(ROOT / ".venv/bin/hatchling"), "build", "-t", "wheel", "-d", dist]
        subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
        wheel = next(Path(dist).glob("*.whl"))
        subprocess.run([*pip, "--no-deps", "--reinstall", str(wheel)], check=True)
    return place


@contextmanager
def cluster(place: Path, env: Env) -> Iterator[tuple[str, Callable[[], None]]]:
    """(the address, what kills the second node) of a cluster of two nodes on this machine."""
    port, session = free_port(), tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    base = [
        str(place / "bin/ray"),
        "start",
        "--block",
        "--node-ip-address",
        "127.0.0.1",
        "--num-cpus",
        "4",
    ]
    base += ["--object-store-memory", "80000000", "--temp-dir", session, "--disable-usage-stats"]
    address = f"127.0.0.1:{port}"
    kinds = ["--head", f"--port={port}", "--include-dashboard=false"], [f"--address={address}"]
    nodes, env = [], {**env, "PATH": f"{place}/bin:{env['PATH']}"}
    try:
        for number, words in enumerate(kinds):
            with open(f"{session}/log{number}", "wb") as log:
                nodes.append(
                    subprocess.Popen(
                        [*base, *words], env=env, stdout=log, stderr=log, start_new_session=True
                    )
                )
            await_text(f"{session}/log{number}", b"Ray runtime started")
        batch.stay.update(node.pid for node in nodes)
        yield address, lambda: os.killpg(nodes[1].pid, signal.SIGKILL)
    finally:
        for node in nodes:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        shutil.rmtree(session, ignore_errors=True)


def await_text(path: str, text: bytes) -> None:
    until = time.monotonic() + 120
    while text not in Path(path).read_bytes():
        if time.monotonic() > until:
            sys.exit(f"{path}: no {text.decode()!r} in two minutes")
        time.sleep(0.1)


def ray(env: Env, folder: Path) -> None:
    place = ray_place()
    with cluster(place, env) as (address, kill):
        argv = [str(place / "bin/agent-parallel"), "--quiet", "--ray", address]
        walls = [
            timed([*argv, "--", agent(folder)], env, tasks(folder, count)) for count in (1, COUNT)
        ]
        cost = walls[1] / COUNT * 1e3
        row(
            "the same in a running Ray cluster of two nodes, with the start of the workers",
            f"{cost:.2f} ms a task",
            "2 ms",
            cost <= 2,
        )
        row("one task from start to end: in a running Ray cluster", f"{walls[0]:.1f} s")
        lost(argv, env, tasks(folder, 400), kill)


def timed(argv: Sequence[str], env: Env, stdin: Path) -> float:
    """Seconds of a command whose processes are partly Ray's."""
    began = time.monotonic()
    with stdin.open("rb") as file:
        out = subprocess.run(argv, env=env, stdin=file, stdout=subprocess.PIPE, check=True).stdout
    ids = {json.loads(line)["id"] for line in out.splitlines()}
    if len(ids) != stdin.read_bytes().count(b"\n"):
        sys.exit(f"{argv}: {len(ids)} results")
    return time.monotonic() - began


def lost(argv: Sequence[str], env: Env, stdin: Path, kill: Callable[[], None]) -> None:
    """400 tasks of agent-react; a node is killed once there are 50 results."""
    words = [
        *argv,
        "--jobs",
        "20",
        *(f"--env={name}" for name in env if name.startswith(("AGENT_", "OPENAI_"))),
    ]
    with stdin.open("rb") as file:
        child = subprocess.Popen(words, env=env, stdin=file, stdout=subprocess.PIPE)
    assert child.stdout
    results = []
    for line in child.stdout:
        results.append(json.loads(line))
        if len(results) == 50:
            kill()
    status, ids = child.wait(), [one["id"] for one in results if "error" not in one]
    holds = status == 0 and len(ids) == len(set(ids)) == 400
    measured = f"{len(set(ids))} results, {len(ids) - len(set(ids))} of them twice"
    row("400 tasks with Ray, two nodes, one of them killed", measured, "400, none", holds)


PARTS: dict[
    str, tuple[float, Callable[[Env, Path], None]]
] = {  # seconds of the model; the order of the page
    "one": (LATENCY, one),
    "each": (0.0, each),
    "ssh": (LATENCY, ssh),
    "ray": (0.2, ray),
    "first": (LATENCY, here),
    "limit": (LATENCY, limit),
    "limits": (0.1, limits),
    "memory": (0.0, memory),
}


def main() -> int:
    ctypes.CDLL(None).prctl(batch.SUBREAPER, 1, 0, 0, 0)
    began, load = time.monotonic(), os.getloadavg()[0]
    for name in sys.argv[1:] or PARTS:
        since = time.monotonic()
        with (
            vendor(PARTS[name][0]) as address,
            tempfile.TemporaryDirectory(prefix="bench-") as home,
        ):
            batch.stay.update(batch.tree(os.getpid())[1:])
            PARTS[name][1](surroundings(home, address), Path(home))
        print(f"    ({name}: {time.monotonic() - since:.0f} s)", file=sys.stderr, flush=True)
    loads = f"{load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    print(f"{os.cpu_count()} cores, a load of {loads}, {time.monotonic() - began:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
