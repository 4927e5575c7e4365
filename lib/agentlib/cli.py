"""Start and stop of every program: help, version, schema, signals, exit status. A function you pass yours to."""

import _signal as signal  # type: ignore[import-not-found]  # signal makes enums: 1 to 5 ms
import _thread  # threading costs 1 ms at every start
import os
import select
import sys

from agentlib import __version__, private, records
from agentlib.faults import Fault, Interrupted
from agentlib.records import ClosedPipe, loads, put, write
from agentlib.stderr import program, warn
from agentlib.types import Any, ArgumentParser, Callable, NoReturn, Sequence

# what the values of options look like, by their METAVAR; no value is empty but a TEXT
FORMS = {"TEXT": "(?s).*", "[=PROVIDER]": "(?s).*", "NAME[=FILE]": "(?s)[^=]+(=.+)?"}
FORMS |= {"TOOL": r"(?a)[\w*?!\[\]-]+", "NAME[:PROFILE]": r"(?a)[\w*?!\[\]-]+(:\w*)?"}
FORMS |= {"VARIABLE": r"(?a)[A-Za-z_]\w*", "STORE": r"(?a)[\w-][\w.-]{0,99}|(?s:.*/.*|.*\.db)"}
FORMS |= {"N[/s|/m|/h]": "[0-9.]*[1-9][0-9.]*(/[smh])?|unix:.+", "KEY=VALUE": "(?s)[^=]+=.*"}
Schema = dict[str, Any]
Schemas = Schema | Sequence[Schema]
_last: list[Callable[[], object]] = []
at_end = _last.append  # what is to be done as the program ends
CLOSED = 128 + signal.SIGPIPE
STOPS = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
_unread: int = CLOSED  # exit status where nobody reads our output


def headline(doc: str) -> tuple[str, str]:
    """(name, purpose) of a program from line two of its file, `name - purpose`."""
    return doc.strip().splitlines()[0].partition(" - ")[::2]


def version(name: str) -> str:
    """The answer to --version: name, version, and where the suite is that the program is of."""
    from agentlib.paths import TOP

    return f"{name} {__version__} from {TOP}"


def schema(doc: str, **fields: Any) -> Schema:
    """The answer to --agent-schema: name and description come from line two of the program."""
    name, purpose = headline(doc)
    return {"name": name, "description": purpose[:1].upper() + purpose[1:], **fields}


def parser(doc: str, usage: str | None = None) -> ArgumentParser:
    """An argument parser whose help is the program's docstring: its first line above, the rest below the options."""
    module: Any = type(sys)("gettext")  # no translation: loading and asking the real one costs 3 ms
    module.gettext, module.ngettext = str, lambda one, many, count: one if count == 1 else many
    sys.modules.setdefault("gettext", module)
    import argparse
    import re

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            typed = [word.partition("=")[0] for word in iter(iter(sys.argv).__next__, "--")]
            unknown = [w for w in typed if w[:2] == "--" and w not in self._option_string_actions]
            if unknown and "arguments are required" in message:  # for want of what was meant so
                message = f"unrecognized arguments: {' '.join(unknown)}"
            plain = message.replace("\\x00", "")
            raise Fault("invalid_input", f"{plain}; see '{program()} --help'")

        def _get_value(self, action: Any, text: str) -> Any:
            form = FORMS.get(action.metavar, "(?s).+")
            if action.option_strings and not re.fullmatch(form, text):
                raise argparse.ArgumentError(action, f"expected {action.metavar}, not '{text}'")
            return super()._get_value(action, text)

        def parse_intermixed_args(self, args: Sequence[str]) -> Any:  # type: ignore[override]
            """With `--`, which argparse loses here: what stands behind it are operands, also with a dash."""
            cut = args.index("--") if "--" in args else len(args)
            behind = [f"\0{w}" if w[0:1] == "-" != w else w for w in args[cut + 1 :]]
            found = super().parse_intermixed_args([*args[:cut], *behind])
            for name, value in vars(found).items():
                if isinstance(value, list):
                    plain = [w.removeprefix("\0") if isinstance(w, str) else w for w in value]
                    setattr(found, name, plain)
            return found

    class Layout(argparse.RawDescriptionHelpFormatter):
        def _format_action_invocation(self, action: Any) -> str:
            """`-o, --output FILE`, as Python from 3.13 on has it, in place of `-o FILE, --output FILE`."""
            return re.sub(r"^(-\w) .*, --", r"\1, --", super()._format_action_invocation(action))

        def _set_color(self, *_: object) -> None:
            """No colours: in Python 3.14 each parser would load dataclasses for them, 17 ms."""
            self._theme = type("Plain", (), {"__getattr__": lambda *_: ""})()
            self._decolor = str

    first, _, rest = doc.strip().partition("\n")
    more: Any = {"formatter_class": lambda prog: Layout(prog, max_help_position=28, width=100)}
    made = Parser(headline(doc)[0], usage, first, rest.strip("\n"), **more, allow_abbrev=False)
    made.add_argument("--version", action="version", version=version(made.prog))
    options(made, "--agent-schema  describe this program as JSON and exit")
    return made


