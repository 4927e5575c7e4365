"""Whom TLS trusts: the certificates of the environment's choice, else the system's, else certifi's."""

import os
import ssl

from agentlib.faults import Fault

FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
FOLDERS = ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def context() -> ssl.SSLContext:
    """A TLS context; a host's name must stand in the certificate's subjectAltName, its common name is not enough.
    `invalid_request` where a variable names what cannot be read."""
    values = {name: os.environ.get(name, "") for name in dict.fromkeys(FILES + FOLDERS)}
    named = [(name, value) for name, value in values.items() if value and name != "SSL_CERT_DIR"]
    folders = values["SSL_CERT_DIR"].split(os.pathsep)
    named += [("SSL_CERT_DIR", folder) for folder in folders if folder]
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if named else ssl.create_default_context()
    for name, path in named:
        try:
            if name not in FILES or name in FOLDERS and os.path.isdir(path):
                os.listdir(path)  # load_verify_locations takes also a folder that is not there
                made.load_verify_locations(capath=path)
            else:
                open(path, "rb").close()
                made.load_verify_locations(cafile=path)
        except OSError as bad:
            reason = "no certificates" if isinstance(bad, ssl.SSLError) else bad.strerror
            raise Fault("invalid_request", f"{name}: {path}: {reason}") from None
    system = ssl.get_default_verify_paths()
    if not (named or system.cafile or system.capath and os.listdir(system.capath)):
        import certifi

        made.load_verify_locations(certifi.where())
    made.hostname_checks_common_name = False
    return made
