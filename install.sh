#!/usr/bin/env bash
# install.sh - install agentutils for one user, without root; run it again to upgrade
#
# The programs go to PREFIX/lib/agentutils with a private Python environment, links to them into PREFIX/bin.
# All is built beside the old version and put in its place by one rename: a run that fails or is
# interrupted leaves what was there before.
[ -n "${BASH_VERSION-}" ] || exec bash "$0" "$@" # of `sh install.sh`
# before what an older bash cannot read (macOS)
[[ $OSTYPE == linux* ]] || { echo "install.sh: needs Linux, and this is $OSTYPE: docs/install.md says what for" >&2 && exit 1; }
set -euo pipefail
unset CDPATH PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV

usage() {
    cat <<'END'
usage: ./install.sh [--prefix DIR] [--with NAME,...] [--with-local-model [default|small|tiny]]
       ./install.sh --check [--prefix DIR]
       ./install.sh --uninstall [--prefix DIR]

  --prefix DIR                where to install (default: ~/.local)
  --with NAME,...             also the packages for: postgres (agent-memory), pdf and html (agent-context),
                              aws (bedrock, by AWS credentials), socks (proxies), mcp (servers that want a
                              login), ray (agent-parallel --ray); an upgrade keeps them
  --with-local-model [SIZE]   also fetch a language model for this machine (default: 1.1 GB, small: 0.5 GB)
  --check                     say what is here, what is missing and how to get it, with versions; status 1 where
                              something is missing that every program needs
  --uninstall                 remove what an install with the same prefix made
  --help                      show this help and exit
END
}

say() { printf '%s\n' "install.sh: $*"; }
fail() {
    printf '%s\n' "install.sh: $*" >&2
    exit "${status:-1}"
}

