#!/usr/bin/env bats
# agent-discover --check: all that ships and all that the documents show is well; what falls short is named, with its cure
# shellcheck disable=SC2016  # the scripts in single quotes are for another shell
load helper

# executable FILE: makes standard input an executable file.
executable() { cat >"$1" && chmod +x "$1"; }

# answering FILE JSON: makes a tool that answers --agent-schema with this line.
answering() { printf '#!/bin/sh\n# --agent-schema\ncat <<"END"\n%s\nEND\n' "$2" | executable "$1"; }

discover() { run --separate-stderr timeout 200 agent-discover "$@" </dev/null; }

@test "--check finds all that the suite ships well" {
    uses node
    discover --check "$ROOT"/bin "$ROOT"/tools "$ROOT"/providers "$ROOT"/plugins
    equal 0 "$status"
    equal "" "$(grep -v ': well$' <<<"$output")"
    (($(wc -l <<<"$output") >= 56))
}

# examples: writes each program that the documents show (a block that begins with #!, or what a console block puts
# into a file) to examples/NUMBER/NAME. What a page shows to be mended is left out, and the editor of acp.md.
examples() {
    python3 - <<'PYTHON'
import os, pathlib, re
root = pathlib.Path(os.environ["ROOT"])
found = []
for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
    for block in re.findall(r"^```[^\n`]*\n(.*?)^```$", page.read_text(), re.M | re.S):
        if block.startswith("#!") and page.name != "acp.md":
            found.append(block)
        elif "--check" not in block:
            found += [re.sub("^> ", "", text, flags=re.M) for text in re.findall(r"^((?:> .*\n)*)> END$", block, re.M)]
for number, text in enumerate(text for text in found if text.startswith("#!")):
    name = re.search(r"(\S+) - ", text.splitlines()[1])[1].lstrip('"#/')
    file = pathlib.Path(f"examples/{number}/{name}")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(0o755)
PYTHON
}

@test "--check finds every example of the documents well" {
    uses jq node
    examples
    discover --check examples/*/*
    equal "" "$(grep -v ': well$' <<<"$output")"
    equal 0 "$status"
    (($(wc -l <<<"$output") >= 17))
}

@test "the tutorial's agents are found, checked, registered and called unchanged, though standard input stays open" {
    examples
    mkfifo open && exec 7<>open
    for file in examples/*/helper; do
        equal "helper agent text" "$(timeout 60 agent-discover "./$file" <open | head -n 1 | jq -r '"\(.name) \(.kind) \(.invoke)"')"
        timeout 60 "./$file" --agent-schema <open >schema
        has "$(cat schema)" '"name":"helper"'
        [[ $(timeout 60 "./$file" --help <open) == *"helper - answer questions about this project"* ]]
    done
    exec 7>&-
    cp "$file" helper
    discover --register helper
    has "$(cat AGENTS.md)" '- **Binary**: helper'
    model 'def reply(body):
    last = body["messages"][-1]
    if last["role"] == "tool": return "It says: " + last["content"]
    if body.get("response_format"): return "{\"passed\": true, \"why\": \"\"}"
    if body.get("tools") and body["tools"][0]["function"]["name"] == "helper":
        return {"tool_calls": [{"name": "helper", "arguments": {"input": "Where?"}}]}
    return "In setup.cfg."'
    run -0 --separate-stderr bash -c 'agent-discover ./helper </dev/null | agent-react --allow helper:command "Ask the helper"'
    equal "It says: In setup.cfg." "$output"
}

@test "--check says what an agent's script lacks" {
    printf '#!/bin/bash\n# a - b\nagent-discover read_file - |\n    agent-react --name a --description b\n' | executable a
    discover --check a
    equal 1 "$status"
    has "$output" 'a:4: the script does not pass its arguments on; end its agent-react with "$@"'
    sed -i '$s/$/ "$@"/' a
    discover --check a
    equal "a: well" "$output"
    printf '#!/bin/sh\n# b - no loop: agent-react alone\n' | executable b
    discover --check b
    has "$output" "b: does not hold the bytes agent-schema, so it is never asked"
}

@test "--check takes the file that is here, also where a tool has its name" {
    answering wordcount '{"name":"wordcount"}'
    discover --check wordcount
    has "$output" 'wordcount: "description" is missing'
}

@test "--check names the line to mend, and how" {
    cat <<'END' | executable bad
#!/bin/sh
# bad - answers --agent-schema
cat <<'JSON'
{"name":"not good",
"description":"",
"kind":"robot",
"timeout":0,
"inputSchema":{"type":"object","properties":{"a":{}},"required":["b"]}}
JSON
END
    discover --check ./bad
    equal 1 "$status"
    equal 'bad:4: "name" is "not good"; give 1 to 64 of A-Z a-z 0-9 _ -
bad:5: "description" is ""; say in a sentence what it does
bad:6: "kind" is "robot"; it is one of tool agent provider plugin format
bad:7: "timeout" is 0; give seconds, more than 0' "$output"
    answering worse '{"name":"worse","description":"x","inputSchema":{"type":"object","properties":{"a":{}},"required":["b"]},
"examples":[{"request":"hm","arguments":{"c":1}}]}'
    discover --check ./worse
    equal "worse:4: \"required\" names 'b', which \"properties\" does not have
worse:5: \"examples\": 'hm' does not fit \"inputSchema\"" "$output"
}

@test "--check tells what waits for input, leaves files behind, or answers differently each time" {
    printf '#!/bin/sh\n# agent-schema\ncat\ntouch left\n%s\n' \
        'echo "{\"name\":\"t\",\"description\":\"$(date +%N)\"}"' | executable t
    discover --check ./t
    has "$output" "waits for standard input"
    has "$output" "leaves 'left' behind"
    printf '#!/bin/sh\n# agent-schema\n%s\n' 'echo "{\"name\":\"t\",\"description\":\"$(date +%N)\"}"' | executable t
    discover --check ./t
    has "$output" "answers differently each time"
}