def options(group: Any, table: str, **details: Any) -> None:
    """Add the options of a table to a parser, or a group of one: a line each, `--name METAVAR  help`.

    Without METAVAR it is a switch; `METAVAR...` may be repeated; `one|other` in small letters are choices; a line that
    begins with a blank goes on. details: by option, the type of its value, or a dict of what else add_argument takes.
    """
    for line in table.strip().replace("\n ", " ").splitlines():
        spec, _, help = line.strip().partition("  ")
        flags, _, metavar = spec.replace(", -", ",-").partition(" ")
        names = flags.split(",")
        fields: dict[str, Any] = {"metavar": metavar}
        if not metavar:
            fields = {"action": "store_true"}
        elif "|" in metavar and metavar.islower():
            fields = {"choices": metavar.split("|")}
        elif metavar.endswith("..."):
            fields = {"action": "append", "default": [], "metavar": metavar[:-3]}
        detail = details.get(names[-1].strip("-").replace("-", "_"), {})
        fields |= detail if isinstance(detail, dict) else {"type": detail}
        group.add_argument(*names, help=help.strip(), **fields)


def with_command(parser: Any, argv: list[str], lack: str = "no command: put it after --") -> Any:
    """The arguments before `--`; as `command` the words behind it. lack: the fault of there being none, "" for none."""
    cut = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:cut])
    args.command = argv[cut + 1 :]
    if lack and not args.command:
        raise Fault("invalid_input", lack)
    return args


def number(least: float, most: float = 1e9, kind: Callable[[str], float] = float) -> Any:
    def convert(text: str) -> float:
        import argparse

        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if least <= value <= most:
            return value
        what = "whole number" if kind is int else "number"
        why = "is too large" if value > most else f"is not a {what} from {least:g} on"
        raise argparse.ArgumentTypeError(f"{text!r} {why}")

    return convert


def count(least: int, most: int = 2**53 - 1) -> Any:
    return number(least, most, int)


def json_schema(text: str) -> Schema:
    """The object of --schema: itself, or the name of its file."""
    try:
        typed = text.lstrip().startswith("{")
        value = loads(text if typed else open(text, "rb").read())
    except (OSError, ValueError) as bad:
        why = getattr(bad, "strerror", None) or bad
        raise Fault("invalid_input", f"--schema {text[:80]}: {why}") from None
    if not isinstance(value, dict):
        raise Fault("invalid_input", "--schema: a JSON Schema is an object")
    return value


