"""Which files hold secrets, by name and by content: one list for the sandbox, agent-context and the history."""

import fnmatch
import functools
import os
import re
import stat

HEAD = 16384  # bytes of a file that are looked at
NAMES = (
    ".env .env.* .env-* .env_* *.env .envrc .envrc.* .flaskenv id_rsa id_dsa id_ecdsa id_ecdsa_sk id_ed25519"
    " id_ed25519_sk .netrc _netrc .pgpass .my.cnf .mylogin.cnf .pypirc .git-credentials .htpasswd .s3cfg .boto"
    " .dockercfg .rediscli_auth .vault-token .vault_pass* credentials *[._-]credentials credentials.json"
    " credentials[-_]*.json credentials.toml credentials.y*ml client_secret*.json service-account*.json"
    " service_account*.json serviceaccount*.json application_default_credentials.json auth.json token.json .token"
    " local.settings.json kubeconfig *.kubeconfig kube.config *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk master.key"
    " key4.db logins.json wallet.dat wp-config.php password.txt passwords.txt .secret .secrets secrets.cfg"
    " secrets.conf secrets.ini secrets.json secrets.properties secrets.toml secrets.y*ml secrets.*.y*ml"
    " secret.json secret.toml secret.y*ml *.tfstate *.tfstate.backup .ssh .aws .azure .gnupg .kube .docker"
    " .password-store"
)
COPY = r"\A\.?#| ?\(\d+\)(?=\.|\Z)|(?:[~#]|\.(?:bak|backup|copy|old|orig|save|sw[op]|tmp|\d+))+\Z"
EXAMPLES = "*[._-]example *[._-]sample *[._-]template *.dist *.pub"
WORDS = (  # a name that may stand for a secret, and what then shows that it does
    ("*.pem", rb"PRIVATE KEY"),
    ("*.key", rb"PRIVATE KEY"),
    (".npmrc", rb"_auth|_password"),
    (".yarnrc*", rb"(?i)auth|token"),
    ("pip.conf", rb"://[^/\s:@]+:[^/\s@]+@"),
)
MAY_BE = " ".join(glob for glob, _ in WORDS)
SETTINGS = "*.json *.y*ml *.toml *.ini *.cfg *.conf *.config *.properties *.tfvars *.xml *.txt"
KEY = (  # a file that begins with a private key, or has one in it
    rb"\A(?:\xef\xbb\xbf)?\s*(?:-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-|AGE-SECRET-KEY-1)"
    rb"|^\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----\s*\n(?:[\w-]+: .*\n)*\s*[A-Za-z0-9+/=]{40,}\s*$"
)
TOKEN = (
    rb"(?:\b|(?<=\\[bfnrt])|(?<=\\u\w{4}))(?:gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{50,}|glpat-[\w-]{20}"
    rb"|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abeprs]-[\w-]{20,}|AIza[\w-]{35}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}"
    rb"|sk_live_\w{24,}|npm_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{30,})\b"
    rb"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:\\r|\\n|\s)+[A-Za-z0-9+/=]{40}"  # in a string, as JSON writes it
)


@functools.cache  # made when it is wanted: all of them take 2 ms
def _any(globs: str) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, globs.split())), re.I)


def named(name: str, folder: bool = False) -> bool:
    """Whether a file (or folder: hidden ones only) of this name, or a copy (COPY) of one, holds secrets."""
    names = {name, re.sub(COPY, "", name, flags=re.I)}
    known = any(map(_any(NAMES).match, names)) and not any(map(_any(EXAMPLES).match, names))
    return known and (not folder or name[:1] == ".")


def doubtful(name: str) -> bool:
    """Whether a file of this name is a secret only where its content shows it (WORDS)."""
    return bool(_any(MAY_BE).match(name))


def holds(name: str, head: bytes) -> bool:
    """Whether the first HEAD bytes show a secret: a private key, or a token in settings, JSON or what has no ending."""
    if (b"KEY" in head or head.startswith(b"PuTTY")) and re.search(KEY, head, re.M):
        return True
    settings = _any(SETTINGS).match(name) or "." not in name[1:] or head.lstrip()[:1] == b"{"
    if settings and re.search(TOKEN, head):
        return True
    return any(re.search(word, head) for glob, word in WORDS if _any(glob).match(name))


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
