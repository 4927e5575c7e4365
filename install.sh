#!/usr/bin/env bash
# install.sh - install agentutils for one user, without root; run it again to upgrade
#
# The programs go to PREFIX/lib/agentutils with a private Python environment, links to them into PREFIX/bin.
# All is built beside the old version and put in its place by one rename: a run that fails or is
# interrupted leaves what was there before.
set -euo pipefail
unset CDPATH PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV

usage() {
    cat <<'END'
usage: ./install.sh [--prefix DIR] [--with-local-model [default|small|tiny]]
       ./install.sh --uninstall [--prefix DIR]

  --prefix DIR                where to install (default: ~/.local)
  --with-local-model [SIZE]   also fetch a language model for this machine (default: 1.1 GB, small: 0.5 GB)
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
    if [[ $action == uninstall ]]; then
        uninstall
        return
    fi
    made=() old='' new=''
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    find_python
    prepare_prefix
    build
    swap_in
    link_programs
    link_checkout
    tell
    if [[ -n $model ]]; then "$lib/bin/agent-llm" local install --size "$model"; fi
}

read_options() {
    action=install model='' prefix=${HOME:+$HOME/.local}
    while (($#)); do
        case $1 in
        --prefix) prefix=${2-} && shift ;;
        --prefix=*) prefix=${1#*=} ;;
        --uninstall) action=uninstall ;;
        --with-local-model=*) model=${1#*=} ;;
        --with-local-model)
            model=default
            if [[ -n ${2-} && $2 != -* ]]; then model=$2 && shift; fi
            ;;
        --help | -h) usage && exit 0 ;;
        *) status=2 fail "unknown option $1; see ./install.sh --help" ;;
        esac
        shift || status=2 fail "--prefix needs a folder"
    done
    [[ -n $prefix ]] || status=2 fail "no folder to install to: give --prefix DIR"
    [[ $model == @(|default|small|tiny) ]] || status=2 fail "no model of size $model: take default, small or tiny"
    prefix=$(realpath -m -- "$prefix")
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
    fi
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
    for name in bin lib providers tools plugins docs requirements.txt install.sh LICENSE README.md CHANGELOG.md AGENTS.md; do
        if [[ -e $source_dir/$name ]]; then cp -RL -- "$source_dir/$name" "$new/"; fi
    done
    find "$new" -name __pycache__ -prune -exec rm -rf {} +
    make_environment
    set_interpreter
    "$new/.venv/bin/python3" -m compileall -q "$new/lib" >>"$log" 2>&1 || fail "$(tail -n 1 -- "$log")"
    make_manual
    {
        echo "checkout $source_dir"
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
    say "packages: $(sed -n 's/^\([a-z_-]*\)==\([0-9]*[.0-9]*[0-9]\).*/\1 \2/p' "$new/requirements.txt" | paste -sd, - | sed 's/,/, /g')"
    "$environment/bin/python3" -m pip --disable-pip-version-check --no-input --retries 2 --timeout 30 \
        install --quiet --requirement "$new/requirements.txt" >"$log" 2>&1 || explain_pip
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
        if [[ -f $file ]]; then sed -i "1s|^#!/usr/bin/env -S python3 -IS\$|#!$interpreter -IS|" "$file"; fi
    done
}

make_manual() {
    local page name
    command -v pandoc >/dev/null || return 0
    mkdir -p -- "$new/share/man/man1"
    for page in "$new"/docs/*.md; do
        name=$(basename "$page" .md)
        [[ -e $new/bin/$name ]] || continue
        pandoc --standalone --to man --metadata "title=$name" --metadata section=1 \
            --output "$new/share/man/man1/$name.1" "$page" >>"$log" 2>&1 || true
    done
}

# One rename makes the new version the installed one.
swap_in() {
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
    for file in "$lib"/share/man/man1/*.1; do
        [[ -e $file ]] || continue
        for name in share share/man share/man/man1; do
            if [[ ! -d $prefix/$name ]]; then mkdir -- "$prefix/$name" && echo "made $prefix/$name" >>"$lib/.agentutils"; fi
        done
        ln -sf -- "../../../lib/agentutils/share/man/man1/$(basename "$file")" "$prefix/share/man/man1/"
    done
    say "$count programs linked in $prefix/bin"
}

# The links in PREFIX/bin and PREFIX/share/man/man1 that point into our tree.
remove_links() {
    local link
    for link in "$prefix"/bin/* "$prefix"/share/man/man1/*; do
        if [[ -L $link && $(readlink -- "$link") == *../lib/agentutils/* ]]; then rm -f -- "$link"; fi
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
    local models=${XDG_DATA_HOME:-${HOME-}/.local/share}/agentutils/models
    if [[ -d $models ]]; then say "the local models are still there; to remove them: rm -r '$models'"; fi
}

main "$@"
