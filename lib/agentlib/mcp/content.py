"""What a model, or a stream of records, gets of the content of MCP: texts, pictures, and words for all else."""

from contextlib import suppress

from agentlib import records
from agentlib.messages.requests import sniffed
from agentlib.types import Any, Record

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")  # that models take
PICTURE = 5 << 20  # characters of one in base64; models take no larger ones


def of_result(result: Record) -> tuple[str, list[Record]]:
    """(text, pictures) of what a tool returned. Structured content is in the text, once."""
    found = [of_block(one) for one in result.get("content") or () if isinstance(one, dict)]
    text = "\n".join(part["text"] for part in found if part["type"] == "text")
    structured = result.get("structuredContent")
    if structured is not None and not _holds(text, structured):
        text = "\n".join(filter(None, (text, records.dumps(structured))))
    return text, [part for part in found if part["type"] == "image"]


def of_block(block: Record) -> Record:
    """A part of a message: a text or a picture. What models cannot take is named in words."""
    if block.get("type") == "resource_link":
        words = (block.get(key) for key in ("title", "name", "description", "mimeType"))
        about = ", ".join(dict.fromkeys(str(word) for word in words if word))
        return {"type": "text", "text": f"[resource {block.get('uri')}: {about}]"}
    inner = block.get("resource")
    return of_resource(inner if isinstance(inner, dict) else block)


def of_resource(resource: Record) -> Record:
    """The same of one of the `contents` of a resource."""
    import binascii

    if isinstance(resource.get("text"), str):
        return {"type": "text", "text": resource["text"]}
    kind = resource.get("mimeType")
    data: Any = resource.get("data", resource.get("blob"))
    size = len(data) if isinstance(data, str) else 0
    with suppress(TypeError, ValueError):
        found = sniffed(binascii.a2b_base64(data, strict_mode=True))
        if found in PICTURES and size <= PICTURE:
            return {"type": "image", "media_type": found, "data": data}
    what = resource.get("uri") or resource.get("type")
    return {"type": "text", "text": f"[{what}: {kind}, {size * 3 // 4:,} bytes, cannot be shown]"}


def _holds(text: str, value: Any) -> bool:
    """Whether the text is the value, or the one value in it (`{"result": …}`)."""
    inner = list(value.values()) if isinstance(value, dict) else []
    wanted = [value, *(inner if len(inner) == 1 else ())]
    try:
        return text in wanted or records.foreign(text) in wanted
    except ValueError:
        return False
