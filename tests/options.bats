#!/usr/bin/env bats
# every program: `--` ends the options, numbers that make no sense are wrong usage, `-` at a terminal is what is typed
# shellcheck disable=SC2016  # the scripts in single quotes are for another shell
load helper
load llm

@test "what follows -- is an operand, also with a dash, and never an option" {
    echoing
    echo hi >./-notes.txt
    for program in agent-llm agent-react; do
        for words in --verbose --help "--model x" -x; do
            # shellcheck disable=SC2086  # one word an operand
            run -0 --separate-stderr "$program" -- $words </dev/null
            equal "$words" "$output"
        done
    done
    run -0 agent-llm --json -- --json </dev/null
    has "$output" '"--json"'
    run -0 agent-context -- -notes.txt </dev/null
    has "$output" '"hi'
    agent-memory -- remember -k -v
    agent-memory remember --tag t -- --tag -w
    equal -v "$(agent-memory recall -- -k)"
    equal -w "$(agent-memory recall -- --tag)"
    printf '#!/bin/sh\necho "{\\"name\\":\\"x\\",\\"description\\":\\"agent-schema\\"}"\n' >./-x
    chmod +x ./-x
    equal x "$(agent-discover -- -x </dev/null | jq -r .name)"
}

@test "an agent takes what follows -- as its request" {
    model 'Done'
    for agent in text-processor code-reviewer architect security-scanner assistant monitor-agent coordinator; do
        run --separate-stderr timeout 60 "$agent" -- '- buy milk' </dev/null
        lacks "$stderr" option
        lacks "$stderr" unrecognized
    done
}

@test "numbers that make no sense are wrong usage in every program, reported in one line" {
    while read -r program options; do
        for value in nan inf -1 x; do
            for option in $options; do
                run --separate-stderr timeout 60 "$program" "$option=$value" -- true </dev/null
                equal "2 1 $program $option $value" "$status ${#stderr_lines[@]} $program $option $value"
                lacks "$stderr" Traceback
            done
        done
    done <<'END'
agent-llm --temperature --max-tokens --retries --timeout --connect-timeout --silence-timeout --rate-limit --budget --max-total-tokens
agent-react --temperature --max-tokens --rate-limit --retry --budget --max-total-tokens --max-iterations --timeout --tool-timeout --max-parallel-tools --context-window --jobs --plugin-timeout
agent-execute --jobs --timeout --retry
agent-vote --runs --jobs --timeout
agent-eval --jobs --timeout --repeat --min
agent-reflect --tries --timeout
agent-plan --max-steps
agent-context --max-tokens --max-file-tokens
agent-memory --limit --max-tokens --wait
agent-every --count
agent-discover --timeout
END
    for none in "agent-react --timeout" "agent-execute --timeout" "agent-execute --jobs" "agent-vote --runs" "agent-context --max-tokens"; do
        # shellcheck disable=SC2086  # program and option
        run -2 timeout 60 $none 0 -- true </dev/null
    done
    for time in 99999999999d nan -1s 1e9d; do
        run -2 timeout 60 agent-every "$time" --count 1 -- true </dev/null
        lacks "$output" "internal error"
    done
}

@test "every program, by its own help: numbers are checked, and -- ends the options" {
    local program option options=() at=0 turn=0 values=(nan inf -1 words)
    for program in "$ROOT"/bin/*; do
        program=${program##*/}
        mapfile -t options < <("$program" --help | sed -nE 's/^ +(-., )?(--[a-z-]+) (N|S|T|USD|TIME|SECONDS|N\[.*\])( .*|$)/\2/p')
        if [[ $program != agent-react && ${options[*]} == *--max-iterations* ]]; then
            options=("${options[turn++ % ${#options[@]}]}") # an agent has those of agent-react: one shows that they arrive
        fi
        for option in "${options[@]}"; do
            run --separate-stderr timeout 60 "$program" "$option=${values[at++ % 4]}" -- true </dev/null
            equal "2 1 $program $option" "$status ${#stderr_lines[@]} $program $option"
        done
        output=$(timeout 60 "$program" -- --no-such </dev/null 2>&1) || true
        for word in Traceback 'internal error' unrecognized 'unknown option' '\x00'; do lacks "$program: $output" "$word"; done
    done
}

@test "a program that is named and is not there is 127, one that cannot be run 126, in every program that starts one" {
    local program options name wanted turn=0 there=(words broken folder) covered=' agent-acp-prompt agent-mcp-http ' # these start none of this machine by that name
    model hi
    echo '{"id":"a","input":"x","checks":[{"equals":"x"}]}' >cases
    echo '{"type":"step","id":"a","task":"x","needs":[],"status":"open"}' >plan
    echo words >words
    printf '#!/no/such/program\n' >broken
    chmod +x broken
    mkdir folder
    while read -r program options; do
        covered+="$program "
        turn=$(((turn + 1) % 3))
        for name in nosuch "$PWD/nosuch" "$PWD/${there[turn]}"; do
            if [[ -e $name ]]; then wanted=126; else wanted=127; fi
            # shellcheck disable=SC2086  # each option is a word
            run "-$wanted" --separate-stderr timeout 60 "$program" ${options//NAME/"$name"} <plan
            equal "1 $program" "${#stderr_lines[@]} $program"
            has "$stderr" "$name"
            [[ $options == *--json* ]] || lacks "$output" output
        done
    done <<'END'
agent-acp -- NAME
agent-eval cases -- NAME
agent-every 1h --count 1 -- NAME
agent-execute -- NAME
agent-llm --provider NAME hi
agent-llm --provider NAME --json hi
agent-mcp list NAME
agent-mcp prompts NAME
agent-mcp-connect -- NAME
agent-parallel --local 1 -- NAME
agent-plan --provider NAME hi
agent-reflect --check true --critic good --provider NAME -- echo no
agent-react --plugin NAME hi
agent-react --provider NAME hi
agent-react --provider NAME --json hi
agent-reflect --check true -- NAME
agent-schedule add job --every 1h --with cron -- NAME
agent-trace --begin job -- NAME
agent-vote -- NAME
code-reviewer --provider NAME hi
text-processor --plugin NAME hi
text-processor --provider NAME hi
END
    for program in "$ROOT"/bin/*; do
        [[ $("$program" --help) != *" -- "[A-Z]* ]] || has "$covered" " ${program##*/} "
    done
}