main() {
    source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
    read_options "$@"
    lib=$prefix/lib/agentutils
    if [[ $action != install ]]; then
        "$action"
        return
    fi
    made=() old='' new=''
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    for_all=''
    # in a folder outside the home it is for all users, whatever root's own files are
    if [[ -z ${HOME-} || $prefix != "$HOME"/* ]]; then for_all=yes && umask 022; fi
    find_python
    prepare_prefix
    build
    swap_in
    link_programs
    link_checkout
    tell
    warm_cache
    if [[ -n $model ]]; then "$lib/bin/agent-llm" local install --size "$model"; fi
}

read_options() {
    action=install model='' extras='' prefix=${HOME:+$HOME/.local}
    if [[ -f $source_dir/.agentutils ]]; then prefix=${source_dir%/lib/*}; fi # run from what it installed
    while (($#)); do
        local option=$1
        case $1 in
        --prefix) prefix=${2-} && shift ;;
        --prefix=*) prefix=${1#*=} ;;
        --with) extras+=,${2-} && shift ;;
        --with=*) extras+=,${1#*=} ;;
        --uninstall) action=uninstall ;;
        --check) action=check ;;
        --with-local-model=*) model=${1#*=} ;;
        --with-local-model)
            model=default
            if [[ -n ${2-} && $2 != -* ]]; then model=$2 && shift; fi
            ;;
        --help | -h) usage && exit 0 ;;
        *) status=2 fail "unrecognized arguments: $1; see './install.sh --help'" ;;
        esac
        shift || status=2 fail "$option needs a value; see ./install.sh --help"
    done
    [[ -n $prefix ]] || status=2 fail "no folder to install to: give --prefix DIR"
    [[ $model == @(|default|small|tiny) ]] || status=2 fail "no model of size $model: take default, small or tiny"
    prefix=$(realpath -m -- "$prefix")
    local name
    for name in ${extras//,/ }; do
        [[ $name == @(postgres|pdf|html|aws|socks|mcp|ray) ]] || status=2 fail "--with $name: take some of postgres,pdf,html,aws,socks,mcp,ray"
    done
}

# The first Python that is new enough and can make environments.
find_python() {
    local name found=''
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        found=$name
        if "$name" -c 'import venv, ensurepip' 2>/dev/null; then python=$name && return; fi
    done
    [[ -z $found ]] || fail "$found cannot make environments: its venv module is missing (Debian, Ubuntu: apt install python3-venv)"
    fail "needs Python 3.11 or newer as python3 (Debian 12, Ubuntu 24.04: apt install python3 python3-venv)"
}

# The folders, what of them is new (the uninstall removes only those), and room on the disk.
prepare_prefix() {
    local folder free
    for folder in "$prefix" "$prefix/bin" "$prefix/lib"; do
        note_missing "$folder"
        mkdir -p -- "$folder" 2>/dev/null || fail "cannot make $folder: take another place with --prefix DIR"
        [[ -w $folder ]] || fail "cannot write to $folder: take another place with --prefix DIR"
    done
    [[ ! -e $lib || -L $lib ]] || fail "$lib is there and was not made by this script: move it away"
    free=$(df -Pk -- "$prefix/lib" | awk 'NR == 2 { print $4 }')
    ((free > 150000)) || fail "$prefix: $((free / 1000)) MB of disk are free, 150 MB are needed"
    if [[ -L $lib && -f $lib/.agentutils ]]; then
        old=$(realpath -- "$lib")
        mapfile -t made < <(sed -n 's/^made //p' "$old/.agentutils")
        extras+=,$(sed -n 's/^with //p' "$old/.agentutils")
    fi
    # shellcheck disable=SC2086  # a name a word
    extras=$(printf '%s\n' ${extras//,/ } | sort -u | paste -sd, -)
    remove_leftovers
    new=$prefix/lib/agentutils-$(date +%Y%m%d%H%M%S)-$$
    log=$new.log
}

note_missing() {
    if [[ ! -d $1 ]]; then
        note_missing "$(dirname "$1")"
        made+=("$1")
    fi
}

# What a run that was killed left behind: its process number is the end of the name.
remove_leftovers() {
    local tree
    for tree in "$prefix"/lib/agentutils-[0-9]*-[0-9]*; do
        [[ -e $tree && $tree != "$old" ]] || continue
        kill -0 "$(basename "${tree##*-}" .log)" 2>/dev/null || rm -rf -- "$tree"
    done
}

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    rm -f -- "${log-}" "$prefix/lib/.agentutils-$$"
    [[ -z $new || $(realpath -m -- "$lib") != "$new" ]] || return 0
    if [[ -n $new ]]; then rm -rf -- "$new"; fi
    if ((status >= 128)); then echo "install.sh: interrupted; nothing was changed" >&2; fi
    [[ -n $old ]] || remove_folders
}

# The folders that an install made, as far as they are empty.
remove_folders() {
    local i
    for ((i = ${#made[@]} - 1; i >= 0; i--)); do
        if [[ -n ${made[i]} ]]; then rmdir -- "${made[i]}" 2>/dev/null || true; fi
    done
}

build() {
    local name
    say "building in $new"
    mkdir -- "$new"
    while read -r name _; do
        if [[ -e $source_dir/$name ]]; then cp -RL -- "$source_dir/$name" "$new/"; fi
    done < <(grep -v '^#' "$source_dir/packaging/tree.txt")
    find "$new" -name __pycache__ -prune -exec rm -rf {} +
    make_environment
    set_interpreter
    "$new/.venv/bin/python3" -m compileall -q "$new/lib" >>"$log" 2>&1 || fail "$(tail -n 1 -- "$log")"
    make_share
    {
        echo "with $extras"
        echo "checkout $(sed -n 's/^checkout //p' "$source_dir/.agentutils" 2>/dev/null || echo "$source_dir")"
        printf 'made %s\n' "${made[@]}"
    } >"$new/.agentutils"
}

# The private environment. An upgrade begins with hard links to the old one, so only what changed is fetched.
make_environment() {
    local environment=$new/.venv
    if [[ -n $old ]] && same_python "$old/.venv"; then
        cp -Rl -- "$old/.venv" "$environment" 2>/dev/null || cp -R -- "$old/.venv" "$environment"
    else
        "$python" -m venv "$environment" >"$log" 2>&1 || fail "cannot make an environment: $(tail -n 1 -- "$log")"
    fi
    requirements "$new" "$extras" >"$new/requirements"
    say "packages: $(sed -n 's/^\([a-z0-9_-]*\)==\([0-9]*[.0-9]*[0-9]\).*/\1 \2/p' "$new/requirements" | paste -sd, - | sed 's/,/, /g')"
    "$environment/bin/python3" -m pip --disable-pip-version-check --no-input --retries 2 --timeout 30 \
        install --quiet --requirement "$new/requirements" >"$log" 2>&1 || explain_pip
    keep_runtime "$environment"
}

# What `agent-llm local install` brought comes along where the environment is a new one, for another Python.
keep_runtime() {
    local name path
    for name in xllamacpp onnxruntime; do
        for path in "${old:-/nowhere}"/.venv/lib/python3*/site-packages/"$name"-*.dist-info; do
            path=${path##*/"$name"-} path=${path%.dist-info}
            [[ $path != '*' && ! -e $(echo "$1"/lib/python3*/site-packages/"$name"-"$path".dist-info) ]] || continue
            "$1/bin/python3" -m pip --disable-pip-version-check --no-input --retries 2 --timeout 30 \
                install --quiet --only-binary :all: "$name==$path" >"$log" 2>&1 ||
                say "$name did not come along to this Python: agent-llm local install"
        done
    done
}

# requirements FOLDER NAME,...: the pinned packages that every program needs, and those of the names.
requirements() {
    local name
    cat -- "$1/requirements.txt"
    for name in ${2//,/ }; do grep -E "# .*\<$name\>" "$1/requirements-extra.txt"; done
}

same_python() { [[ $("$1/bin/python3" -V 2>&1) == "$("$python" -V 2>&1)" ]] && "$1/bin/python3" -m pip -V >/dev/null 2>&1; }

explain_pip() {
    if grep -qE 'No space left' "$log"; then fail "no space left on the disk of $prefix"; fi
    if grep -qE 'NewConnectionError|ConnectionError|ProxyError|Max retries|[Tt]imed out|name resolution' "$log"; then
        fail "cannot reach the Python package index: check the network, or the proxy and index of pip's configuration"
    fi
    fail "pip: $(grep -m 1 '^ERROR' "$log" || tail -n 1 -- "$log")"
}

# Programs start at once in the private environment, and never scan a site. A path that cannot stand in a first line
# (blanks, or too long for the kernel) leaves them as they are in a checkout.
set_interpreter() {
    local interpreter=$lib/.venv/bin/python3 file
    [[ $interpreter != *[[:space:]\\\&\|]* && ${#interpreter} -le 120 ]] || return 0
    for file in "$new"/bin/* "$new"/providers/* "$new"/tools/*; do
        if [[ -f $file ]]; then sed -i -E "1s|^#!(/usr/bin/env -S python3\|.*/lib/agentutils/.venv/bin/python3) -IS\$|#!$interpreter -IS|" "$file"; fi
    done
}

# Manual pages, and completions for bash, zsh and fish.
make_share() {
    "$new/.venv/bin/python3" -IS "$new/packaging/share.py" "$new" "$new/share" >>"$log" 2>&1 || fail "$(tail -n 1 -- "$log")"
}

# One rename makes the new version the installed one.
swap_in() {
    if [[ -n $for_all ]]; then chmod -R a+rX -- "$new"; fi
    ln -s -- "$(basename "$new")" "$prefix/lib/.agentutils-$$"
    mv -T -- "$prefix/lib/.agentutils-$$" "$lib"
    if [[ -n $old ]]; then rm -rf -- "$old"; fi
}

link_programs() {
    local file name count=0
    remove_links
    for file in "$lib"/bin/*; do
        name=$(basename "$file")
        if [[ -e $prefix/bin/$name || -L $prefix/bin/$name ]]; then
            say "left alone: $prefix/bin/$name is there and is not ours"
            continue
        fi
        ln -s -- "../lib/agentutils/bin/$name" "$prefix/bin/$name"
        count=$((count + 1))
    done
    for name in "${shared[@]}"; do link_shared "$name"; done
    say "$count programs linked in $prefix/bin"
}

# Folders of PREFIX that man and the shells look into.
shared=(share/man/man1 share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d)

link_shared() {
    local folder file
    for folder in share "${1%/*}" "$1"; do
        if [[ ! -d $prefix/$folder ]]; then mkdir -- "$prefix/$folder" && echo "made $prefix/$folder" >>"$lib/.agentutils"; fi
    done
    for file in "$lib/$1"/*; do
        [[ -e $prefix/$1/${file##*/} ]] || ln -sf -- "../../../lib/agentutils/$1/${file##*/}" "$prefix/$1/"
    done
}

# The links in PREFIX that point into our tree.
remove_links() {
    local folder
    for folder in bin "${shared[@]}"; do
        [[ ! -d $prefix/$folder ]] || find "$prefix/$folder/" -maxdepth 1 -type l -lname '*../lib/agentutils/*' -delete
    done
}

# Programs also run straight from the checkout, by a link to the environment.
link_checkout() {
    local link=$source_dir/.venv
    [[ -e $link ]] && return
    if [[ -w $source_dir ]]; then ln -sfn -- "$lib/.venv" "$link"; fi
}

tell() {
    say "installed: $prefix/bin/agent-llm --help"
    case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) say "$prefix/bin is not on your PATH: put this into your shell's start file: export PATH=\"$prefix/bin:\$PATH\"" ;;
    esac
    command -v bwrap >/dev/null || say "$(no_bubblewrap)"
}

# What is lost without bubblewrap, and the line that installs it here.
no_bubblewrap() {
    local line
    line=$(package_line bubblewrap)
    echo "bubblewrap is not here: $line. Without it tools run under Landlock alone, which cannot keep a secret that is made during" \
        "a call from being read, refuses to write in a folder that has .git, AGENTS.md or secrets, and hides no other processes"
}

# package_line NAME...: the command that installs packages of the system.
package_line() {
    local manager sudo='sudo '
    ((EUID)) || sudo=''
    for manager in apt:'apt install' dnf:'dnf install' pacman:'pacman -S' apk:'apk add' zypper:'zypper install'; do
        if command -v "${manager%%:*}" >/dev/null; then echo "$sudo${manager#*:} $*" && return; fi
    done
    echo "install the package $* of your system"
}

# The first listing finds the schemas of all programs in the user's cache.
warm_cache() {
    local kind
    for kind in @tools @providers @plugins @formats --kind=agent; do
        timeout 60 "$lib/bin/agent-discover" "$kind" </dev/null >/dev/null 2>&1 || true
    done
}

# What is here, what is missing and how to get it. Lines begin with ok, missing (every program needs it) or optional.
check() {
    local missing=0 name interpreter=$lib/.venv/bin/python3
    if [[ -f $lib/.agentutils && -x $lib/bin/agent-llm ]]; then
        if name=$("$lib/bin/agent-llm" --version 2>&1); then
            here "agentutils $(cut -d' ' -f2 <<<"$name") in $lib"
        else
            lacks "agentutils does not start: ${name##*$'\n'}: run ./install.sh again"
        fi
        check_packages
    else
        lacks "agentutils is not installed in $prefix: run ./install.sh"
        if name=$(find_python 2>&1 && "$python" -V); then here "$name"; else lacks "${name#install.sh: }"; fi
    fi
    case :$PATH: in
    *":$prefix/bin:"*) here "PATH has $prefix/bin" ;;
    *) optional "PATH lacks $prefix/bin: export PATH=\"$prefix/bin:\$PATH\"" ;;
    esac
    if command -v bwrap >/dev/null; then here "sandbox: $(bwrap --version)"; else optional "$(no_bubblewrap)"; fi
    check_model
    for name in git:'changes of a repository' node:'the tool current_time' man:'manual pages, agent-discover --path'; do
        if command -v "${name%%:*}" >/dev/null; then here "${name%%:*}"; else optional "${name%%:*} (${name#*:}): $(package_line "${name%%:*}" | sed 's/node$/nodejs/')"; fi
    done
    return "$missing"
}

