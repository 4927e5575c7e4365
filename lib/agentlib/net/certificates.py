"""Whom TLS trusts: the certificates of the environment's choice, else the system's, else certifi's."""

import os
import ssl

from agentlib.faults import Fault

FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
FOLDERS = ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def context() -> ssl.SSLContext:
    """A TLS context; a host's name must stand in the certificate's subjectAltName, its common name is not enough.
    `invalid_request` where a variable names what cannot be read."""
    named = [(name, path) for name in dict.fromkeys(FILES + FOLDERS) for path in _paths(name)]
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if named else ssl.create_default_context()
    for name, path in named:
        try:
            made.load_verify_locations(**_readable(name, path))
        except OSError as bad:
            reason = "no certificates" if isinstance(bad, ssl.SSLError) else bad.strerror
            raise Fault("invalid_request", f"{name}: {path}: {reason}") from None
    system = ssl.get_default_verify_paths()
    if not (named or system.cafile or system.capath and os.listdir(system.capath)):
        import certifi

        made.load_verify_locations(certifi.where())
    made.hostname_checks_common_name = False
    return made


def _paths(name: str) -> list[str]:
    value = os.environ.get(name, "")
    paths = value.split(os.pathsep) if name == "SSL_CERT_DIR" else [value]
    return [path for path in paths if path]


def _readable(name: str, path: str) -> dict[str, str]:
    """The argument of load_verify_locations, which itself takes any folder, also one that is not there; OSError."""
    if name not in FILES or name in FOLDERS and os.path.isdir(path):
        os.listdir(path)
        return {"capath": path}
    open(path, "rb").close()
    return {"cafile": path}
