# shellcheck shell=bash disable=SC2034,SC2154
# agent.bash - what an agent in bash begins with: the suite on PATH; --help, --version, --agent-schema; what was typed
#
# The agent sets `here` to its own path, and may set `task`: what is to be done where no request is typed, so that
# standard input and files are its material. Its line two is its name and purpose, the rest of that comment stands below
# its help. It gets:
#   words     what was typed, for agent-react: `options`, -- and `request`
#   has       `has --quiet -q`: whether such an option was typed; their words are `typed`
#   take      the same, and it is taken out of the words; its value is `taken`
#   material  a stage that adds the files and folders that the operands name
#   input     yes where standard input is read: - is an operand, or there is none; else it is left to others
#   one_word  asks about a request of one word that looks like a command
#   visible   `visible COMMAND...`: on a terminal, no control character of its output is obeyed
[[ $OSTYPE == linux* ]] || { echo "${here##*/}: needs Linux, and this is $OSTYPE: docs/install.md says what for" >&2; exit 100; }
PATH=${here%/*}:$PATH
library=${here%/*}/../lib
options_help=$(<"$library/agent.help") # written by tests/docs.py

visible() { python3 -IS "$library/agentlib/display.py" "$@"; }

# What `agent-react --name NAME --description PURPOSE OPTION` prints, without a Python that starts.
about() {
    local name purpose comment='' line version top=${here%/bin/*}
    { read -r _; read -r _ name _ purpose; while IFS= read -r line && [[ $line == '#'* ]]; do line=${line#'#'}; comment+=${line# }$'\n'; done; } <"$here"
    case $1 in
    --version)
        line=${top%/*}/agentutils
        [[ ! $line -ef $top ]] || top=$line # the link, as agentlib/paths.py has it
        while read -r line _ version; do [[ $line != __version__ ]] || { echo "$name ${version//\"/} from $top"; return; }; done <"$library/agentlib/__init__.py" ;;
    --agent-schema)
        printf '{"name":"%s","description":"%s","kind":"agent","invoke":"text","inputSchema":{"type":"object","properties":{"input":{"type":"string","description":"The request, with its material"}},"required":["input"]}}\n' "$name" "${purpose^}" ;;
    *) line=${options_help//@name@/$name} && printf '%s\n%s' "${line//@purpose@/$purpose}" "$comment" ;;
    esac
}

# Whether there is such an option, of agent-react or in the agent's own comment.
known() { [[ $options_help =~ $'\n  '(-.( [A-Z]+)?, )?"${1%%=*}"[\ ,$'\n'] || $(<"$here") == *$'\n#   '"${1%%=*} "* ]]; }

# Whether a word stands for an option whose value is the next word.
takes_value() { [[ $1 == --memory || $options_help =~ $'\n  '(-.( [A-Z]+)?, )?"$1"(, --[a-z-]+)?' '[A-Z\'{] ]]; }

has() {
    local names=" $* " pair
    typed=() rest=()
    set -- "${options[@]}"
    while (($#)); do
        pair=("$1")
        if [[ $1 != *=* ]] && takes_value "$1"; then pair+=("$2") && shift; fi
        if [[ $names == *" ${pair[0]%%=*} "* ]]; then typed+=("${pair[@]}"); else rest+=("${pair[@]}"); fi
        shift
    done
    ((${#typed[@]}))
}

take() {
    has "$@" || return
    taken=${typed[-1]#--*=} options=("${rest[@]}") words=("${rest[@]}" -- "${request[@]}")
}

# The files that a request mentions: words that look like one, and are.
mentioned() {
    local word found=()
    read -rd '' -a found <<<"${1:0:10000}" || true
    for word in "${found[@]}"; do
        word=${word#[\"\'(\`]} word=${word%%[]\"\')\`,;:!?]*} word=${word%.}
        if [[ $word == @(*[./]*|[A-Z]*) && -f $word || $word == *?/* && -d $word ]]; then paths+=("$word"); fi
    done
}

usage() { local name=${0##*/}; visible echo "$name: $1; see '$name --help'" >&2 && exit 2; }

