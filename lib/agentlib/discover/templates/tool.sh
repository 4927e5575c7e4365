#!/bin/sh
# NAME - say what this tool does
#
# Reads one JSON object on standard input, {"text": TEXT}, and prints the answer. Needs jq.
if [ "${1-}" = --agent-schema ]; then
    cat <<'END'
{"name":"NAME","description":"Say what this tool does","inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"the text to work on"}},"required":["text"],"additionalProperties":false},"annotations":{"readOnlyHint":true},"examples":[{"request":"Do it with: good morning","arguments":{"text":"good morning"}}]}
END
    exit
fi
if [ $# -gt 0 ]; then
    echo "NAME: unrecognized arguments: $*" >&2
    exit 2
fi

text=$(jq -er '.text | strings' 2>/dev/null) || { echo 'NAME: give a text: {"text":"good morning"}' >&2; exit 100; }
printf '%s\n' "$text"