def start(
    main: Callable[[list[str]], int | None],
    doc: str,
    describe: Schemas | Callable[[list[str]], Schemas] | None = None,
) -> NoReturn:
    """Run main(arguments) and end with its exit status. Answers --agent-schema (from `describe`) and --version before
    anything is imported or read; turns a Fault into one line and its status; never prints a traceback."""
    try:
        end(_status(main, doc, describe))
    except (Interrupted, KeyboardInterrupt) as stop:  # also one that comes while the program ends
        end(128 + getattr(stop, "signum", signal.SIGINT))


def _status(main: Any, doc: str, describe: Any) -> int:
    """The exit status of a program that ended by itself, after its message."""
    if sys.platform != "linux":
        warn(f"needs Linux, and this is {sys.platform}: docs/install.md says what for")
        os._exit(100)
    _open_standard_files()
    args = sys.argv[1:]
    try:
        _catch_signals()
        options = args[: args.index("--")] if "--" in args else args
        if "--agent-schema" in options and describe is not None:
            answer = describe(options) if callable(describe) else describe
            for one in [answer] if isinstance(answer, dict) else answer:
                write(one)
        elif options == ["--version"]:
            put(f"{version(headline(doc)[0])}\n".encode())
        else:
            private.no_core()
            return int(main(args) or 0)
    except (ClosedPipe, BrokenPipeError):
        return _unread
    except SystemExit as stop:
        return int(stop.code if isinstance(stop.code, int) else stop.code is not None)
    except Fault as fault:
        warn(fault.message)
        return fault.status
    except MemoryError:
        warn("out of memory")
        return 1
    except OSError as bad:
        where = f"{bad.filename}: " if bad.filename else ""
        warn(f"{where}{bad.strerror or bad}")
        return 111
    except Exception as bug:
        if os.environ.get("AGENT_DEBUG"):
            raise
        warn(f"internal error: {type(bug).__name__}: {bug} (AGENT_DEBUG=1 shows where)")
        return 100
    return 0


def end(status: int) -> NoReturn:
    """Leave at once, with at_end's handlers alone. What was printed goes out first, or a message says it is lost."""
    try:
        if status != CLOSED:
            sys.stdout.flush()
    except BrokenPipeError:
        status = status or CLOSED
    except (Interrupted, KeyboardInterrupt) as stop:
        status = 128 + getattr(stop, "signum", signal.SIGINT)
    except OSError as bad:
        if status == 0:
            warn(f"standard output: {bad.strerror}")
            status = 111
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # nothing breaks off the clean-up
    while _last:
        _last.pop()()
    if status == CLOSED:  # end as the shell expects of a writer without reader
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(status)


def end_with_reader() -> None:
    """From now on end with 0 once nobody reads our standard output, though standard input may stay open: the last stage
    of an agent answers --help and --agent-schema at once, and those before it must not keep it waiting."""
    global _unread
    _unread = 0
    when_unread(lambda: end(0))


def when_unread(do: Callable[[], object]) -> None:
    """Do this, in a thread, once nobody reads our standard output."""

    def wait() -> None:
        poll = select.poll()
        poll.register(1, 0)  # no event but that the other side is closed
        poll.poll()
        do()

    _thread.start_new_thread(wait, ())


def _open_standard_files() -> None:
    """Descriptors 0 to 2 exist, so that no file of ours takes their place where the caller closed them."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:  # what is printed must not be lost in silence
            os.open(os.devnull, os.O_RDONLY if fd == 1 else os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if os.isatty(descriptor):
            from agentlib import display

            terminal = display.Terminal(descriptor)
            setattr(sys, name, terminal.text_file())
            if descriptor == 1:
                records.out = terminal.write


def _catch_signals() -> None:
    """TERM, HUP, and the end of who asked for the program (process/child.py) end it by way of its clean-up."""

    def stop(signum: int, _frame: Any) -> None:
        raise Interrupted(signum)

    for signum in STOPS - {signal.SIGINT}:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, stop)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # which the caller may have ignored
    if (parent := os.environ.pop("AGENT_PARENT", "")).isdecimal():
        private.end_with_starter(int(parent))
