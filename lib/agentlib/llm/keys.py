"""The keys of providers: where they come from, the environment a provider gets, and their removal from what is written.

A key comes from the variable that the provider's schema marks with `"key":true`, else from a command in config.toml,
`[keys]`, by the provider's or the variable's name: `openai = "pass show openai"` or a list of words.
"""

import os

from agentlib import records
from agentlib.environment import PASSWORD, RUN, looks_secret, secret
from agentlib.faults import Fault
from agentlib.types import Any, Iterable, Mapping, Record

PLAIN = """PATH HOME LANG LANGUAGE TMPDIR TERM USER LOGNAME TZ
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE""".split()
FAMILIES = ("LC_", "XDG_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SHORTEST = 6  # characters: a shorter value is no secret, and removing it would garble all text
KEY_TIMEOUT = 60.0  # seconds that a key's command has, for it may ask a person for a passphrase


def variables(schema: Record) -> list[str]:
    """The variables that may hold the key, [] for a provider that needs none."""
    return [entry["name"] for entry in entries(schema) if entry.get("key")]


def required(schema: Record) -> bool:
    """Whether the provider can do nothing without one of those."""
    keys = [entry for entry in entries(schema) if entry.get("key")]
    return bool(keys) and not all(_optional(entry) for entry in keys)


def _optional(entry: Record) -> bool:
    """Whether the provider can do without this key: always, or where one of these variables or files is there."""
    places = entry.get("optional")
    if not isinstance(places, list):
        return bool(places)
    files = [os.path.expanduser(place) for place in map(str, places) if "/" in place]
    return any(map(os.path.exists, files)) or any(map(os.environ.get, map(str, places)))


def entries(schema: Record) -> list[Record]:
    """The schema's `env`, without what is malformed in it."""
    listed = schema.get("env")
    every = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    return [entry for entry in every if isinstance(entry.get("name"), str)]


def source(name: str, schema: Record, config: Mapping[str, Any]) -> str:
    """Where the provider's key comes from: a variable's name, `config.toml`, or "" where there is none."""
    needed = variables(schema)
    for variable in needed:
        if os.environ.get(variable, "").strip():
            return variable
    return "config.toml" if needed and command(name, needed, config) else ""


def command(name: str, needed: Iterable[str], config: Mapping[str, Any]) -> tuple[str, Any] | None:
    """(what [keys] calls it, the command) for a provider or one of its variables."""
    table: Any = config.get("keys")
    words = (name, *needed) if isinstance(table, dict) else ()
    return next(((word, table[word]) for word in words if word in table), None)


def absent(name: str, schema: Record) -> Fault:
    cure = f'(or in config.toml: [keys] {name} = "a command that prints it")'
    why = f"{name}: no key: set {' or '.join(variables(schema))} {cure}"
    return Fault("auth", why, provider=name)


def environment(name: str, schema: Record, config: Mapping[str, Any]) -> dict[str, str]:
    """The whole environment of the provider: what programs need, what its schema lists, and its key."""
    allowed = {*PLAIN, *RUN, *(entry["name"] for entry in entries(schema))}
    allowed |= {name for name in os.environ if name.startswith(FAMILIES) or name.lower() in PROXIES}
    env = {name: value for name, value in os.environ.items() if name in allowed}
    needed = variables(schema)
    if needed and not any(env.get(variable, "").strip() for variable in needed):
        if found := command(name, needed, config):
            word, argv = found
            env[word if word in needed else needed[0]] = fetch(word, argv)
    return env


def fetch(word: str, argv: Any) -> str:
    """The key that a command of the user's prints. Its output is a secret: no message shows it."""
    import subprocess

    where = f"config.toml: [keys] {word}"
    try:
        if isinstance(argv, str):
            import shlex

            argv = shlex.split(argv)
        if not isinstance(argv, list) or not argv or not all(isinstance(w, str) for w in argv):
            raise ValueError("a command or a list of words")
        null, pipe = subprocess.DEVNULL, subprocess.PIPE
        done = subprocess.run(argv, stdin=null, stdout=pipe, timeout=KEY_TIMEOUT, check=False)
    except ValueError as bad:  # a quotation that does not end, or one of ours
        raise Fault("invalid_input", f"{where}: {bad}") from None
    except subprocess.TimeoutExpired:
        raise Fault("auth", f"{where}: {argv[0]} gave no key within {KEY_TIMEOUT:g} s") from None
    except OSError as bad:
        raise Fault("auth", f"{where}: {argv[0]}: {bad.strerror}") from None
    key = done.stdout.decode("utf-8", "replace").split("\n", 1)[0].strip()
    if done.returncode or not key:
        how = f"status {done.returncode} and {'a' if key else 'no'} first line"
        raise Fault("auth", f"{where}: {argv[0]} ended with {how}")
    return key


def secrets(schema: Record, env: Mapping[str, str]) -> set[bytes]:
    """What must never be written: the keys in a provider's environment, and passwords in addresses."""
    found = [value for value in _keys(schema, env).values() if looks_secret(value)]
    others = (entry["name"] for entry in entries(schema) if not entry.get("key"))
    found += [env.get(name, "").strip() for name in others if secret(name)]
    found += [m[1] for value in env.values() for m in PASSWORD.finditer(value)]
    spelled = {word.strip() for word in found if len(word.strip()) >= SHORTEST}
    spelled |= {records.dumps(word)[1:-1] for word in spelled}  # as it stands inside JSON
    return {word.encode("utf-8", "surrogateescape") for word in spelled}


def plain(schema: Record, env: Mapping[str, str]) -> dict[bytes, str]:
    """The keys that are plain words, which nothing takes out of a text: each with its variable."""
    found = [(name, key) for name, key in _keys(schema, env).items() if len(key) >= SHORTEST]
    words = [(name, key) for name, key in found if not looks_secret(key)]
    return {key.encode("utf-8", "surrogateescape"): name for name, key in words}


def _keys(schema: Record, env: Mapping[str, str]) -> dict[str, str]:
    return {name: env.get(name, "").strip() for name in variables(schema)}


def parted(text: str, hidden: Iterable[bytes]) -> tuple[str, str]:
    """(the text, its end that may be the beginning of a secret)."""
    most = 0
    for data in hidden:
        word = data.decode("utf-8", "replace")
        lengths = range(min(len(word) - 1, len(text)), most, -1)
        most = next((length for length in lengths if text.endswith(word[:length])), most)
    return text[: len(text) - most], text[len(text) - most :]
