# shellcheck shell=sh
# shellcheck disable=SC2195  # what stands between @ is filled in
# @title@
# One file, made by agent-bundle of agentutils @version@: it needs Linux with Python 3.11 or newer. It answers --agent-schema.
if [ $# = 1 ]; then
    case ${0##*/}:$1 in
    @names@) ;; # it is one of the programs by its own name
    # what needs no Python@answers@
    esac
fi
for python in ${AGENT_BUNDLE_PYTHON-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$python" >/dev/null 2>&1; then
        exec "$python" -IS -c \
            'import sys; file = open(sys.argv[1], "rb"); file.seek(@start@); exec(file.read(@length@))' "$0" "$@"
    fi
done
echo "${0##*/}: needs Python 3.11 or newer, and there is no python3 on PATH" >&2
exit 127
