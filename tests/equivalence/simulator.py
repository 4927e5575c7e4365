"""The simulators of one conversation, as a program: python simulator.py FOLDER, a JSON-lines coprocess.

FOLDER has entry.json (a conversation of bfcl), the package bfcl_eval with its simulators, and, once a call was made,
`state`: so that the next turn of the conversation, another process, goes on from there. Standard library only.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pickle
import sys
import types
from typing import Any

SOURCES = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}  # all but those that need more than the standard library


def loaded(folder: str, name: str) -> type:
    """The class of a simulator; the packages around it are not run, they import much else."""
    parts = SOURCES.split(".")
    for end in range(1, len(parts) + 1):
        package = sys.modules.setdefault(
            ".".join(parts[:end]), types.ModuleType(".".join(parts[:end]))
        )
        package.__path__ = [os.path.join(folder, *parts[:end])]
    found: type = getattr(importlib.import_module(f"{SOURCES}.{MODULES[name]}"), name)
    return found


def fresh(folder: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The simulators at the beginning of the conversation, by class."""
    made = {}
    for name in entry["involved_classes"]:
        made[name] = loaded(folder, name)()
        made[name]._load_scenario(json.loads(json.dumps(entry["initial_config"].get(name, {}))))
    return made


def methods(simulators: dict[str, Any]) -> dict[str, Any]:
    """What can be called, by name; of two classes with one name the later has it, as bfcl has it."""
    return {
        name: method
        for one in simulators.values()
        for name, method in inspect.getmembers(one, inspect.ismethod)
        if not name.startswith("_")
    }


def call(simulators: dict[str, Any], name: str, arguments: dict[str, Any]) -> str:
    """The result in words; an exception is one too, as bfcl has it."""
    try:
        result = methods(simulators)[name](**arguments)
        return result if isinstance(result, str) else json.dumps(result, default=str)
    except Exception as bad:
        return f"Error during execution: {bad}"


def state(simulators: dict[str, Any]) -> Any:
    """What bfcl compares, as plain values."""
    return {name: plain(one, ()) for name, one in simulators.items()}


def plain(value: Any, above: tuple[int, ...]) -> Any:
    """Objects as the dict of their public attributes; one that holds itself (a folder's parent) only once."""
    if id(value) in above:
        return "(above)"
    above = (*above, id(value))
    if isinstance(value, dict):
        return {str(key): plain(one, above) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one, above) for one in value]
    if not hasattr(value, "__dict__"):
        return value
    return {
        name: plain(one, above) for name, one in vars(value).items() if not name.startswith("_")
    }


def main() -> None:
    folder = sys.argv[1]
    with open(os.path.join(folder, "entry.json")) as stream:
        entry = json.load(stream)
    kept = os.path.join(folder, "state")
    simulators = fresh(folder, entry)
    if os.path.exists(kept):
        with open(kept, "rb") as file:
            simulators = pickle.load(file)
    for line in sys.stdin:
        request = json.loads(line)
        content = call(simulators, request["name"], request["arguments"])
        with open(kept, "wb") as file:
            pickle.dump(simulators, file)
        print(json.dumps({"id": request["id"], "content": content}), flush=True)


if __name__ == "__main__":
    main()
