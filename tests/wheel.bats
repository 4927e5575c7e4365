#!/usr/bin/env bats
# Wheel and sdist: built twice, then installed by pip, pipx and uv as a user without a network does it, from a folder
# with the wheels. These come from the package index; where it is out of reach, those tests are skipped.
load helper

setup_file() {
    export MADE=$BATS_FILE_TMPDIR WHEEL SDIST
    cd "$TESTS/.." || return
    python3 -m hatchling build -d "$MADE/dist" >"$MADE/log" 2>&1 || { cat "$MADE/log" >&2 && return 1; }
    WHEEL=$(echo "$MADE"/dist/*.whl) SDIST=$(echo "$MADE"/dist/*.tar.gz)
    mkdir "$MADE/wheels"
    if python3 -m pip download -q --no-deps -r requirements.txt -d "$MADE/wheels" >"$MADE/log" 2>&1; then
        cp "$WHEEL" "$MADE/wheels"
    else
        export OFFLINE=1
    fi
}

setup() {
    prepare
    PATH=$TESTS/../.venv/bin:/usr/local/bin:$PATH
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=$MADE/wheels PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1
    export UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=$MADE/wheels UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
    export USE_EMOJI=0 XDG_RUNTIME_DIR=$SCRATCH/run
    mkdir -m 700 "$XDG_RUNTIME_DIR"
}

with_packages() { [[ -z ${OFFLINE-} ]] || skip "the package index is out of reach"; }

# in_environment: the suite installed by pip, once for all tests, in ENVIRONMENT.
in_environment() {
    with_packages
    ENVIRONMENT=$MADE/environment
    [[ ! -e $ENVIRONMENT ]] || return 0
    python3 -m venv --without-pip "$ENVIRONMENT"
    python3 -m pip --python "$ENVIRONMENT/bin/python3" install -q agentutils
}

# works_from TOP BIN SHARE: what a user does first: the version, the list, an agent with a tool that needs a package,
# the manual.
works_from() {
    local top=$1
    PATH=$2:/usr/bin:/bin
    model 'def reply(body):
    last = body["messages"][-1]
    if last["role"] == "tool": return "It says " + last["content"]
    return {"tool_calls": [{"name": "json_query", "arguments": {"query": ".a", "text": "{\"a\":7}"}}]}'
    equal "agent-llm $(version) from $top" "$(agent-llm --version)"
    equal "text-processor $(version) from $top" "$(text-processor --version)"
    equal "$top/tools/wordcount" "$(agent-discover wordcount </dev/null | jq -r '.command[0]')"
    equal "$top/bin/architect" "$(agent-discover --agents architect </dev/null | jq -r '.command[0]')"
    equal "It says 7" "$(agent-discover json_query </dev/null | agent-react "What is a?")"
    end_model
    equal "$(readlink -f "$3/man/man1/agent-react.1")" "$(MANPATH='' man -w agent-react)"
    ! type -P mman >/dev/null || has "$(MANPATH=$3/man: mman -w agent-react 2>/dev/null)" "$3/man/man1/agent-react.1"
    completes "$3"
}

# completes SHARE: the shells that are here find the completions as docs/install.md says, and the values of an option.
# shellcheck disable=SC2016  # words of the shells
completes() {
    local name loader=/usr/share/bash-completion/bash_completion
    [[ -e $loader ]] || loader=$1/bash-completion/completions/agent-react
    equal anthropic "$(bash -c '. "$0"; declare -F _completion_loader >/dev/null && _completion_loader agent-react
        COMP_LINE="agent-react --provider anth" COMP_POINT=27; _agent_react; echo "${COMPREPLY[@]}"' "$loader")"
    for name in zsh fish; do
        type -P $name >/dev/null || continue
        case $name in
        zsh) equal _agent-react "$(zsh -fc 'fpath=($0/zsh/site-functions $fpath); autoload -U compinit; compinit -D -u; echo $_comps[agent-react]' "$1")" ;;
        fish) has "$(fish -c 'complete -C "agent-react --provider anth"')" anthropic ;;
        esac
    done
}

version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$TESTS/../lib/agentlib/__init__.py"; }

# documented COMMAND: runs the line of docs/install.md that begins so.
documented() { bash -c "$(grep "^$1 " "$TESTS/../docs/install.md")"; }

# names FOLDER: the files in it.
names() { (cd "$1" && find . ! -type d ! -name '*.pyc' | sort); }

@test "two builds have the same bytes: from the checkout, and from the sdist in another folder, locale and time" {
    umask 077
    localedef -i en_US -f ISO-8859-1 "$SCRATCH/en_US.ISO-8859-1" 2>/dev/null || true # else that of C
    export LOCPATH=$SCRATCH LC_ALL=en_US.ISO-8859-1
    tar -xzf "$SDIST" --touch
    cd agentutils-*
    TZ=Asia/Tokyo python3 -m hatchling build -d "$SCRATCH/again" >"$SCRATCH/log" 2>&1
    cmp "$WHEEL" "$SCRATCH"/again/*.whl
    cmp "$SDIST" "$SCRATCH"/again/*.tar.gz
}

@test "the sdist has every file that the tests need: all that git has" {
    mkdir -p source
    tar -xzf "$SDIST" -C source --strip-components 1
    rm source/PKG-INFO
    git -C "$TESTS/.." rev-parse --git-dir >/dev/null 2>&1 || skip "this is no git checkout"
    equal "$(git -C "$TESTS/.." ls-files --cached --others --exclude-standard | sort)" "$(names source | sed 's|^\./||')"
    [[ -x source/tests/run && -x source/bin/agent-llm ]]
}

@test "the tests run from the sdist, in a folder without git" {
    mkdir -p source
    tar -xzf "$SDIST" -C source --strip-components 1
    cd source
    ln -s "$TESTS/../.venv" .venv
    python3 -m pytest -q tests/test_{records,cli,house,packages}.py >"$SCRATCH/log" 2>&1 || { tail -n 30 "$SCRATCH/log" >&2 && return 1; }
    bats --tap --filter "version is" tests/contract.bats >"$SCRATCH/tap" 3>&- || { grep -v ^ok "$SCRATCH/tap" >&2 && return 1; }
    (($(grep -c ^ok "$SCRATCH/tap") > 50))
}

@test "the wheel has the tree that install.sh makes, and starters for its programs" {
    local known='/(install\.sh|requirements)$|/\.agentutils$|/\.venv/|/share/'
    python3 -m zipfile -e "$WHEEL" wheel
    equal "" "$(find wheel -name '*.pyc')"
    equal "$(names "$ROOT/" | grep -vE "$known")" "$(names wheel/*.data/data/lib/agentutils)"
    equal "$(ls "$ROOT/bin")" "$(ls wheel/*.data/scripts)"
}

@test "the wheel names the packages that install.sh brings, and its extras those of --with" {
    local metadata
    python3 -m zipfile -e "$WHEEL" wheel
    metadata=$(cat wheel/*.dist-info/METADATA)
    equal "$(grep -v '^#' "$TESTS/../requirements.txt" | tr A-Z_ a-z- | sort)" \
        "$(sed -n 's/^Requires-Dist: \([^;]*\)$/\1/p' <<<"$metadata" | tr A-Z_ a-z- | sort)"
    equal "aws embeddings html local mcp pdf postgres ray socks" "$(sed -n 's/^Provides-Extra: //p' <<<"$metadata" | sort | xargs)"
    has "$metadata" "Requires-Dist: pypdf==$(sed -n 's/^pypdf==\([0-9.]*\) .*/\1/p' "$TESTS/../requirements-extra.txt"); extra == 'pdf'"
    has "$metadata" "Version: $(version)"
}

@test "pip: the suite works from an environment, and what is missing names its extra" {
    in_environment
    export VIRTUAL_ENV=$ENVIRONMENT
    eval "$(grep '^export XDG_DATA_DIRS=' "$TESTS/../docs/install.md")"
    works_from "$ENVIRONMENT/lib/agentutils" "$ENVIRONMENT/bin" "$ENVIRONMENT/share"
    printf '%%PDF-1.4\n' >x.pdf
    run ! --separate-stderr agent-context x.pdf </dev/null
    has "$stderr" "is not installed: install agentutils[pdf] again, from where you have it"
    run -100 --separate-stderr agent-llm local install --size tiny </dev/null
    has "$stderr" "has no pip; install agentutils[local] again, from where you have it"
}

@test "pip: programs start in the environment's interpreter, whatever python3 is on PATH" {
    in_environment
    mkdir old
    printf '#!/bin/sh\necho wrong >&2\nexit 1\n' >old/python3
    chmod +x old/python3
    equal "" "$(find "$ENVIRONMENT"/lib/agentutils/{bin,tools,providers,plugins} -type f ! -perm -a+x)"
    for program in "$ENVIRONMENT/bin/agent-llm" "$ENVIRONMENT"/lib/agentutils/{tools/wordcount,providers/openai,bin/agent-llm}; do
        PATH=$PWD/old:/usr/bin:/bin run -0 --separate-stderr "$program" --version
    done
    PATH=/nowhere run -0 "$ENVIRONMENT/bin/agent-llm" --version # no other process on the way
    ln -s "$ENVIRONMENT/bin/agent-llm" "$ENVIRONMENT/bin/text-processor" .
    for program in ./agent-llm ./text-processor; do PATH=$PWD/old:/usr/bin:/bin run -0 --separate-stderr "$program" --version; done
}

@test "pip: what agent-bundle writes has the same bytes as that of install.sh's" {
    in_environment
    local version
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mkdir pip script
    "$ENVIRONMENT/bin/agent-bundle" --all --python "$version" -o pip/x
    "$ROOT/bin/agent-bundle" --all --python "$version" -o script/x
    cmp pip/x script/x
}

@test "pip: no program imports a site, so no code of other packages runs at a start" {
    in_environment
    echo "import os; open('$SCRATCH/site', 'w')" >"$(echo "$ENVIRONMENT"/lib/python3*/site-packages)/other.pth"
    for program in "$ENVIRONMENT"/bin/{agent-llm,text-processor,agent-discover} "$ENVIRONMENT/lib/agentutils/tools/wordcount"; do
        "$program" --help >/dev/null
        [[ ! -e $SCRATCH/site ]]
    done
    "$ENVIRONMENT/bin/python3" -c pass
    rm "$SCRATCH/site" # it would have been seen
}

@test "pip: the programs keep the promises of the protocol" {
    in_environment
    [[ -e $ENVIRONMENT/lib/agentutils/share ]] || ln -s "$SHARE" "$ENVIRONMENT/lib/agentutils/share"
    cd /
    env -i HOME="$HOME" PATH="$PATH" SUITE_PREFIX="$ENVIRONMENT" bats --tap \
        --filter "version is|schema is" "$TESTS/contract.bats" >"$SCRATCH/tap" 3>&- || { grep -v ^ok "$SCRATCH/tap" >&2 && return 1; }
    (($(grep -c ^ok "$SCRATCH/tap") > 90))
}

@test "pip: an uninstall leaves nothing" {
    with_packages
    python3 -m venv --without-pip e
    names e >before
    python3 -m pip --python e/bin/python3 install -q agentutils
    e/bin/agent-llm --version
    python3 -m pip --python e/bin/python3 freeze >packages
    python3 -m pip --python e/bin/python3 uninstall -qy -r packages
    equal "$(cat before)" "$(names e)"
    [[ ! -e e/lib/agentutils ]]
}

@test "pipx: the suite works from its links, and an uninstall leaves nothing" {
    with_packages
    pipx install agentutils >log 2>&1 || { cat log >&2 && return 1; }
    works_from "$HOME/.local/share/pipx/venvs/agentutils/lib/agentutils" "$HOME/.local/bin" "$HOME/.local/share"
    PATH=$TESTS/../.venv/bin:$PATH pipx uninstall agentutils >log 2>&1
    equal "" "$(find "$HOME/.local/bin" "$HOME/.local/share" -name '*agent*' ! -name .agentutils.lock)" # pipx's own
    PATH=$TESTS/../.venv/bin:$PATH documented "pipx install" >log 2>&1
    equal "agent-llm $(version)" "$("$HOME/.local/bin/agent-llm" --version | cut -d' ' -f1,2)"
}

@test "uv tool: the suite works from its links, and an uninstall leaves nothing" {
    with_packages
    uv tool install -q agentutils 3>&-
    uv tool uninstall -q agentutils
    documented "uv tool install" 3>&-
    documented "cp -rs"
    works_from "$HOME/.local/share/uv/tools/agentutils/lib/agentutils" "$HOME/.local/bin" "$HOME/.local/share"
    PATH=$TESTS/../.venv/bin:$PATH uv tool uninstall -q agentutils
    documented "find ~/.local/share"
    equal "" "$(find "$HOME/.local/bin" "$HOME/.local/share" -name '*agent*')"
}