here() { printf 'ok        %s\n' "$*"; }
optional() { printf 'optional  %s\n' "$*"; }
lacks() { printf 'missing   %s\n' "$*" && missing=1; }

# The packages of the private environment, against the pinned versions.
check_packages() {
    local installed line found=() wrong=() extra
    if ! installed=$("$interpreter" -m pip --disable-pip-version-check list --format freeze 2>/dev/null); then
        lacks "the private environment $lib/.venv does not start: run ./install.sh again"
        return
    fi
    here "$("$interpreter" -V 2>&1), of its own in $lib/.venv"
    while read -r line; do
        [[ $line == *==* ]] || continue
        line=${line%% *}
        if grep -qixF -- "$line" <<<"$installed"; then found+=("${line/==/ }"); else wrong+=("$line"); fi
    done < <(requirements "$lib" "$(sed -n 's/^with //p' "$lib/.agentutils")")
    here "packages: $(printf '%s, ' "${found[@]}" | sed 's/, $//')"
    [[ -z ${wrong[*]} ]] || lacks "packages: ${wrong[*]}: run ./install.sh again"
    for extra in postgres pdf html aws socks mcp ray; do
        [[ ,$(sed -n 's/^with //p' "$lib/.agentutils"), == *",$extra,"* ]] || optional "packages for $extra: ./install.sh --with $extra"
    done
}