@test "what is typed often has a letter of its own, the same in every program" {
    local program help
    for program in "$ROOT"/bin/*; do
        help=$("${program##*/}" --help)
        [[ ! $help =~ $'\n  '(--(json|quiet|model|provider|system|timeout))[\ $'\n'] ]] || has "${program##*/}" "a letter for ${BASH_REMATCH[1]}"
    done
    model hi
    equal '"hi"' "$(agent-llm -p openai -m gpt-5-mini -s Short -t 60 -j hello </dev/null | jq .message.content)"
    for program in architect assistant code-reviewer commit-message coordinator monitor-agent security-scanner text-processor; do
        has "$("$program" --help)" $'\n  -j, --json '
        has "$("$program" --help)" $'\n  -q, --quiet '
    done
}

@test "an option that takes a name takes no other word, in every program" {
    local program options
    while read -r program options; do
        # shellcheck disable=SC2086  # each option is a word
        run -2 --separate-stderr timeout 60 "$program" $options x </dev/null
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "expected"
    done <<'END'
agent-react --env A=B
agent-react --env 9
agent-react --rate-limit fast
agent-parallel --rate-limit 5/x
agent-llm --rate-limit 0
agent-llm --option x
text-processor --env A=B
agent-execute --env A-B
agent-mcp list --env A=B
agent-react --deny a,b
coordinator --allow a,b:net
agent-react --field =x
agent-react --field x=
agent-react --memory a,b
code-reviewer --memory a,b
agent-reflect --store a,b
END
    for option in --deny --name --memory --model --provider --field --transcript --skip-done --fallback --sandbox; do
        run -2 --separate-stderr agent-react "$option" "" hi </dev/null
        has "$stderr" "argument "
        has "$stderr" "$option"
    done
    for option in --store --namespace --tag; do run -2 agent-memory "$option" "" list; done
    run -2 agent-every 1s --count 1 --name "" -- true
    run -2 agent-vote --field "" -- true
}

@test "a file that is named and is not what it must be is named in the message, a name that lacks is asked for" {
    local words wanted
    printf '\377\376\375' >data
    echo words >words
    while IFS='|' read -r words wanted; do
        # shellcheck disable=SC2086  # each is a word
        run -2 --separate-stderr timeout 20 $words </dev/null
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "$wanted"
    done <<'END'
agent-llm --schema data hi|--schema data: byte 1 is not UTF-8
agent-react --schema words hi|--schema words: Expecting value
agent-trace words|agent-trace: words: line 1: not JSON
agent-trace --json data|data: line 1: not JSON
agent-llm --replay words hi|words: line 1: not
agent-react --transcript words hi|words: line 1: not JSON
agent-new|which NAME?
agent-schedule add|which NAME?
END
}

@test "an option that is none is named, also where a word is missing beside it, in every program" {
    local program
    for program in "$ROOT"/bin/agent-*; do
        run -2 --separate-stderr timeout 60 "${program##*/}" --nope </dev/null
        has "$stderr" "unrecognized arguments: --nope"
        equal "1 $program" "${#stderr_lines[@]} $program"
    done
    for program in "agent-mcp list" "agent-mcp serve" "agent-mcp install" "agent-mcp login" "agent-memory remember" "agent-schedule add" \
        "agent-llm keys" "agent-llm local" "agent-llm budget" "agent-llm budget 1"; do
        # shellcheck disable=SC2086  # a program and what it is to do
        run -2 --separate-stderr timeout 60 $program --nope </dev/null
        has "$stderr" "unrecognized arguments: --nope"
    done
    run -2 --separate-stderr agent-every -- echo --nope
    has "$stderr" "required: INTERVAL"
}

@test "the operand - at a terminal is what is typed until Ctrl-D" {
    echoing
    cat >type.py <<'END'
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=subprocess.PIPE)
os.write(master, b"typed words\n\4")
print(child.communicate(timeout=20)[0].decode())
END
    has "$(python3 type.py agent-llm -)" "typed words"
    has "$(python3 type.py agent-react - 'Say it')" "typed words"
    python3 type.py agent-memory remember key -
    equal "typed words" "$(agent-memory recall key)"
}

@test "monitor-agent works without programs that are missing or fail" {
    model 'def reply(body):
    return "seen " + " ".join(word for word in ("cores: ", "free is not installed") if word in str(body))'
    mkdir few
    for name in bash env dirname realpath nproc python3 cat head tail timeout basename sh; do ln -s "$(command -v "$name")" few/; done
    printf '#!/bin/sh\nexit 3\n' >few/df
    chmod +x few/df
    run -0 --separate-stderr env PATH="$PWD/few" "$ROOT/bin/monitor-agent" </dev/null
    equal "seen cores:  free is not installed" "$output"
}
