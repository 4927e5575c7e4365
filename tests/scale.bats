#!/usr/bin/env bats
# docs/scale.md: the recipes for other clusters, whose schedulers are stand-ins here; what they start is the real one
load helper
load react

PYTHON=$(type -P python3) SHELLCHECK=$(type -P shellcheck) || true

setup() {
    prepare
    "$PYTHON" - "$TESTS/../docs/scale.md" <<'P'
import re, sys
page = open(sys.argv[1]).read().partition("## Other clusters")[2]
for name, text in re.findall(r"```(\w+)\n(.*?)```", page, re.S):
    open(f"recipe.{name}", "w").write(text)
open("words", "w").write(page.partition("```")[0])
P
    scripted
    jq -cn 'range(1; 4) | {type:"task", id:"t\(.)", input:"= fine"}' >tasks.jsonl
}

# all_of FILE...: the files have one good result for each task.
all_of() { equal "t1 fine t2 fine t3 fine" "$(cat "$@" | jq -r '.id + " " + .output' | sort | xargs)"; }

@test "the page says that the recipes have not been run" {
    has "$(cat words)" "**have not been run**"
}

@test "Slurm: the shell is sound, each part does its tasks, and a part that is started again asks for none twice" {
    [[ -n $SHELLCHECK ]] || skip "shellcheck is not installed"
    "$SHELLCHECK" --shell=sh recipe.sh
    mkdir stand-in
    cat >stand-in/sbatch <<'S'
#!/bin/sh
[ "$1 $2 $3" = "--array=0-999%200 --requeue job.sh" ] || exit 2
for part in part.*; do
    [ -s "$part" ] || continue
    number=$(expr "${part#part.}" + 0) || true
    SLURM_ARRAY_TASK_ID=$number sh ./job.sh || exit
done
S
    chmod +x stand-in/sbatch
    PATH=$PWD/stand-in:$PATH sh -e recipe.sh
    "$SHELLCHECK" --severity=warning job.sh # it reads and writes done.N, which is meant
    all_of done.*
    PATH=$PWD/stand-in:$PATH sbatch --array=0-999%200 --requeue job.sh
    all_of done.*
    equal 3 "$(wc -l <"$SCRATCH/requests.jsonl")"
}

@test "Kubernetes: the job is sound YAML, and its command does the part of its index" {
    "$PYTHON" -c 'import yaml' || skip "pyyaml is not installed"
    "$PYTHON" - <<'P' >command.sh
import yaml
job = yaml.safe_load(open("recipe.yaml"))
assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
pod = job["spec"]["template"]["spec"]
assert pod["restartPolicy"] == "Never", "backoffLimitPerIndex wants it"
one = pod["containers"][0]
assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
assert one["command"][:2] == ["sh", "-c"] and len(one["command"]) == 3
assert "$(" not in one["command"][2], "Kubernetes takes it for a variable"
print(one["command"][2].replace("/work", "."))
P
    split -n l/1000 -d -a 3 tasks.jsonl part. # as on the page
    local part
    for part in part.*; do
        [[ ! -s $part ]] || JOB_COMPLETION_INDEX=$((10#${part#part.})) sh -c "$(cat command.sh)"
    done
    all_of done.*
}

@test "Spark: each partition goes through the command, with the environment that is named and no other" {
    PATH=$PATH "$PYTHON" - <<'P'
import os, shlex, subprocess
from types import SimpleNamespace

class Lines:
    """What pyspark's RDD does with pipe(): one process for each partition, with `env` as all of its environment."""
    def __init__(self, parts): self.parts = parts
    def pipe(self, command, env=None):
        run = lambda part: subprocess.run(shlex.split(command), input=part, env=env or {}, stdout=subprocess.PIPE, text=True).stdout
        return Lines([run(part) for part in self.parts])
    def saveAsTextFile(self, folder):
        os.mkdir(folder)
        for number, part in enumerate(self.parts):
            open(f"{folder}/part-{number:05}", "w").write(part)

spark = SimpleNamespace(sparkContext=SimpleNamespace(textFile=lambda name, count: Lines([open(name).read(), ""])))
exec(compile(open("recipe.python").read(), "recipe", "exec"), {"spark": spark, "key": "sk-of-the-recipe"})
P
    all_of results/part-*
    grep -q sk-of-the-recipe "$SCRATCH/requests.jsonl"
}