# Asks about one word that looks like a command, as agent-react does, for an agent that gives it more than that word.
one_word() {
    [[ "${#request[@]}${paths-}" != 1 ]] || python3 -IS -c 'import sys; sys.path.insert(0, sys.argv[2])
from agentlib import cli, stderr; from agentlib.policy import terminal
cli.start(lambda argv: terminal.check_request(argv[:1], stderr.program(), {}), "", {})' "${request[0]}" "$library"
}

pass() { cat 2>/dev/null; } # without a word where nobody reads on
unprinted() { (($1 < 128)) || exit "$1"; echo "${0##*/}: standard output: ${2##*: }" >&2 && exit 111; }
print() { visible cat 2>/dev/null || { (($? < 128)) || return 141; unprinted 1 "nothing can be written"; }; } # an agent's last stage

material() {
    local path more=()
    ((${#paths[@]})) || { pass && return; }
    for path in "${paths[@]}"; do [[ ! -d $path ]] || more=(--tree --quiet); done
    agent-context --skip --max-tokens 6000 --max-file-tokens 6000 "${more[@]}" -- "${paths[@]}"
}

options=() operands=() request=() paths=() others=() value='' end='' input='' hex=''
[[ -e /dev/fd/1 ]] || exec 1</dev/null # closed: no file that is opened later may take its place
for word; do
    if [[ -n $value ]]; then
        options+=("$word") value=''
    elif [[ -n $end || $word != -?* ]]; then
        operands+=("$word")
    else
        case $word in
        --) end=yes && continue ;;
        --help | -h | --version | --agent-schema) { value=$(about "$word" 2>&1 >&3); } 3>&1 || unprinted "$?" "$value"; exit ;;
        esac
        known "$word" || [[ $word == -[a-z]?* ]] || usage "unrecognized arguments: $word"
        while [[ $word == -[a-z]?* ]] && ! takes_value "${word:0:2}"; do options+=("${word:0:2}") word=-${word:2}; done
        [[ $word != -[a-z]?* ]] || { options+=("${word:0:2}" "${word:2}") && continue; } # -mMODEL
        options+=("$word")
        if takes_value "$word"; then value=yes; fi
    fi
done
for word in "${operands[@]}"; do
    [[ $word != - ]] || { input=yes && continue; }
    request+=("$word")
    if [[ -f $word || -d $word ]]; then
        paths+=("$word")
    else
        others+=("$word") && mentioned "$word"
        if [[ -n ${task-} && $word != *[[:space:]]* && $word != *://* && $word == *?[./]?* ]]; then
            visible echo "${0##*/}: $word: no such file or folder; it is taken as words" >&2
        fi
    fi
done
if [[ -n $value ]]; then usage "argument ${options[-1]}: expected a value"; fi
if [[ -n ${task-} && -n ${paths-} && -z ${others-} ]]; then request=("${task%.}: ${paths[*]}"); fi
words=("${options[@]}" -- "${request[@]}")
if ((!${#operands[@]})); then input=yes; fi
# All stages are in one run, that of agent-react; what the others ask hangs below it (docs/agent-trace.md).
while ((${#hex} < 48)); do printf -v hex '%s%08x' "$hex" "${SRANDOM:-$RANDOM$RANDOM}"; done
trace=${hex:16:32} parent=''
if [[ ${TRACEPARENT-} =~ ^00-([0-9a-f]{32})-([0-9a-f]{16})- ]]; then trace=${BASH_REMATCH[1]} parent=${BASH_REMATCH[2]}; fi
export AGENT_NAME=${here##*/} AGENT_SPAN=${hex:0:16}-$parent TRACEPARENT=00-$trace-${hex:0:16}-01
[[ -n $input ]] || exec </dev/null
[[ ! -d /dev/stdin ]] || { exec </dev/null && usage "standard input is a folder; name it as an operand"; }
