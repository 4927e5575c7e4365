# shellcheck shell=bash disable=SC2154
# agent.bash - what an agent in bash begins with: the suite on PATH; --help, --version, --agent-schema at once
#
# The agent sets `here` to its own path. Its line two is its name and purpose; its help is agent-react's with the rest of
# that comment below it, or the comment alone, where it says `usage:`.
PATH=${here%/*}:$PATH

# visible COMMAND...: on a terminal, no control character of its output is obeyed
visible() { python3 -IS "${here%/*}/../lib/agentlib/display.py" "$@"; }

about() {
    local option=$1 name purpose comment='' line
    { read -r _; read -r _ name _ purpose; while IFS= read -r line && [[ $line == '#'* ]]; do line=${line#'#'}; comment+=${line# }$'\n'; done; } <"$here"
    if [[ $option == -h || $option == --help ]] && [[ $comment == *usage:* ]]; then
        printf '%s - %s\n%s' "$name" "$purpose" "$comment"
        return
    fi
    agent-react --name "$name" --description "${purpose^}" "$option"
    if [[ $option == -h || $option == --help ]]; then printf %s "$comment"; fi
}

for option; do
    case $option in
    --) break ;;
    --help | -h | --version | --agent-schema) about "$option"; exit ;;
    esac
done
