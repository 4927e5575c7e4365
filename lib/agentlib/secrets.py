"""Which files hold secrets, by name and by content: one list for the sandbox, agent-context and the history."""

import fnmatch
import os
import re
import stat

HEAD = 16384  # bytes of a file that are looked at
NAMES = (
    ".env .env.* *.env .envrc .envrc.* id_rsa id_dsa id_ecdsa id_ecdsa_sk id_ed25519 id_ed25519_sk .netrc _netrc"
    " .pgpass .my.cnf .mylogin.cnf .pypirc .git-credentials .htpasswd .s3cfg .boto .dockercfg .vault-token .vault_pass"
    " credentials credentials.json credentials.toml credentials.y*ml client_secret*.json service-account*.json"
    " service_account*.json application_default_credentials.json kubeconfig *.kubeconfig *.p12 *.pfx *.jks *.keystore"
    " *.kdbx *.ppk secrets.json secrets.toml secrets.y*ml secret.json secret.toml secret.y*ml terraform.tfstate"
    " *.tfstate.backup .ssh .aws .azure .gnupg .kube .docker .password-store"
).split()
EXAMPLES = ("*.example", "*.sample", "*.template", "*.dist", "*.pub")
WORDS = (  # a name that may stand for a secret, and what then shows that it does
    ("*.pem", rb"PRIVATE KEY"),
    ("*.key", rb"PRIVATE KEY"),
    (".npmrc", rb"_auth|_password"),
    (".yarnrc*", rb"(?i)auth|token"),
    ("pip.conf", rb"://[^/\s:@]+:[^/\s@]+@"),
)
SETTINGS = "*.json *.y*ml *.toml *.ini *.cfg *.conf *.config *.properties *.tfvars *.xml *.txt"
KEY = re.compile(  # a file that begins with a private key, or has one in it
    rb"\A(?:\xef\xbb\xbf)?\s*(?:-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-|AGE-SECRET-KEY-1)"
    rb"|^\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----\s*\n(?:[\w-]+: .*\n)*\s*[A-Za-z0-9+/=]{40,}\s*$",
    re.M,
)
TOKEN = re.compile(
    rb"\b(?:gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{50,}|glpat-[\w-]{20}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    rb"|xox[abeprs]-[\w-]{20,}|AIza[\w-]{35}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}|sk_live_\w{24,}|npm_[A-Za-z0-9]{36}"
    rb"|hf_[A-Za-z0-9]{30,})\b"
    rb"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:\\r|\\n|\s)+[A-Za-z0-9+/=]{40}"  # in a string, as JSON writes it
)


def _any(globs: list[str] | tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs), re.I)


_NAMES, _EXAMPLES, _SETTINGS = _any(NAMES), _any(EXAMPLES), _any(SETTINGS.split())
_WORDS = [(_any([glob]), re.compile(word)) for glob, word in WORDS]
_MAY_BE = _any([glob for glob, _ in WORDS])


def named(name: str, folder: bool = False) -> bool:
    """Whether a file (or folder: hidden ones only) of this name holds secrets, whatever is in it."""
    return bool(_NAMES.match(name)) and not _EXAMPLES.match(name) and (not folder or name[0] == ".")


def doubtful(name: str) -> bool:
    """Whether the content decides already for this name's sake."""
    return bool(_MAY_BE.match(name))


def holds(name: str, head: bytes) -> bool:
    """Whether the first HEAD bytes of a file show a secret: a private key, or a token in settings."""
    if (b"KEY" in head or head.startswith(b"PuTTY")) and KEY.search(head):
        return True
    if _SETTINGS.match(name) and TOKEN.search(head):
        return True
    return doubtful(name) and any(glob.match(name) and word.search(head) for glob, word in _WORDS)


def secret(path: str) -> bool:
    """Whether a file is a secret by its name, its folder's, or its content."""
    real = os.path.realpath(path)
    for one in (os.path.abspath(path), real):
        folder, name = os.path.split(one)
        if named(name) or named(os.path.basename(folder) or "/", folder=True):
            return True
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # what is read from a pipe is gone
            return False
        return holds(os.path.basename(real), os.read(fd, HEAD))
    except OSError:
        return False
    finally:
        os.close(fd)