# Whether there is a model to ask: a key, one on this machine, or a running Ollama.
check_model() {
    local keys models=${XDG_DATA_HOME:-${HOME-}/.local/share}/agentutils/models
    keys=$(compgen -e | grep -E '^(AWS_BEARER_TOKEN_BEDROCK|[A-Z]+(_OPENAI)?_API_KEY)$' | paste -sd' ' - || true)
    if [[ -n $keys ]]; then here "a model: $keys is set"; fi
    if compgen -G "$models/*.gguf" >/dev/null; then here "a model on this machine: $(basename -a "$models"/*.gguf | paste -sd' ' -)"; fi
    if [[ -z $keys ]] && ! compgen -G "$models/*.gguf" >/dev/null; then
        optional "a model: set a key (export OPENAI_API_KEY=…), start Ollama, or ./install.sh --with-local-model"
    fi
}

uninstall() {
    local tree checkout
    [[ -L $lib && -f $lib/.agentutils ]] || fail "nothing is installed in $prefix"
    tree=$(realpath -- "$lib")
    checkout=$(sed -n 's/^checkout //p' "$tree/.agentutils")
    mapfile -t made < <(sed -n 's/^made //p' "$tree/.agentutils")
    remove_links
    if [[ $(readlink -- "$checkout/.venv" || true) == "$lib/.venv" ]]; then rm -f -- "$checkout/.venv"; fi
    rm -f -- "$lib"
    rm -rf -- "$tree"
    remove_folders
    say "removed from $prefix"
    left "your configuration and policy" "${XDG_CONFIG_HOME:-${HOME-}/.config}/agentutils"
    left "the local models" "${XDG_DATA_HOME:-${HOME-}/.local/share}/agentutils/models"
    if [[ -n $(ls -A -I models -- "${XDG_DATA_HOME:-${HOME-}/.local/share}/agentutils" 2>/dev/null) ]]; then
        left "your memories, tools and registry" "${XDG_DATA_HOME:-${HOME-}/.local/share}/agentutils"
    fi
    left "states and ledgers" "${XDG_STATE_HOME:-${HOME-}/.local/state}/agentutils"
    left "caches" "${XDG_CACHE_HOME:-${HOME-}/.cache}/agentutils"
}

# left WHAT FOLDER: says what the uninstall leaves, where there is something.
left() {
    if [[ -n $(ls -A -- "$2" 2>/dev/null) ]]; then say "left: $1; to remove: rm -r '$2'"; fi
}

main "$@"
