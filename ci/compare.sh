#!/usr/bin/env bash
# Compare a commit with the one before it, keep its measures on a branch, and build the dashboard of that branch.
#
#   PLUGIN=my_mixer.py MIXERS=my_mixer ci/compare.sh            from the root of any git repository
#   RECORD=1 PUSH=1 ci/compare.sh                               ... and record head, push the history, draw the dashboard
#
# Exit code: what `stmbench compare` says (0; 1, a regression; 2, bad input; 3, with STRICT=1, anything inconclusive).
# What is left in $OUT: compare.md (for a pull request), and with RECORD=1 store/ and dashboard/.
# All settings are environment variables; nothing here knows which service runs it.
set -euo pipefail

: "${STMBENCH:=stmbench}"       # the command, such as 'python -m stmbench'
: "${BASE:=}"                   # a commit; empty, zeros, or a SHA that is gone: the parent of HEAD
: "${HEAD:=HEAD}"
: "${PLUGIN:=}"                 # files with mixers, relative to the repository's root; none: it is stmbench's own
: "${MIXERS:=}"                 # comma-separated; or MODELS; neither: all mixers of the scale
: "${MODELS:=}"
: "${SCALE:=micro}"
: "${RESOLUTION:=}"
: "${BATCH_SIZE:=4}"
: "${SECONDS_PER_MODEL:=60}"
: "${MARGIN:=}"                 # a share, such as 0.03
: "${STRICT:=}"
: "${COMPARE_OPTIONS:=--confirm}"
: "${RECORD:=}"                 # 1: profile head and put it into the history
: "${PROFILE_OPTIONS:=}"
: "${HISTORY_BRANCH:=stmbench-history}"
: "${KEEP:=500}"                # records of each machine
: "${REMOTE:=origin}"           # where a missing base comes from
: "${PUSH:=}"                   # 1: take the history's branch from the remote and push it there; empty: it stays here
: "${COMMIT_URL:=}"             # address of a commit's page, {commit} standing for its SHA
: "${SITE_URL:=}"
: "${TITLE:=stmbench dashboard}"
: "${OUT:=stmbench-ci}"
: "${SUMMARY:=${GITHUB_STEP_SUMMARY:-}}"  # a file that the Markdown is appended to

say() { printf '%s\n' "$*" >&2; }
refuse() { say "expected $1, got '$2'; $3"; exit 2; }

# what reaches git is a name and nothing else: no option, and no refspec that writes a branch here
for setting in BASE HEAD REMOTE HISTORY_BRANCH; do
    if [[ ${!setting} == [-+]* || ${!setting} == *[[:space:][:cntrl:]]* ]]; then
        refuse "$setting to be a name" "${!setting}" "take the option out"
    fi
done
for setting in BASE HEAD; do
    if [[ ${!setting} == *:* ]]; then refuse "$setting to be a commit" "${!setting}" "take the colon out"; fi
done
if [[ $REMOTE == ext::* || $REMOTE == fd::* ]]; then refuse "REMOTE to be a remote" "$REMOTE" "name one, or a URL"; fi
if ! git check-ref-format "refs/heads/$HISTORY_BRANCH"; then
    refuse "HISTORY_BRANCH to be a branch's name" "$HISTORY_BRANCH" "such as stmbench-history"
fi
if ! [[ $KEEP =~ ^[1-9][0-9]{0,8}$ ]]; then refuse "KEEP to be a number from 1" "$KEEP" "such as 500"; fi

cd "$(git rev-parse --show-toplevel)"
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
WORK=$(mktemp -d)
REPOSITORY=$PWD
declare -a TREES=()

clean() {
    for tree in ${TREES[@]+"${TREES[@]}"}; do
        git -C "$REPOSITORY" worktree remove --force "$tree" >/dev/null 2>&1 || true
    done
    rm -rf "$WORK"
}
trap clean EXIT

# tree NAME COMMIT-OR-BRANCH [OPTION...]: a work tree $WORK/NAME
tree() {
    local name=$1 what=$2
    shift 2
    git worktree add --quiet --force "$@" "$WORK/$name" "$what"
    TREES+=("$WORK/$name")
}

# words into an array, without letting the shell expand them
read -r -a COMMAND <<<"$STMBENCH"
read -r -a PLUGINS <<<"$PLUGIN"
read -r -a MORE_COMPARE <<<"$COMPARE_OPTIONS"
read -r -a MORE_PROFILE <<<"$PROFILE_OPTIONS"

declare -a CHOICE=()
if [ -n "$MODELS" ]; then CHOICE+=(--models "$MODELS"); else CHOICE+=(--scale "$SCALE"); fi
if [ -n "$MIXERS" ]; then CHOICE+=(--mixers "$MIXERS"); fi
if [ -n "$RESOLUTION" ]; then CHOICE+=(--resolution "$RESOLUTION"); fi
CHOICE+=(--batch-size "$BATCH_SIZE")

resolve() { git rev-parse --quiet --verify --end-of-options "$1^{commit}" 2>/dev/null; }

head_sha=$(resolve "$HEAD") || { say "expected HEAD to be a commit, got '$HEAD'; fetch it first"; exit 2; }
base_sha=''
if [ -n "${BASE//0/}" ]; then
    if ! resolve "$BASE" >/dev/null; then
        git fetch --quiet --depth=1 -- "$REMOTE" "$BASE" 2>/dev/null || true  # a shallow clone has head alone
    fi
    if ! base_sha=$(resolve "$BASE"); then
        if ! [[ $BASE =~ ^[0-9a-f]{40,64}$ ]]; then
            say "expected BASE to be a commit, got '$BASE'; fetch it first"
            exit 2
        fi
        say "$BASE is gone, as after a forced push; its place is taken by the parent of $head_sha"
    fi
fi
if [ -z "$base_sha" ]; then base_sha=$(resolve "$head_sha^") || true; fi

# the history's branch is written to: it may be none that holds the code
if [ -n "$RECORD" ]; then
    default=$(git ls-remote --symref -- "$REMOTE" HEAD 2>/dev/null | sed -n 's|^ref: refs/heads/\(.*\)\tHEAD$|\1|p') || true
    current=$(git symbolic-ref --quiet --short HEAD) || true
    for taken in "$default" "$current" "${BASE#refs/heads/}" "${BASE#"$REMOTE/"}" "${GITHUB_BASE_REF:-}"; do
        if [ "$HISTORY_BRANCH" = "$taken" ]; then
            refuse "HISTORY_BRANCH to be a branch of its own" "$HISTORY_BRANCH" "such as stmbench-history"
        fi
    done
fi

# 1. compare ----------------------------------------------------------------------------------------------------------

tree head "$head_sha" --detach
declare -a SIDES=()
for plugin in ${PLUGINS[@]+"${PLUGINS[@]}"}; do
    if [ ! -f "$WORK/head/$plugin" ]; then say "expected PLUGIN in $head_sha, got '$plugin'; check the path"; exit 2; fi
    SIDES+=(--plugin "$plugin")
done

code=0
missing=''
if [ -n "$base_sha" ]; then
    tree base "$base_sha" --detach
    for plugin in ${PLUGINS[@]+"${PLUGINS[@]}"}; do
        [ -f "$WORK/base/$plugin" ] || missing="$plugin is new"
    done
else
    missing="there is no commit before it"
fi
if [ -n "$missing" ]; then
    printf '### stmbench compare: nothing to compare %s with\n\n%s.\n' "${head_sha:0:12}" "$missing" >"$OUT/compare.md"
else
    declare -a LIMITS=(--time-budget "$SECONDS_PER_MODEL")
    if [ -n "$MARGIN" ]; then LIMITS+=(--margin "$MARGIN"); fi
    if [ -n "$STRICT" ]; then LIMITS+=(--strict); fi
    (cd "$WORK" && "${COMMAND[@]}" compare --live base head --format markdown "${CHOICE[@]}" "${LIMITS[@]}" \
        ${SIDES[@]+"${SIDES[@]}"} ${MORE_COMPARE[@]+"${MORE_COMPARE[@]}"}) >"$WORK/compare.md" || code=$?
    # an interpreter that could not even start leaves with 1 too, but without a table
    if [[ ! $code =~ ^[013]$ ]] || [ ! -s "$WORK/compare.md" ]; then
        say "stmbench compare left with $code and no comparison"
        exit 2
    fi
    mv "$WORK/compare.md" "$OUT/compare.md"
fi
cat "$OUT/compare.md"
if [ -n "$SUMMARY" ]; then cat "$OUT/compare.md" >>"$SUMMARY"; fi

# 2. record -----------------------------------------------------------------------------------------------------------

if [ -z "$RECORD" ]; then exit "$code"; fi

measured=0
declare -a FILES=()
for plugin in ${PLUGINS[@]+"${PLUGINS[@]}"}; do FILES+=(--plugin "$WORK/head/$plugin"); done
(cd "$WORK/head" && "${COMMAND[@]}" profile "${CHOICE[@]}" --time-budget "$SECONDS_PER_MODEL" --fresh \
    --out "$OUT/store" ${FILES[@]+"${FILES[@]}"} ${MORE_PROFILE[@]+"${MORE_PROFILE[@]}"}) >&2 || measured=$?
# 1: some models failed, which their rows say
if [ "$measured" -gt 1 ]; then say "stmbench profile left with $measured and nothing to record"; exit 2; fi

# as the remote has it now, made where it does not exist yet: a branch without parents that starts with nothing
branch_as_it_is() {
    if [ -n "$PUSH" ] && git fetch --quiet -- "$REMOTE" "refs/heads/$HISTORY_BRANCH" 2>/dev/null; then
        git rev-parse FETCH_HEAD
    elif resolve "refs/heads/$HISTORY_BRANCH"; then
        :
    else
        "${GIT[@]}" commit-tree -m "A history of stmbench's measures" "$(git hash-object -w -t tree /dev/null)"
    fi
}

declare -a GIT=(git)
if ! git config user.email >/dev/null; then
    GIT+=(-c user.name=stmbench -c user.email=stmbench@localhost)
fi
# another job may push between our fetch and our push: then the record is added to what it left
attempts=3
while :; do
    start=$(branch_as_it_is)
    if git merge-base "$start" "$head_sha" >/dev/null; then
        refuse "HISTORY_BRANCH to be a branch of its own" "$HISTORY_BRANCH, which holds the code" "name another"
    fi
    history=$WORK/history-$attempts
    tree "history-$attempts" "$start" --detach
    "${COMMAND[@]}" history add "$OUT/store" --history "$history/history" --commit "$head_sha" \
        --repository "$REPOSITORY" --replace >&2
    if [ "$(find "$history/history" -name record.json | wc -l)" -gt "$KEEP" ]; then
        "${COMMAND[@]}" history prune "$history/history" --keep "$KEEP" >&2
    fi
    git -C "$history" add --all history
    if ! git -C "$history" diff --cached --quiet; then
        (cd "$history" && "${GIT[@]}" commit --quiet --no-verify -m "Measures of ${head_sha:0:12}")
    fi
    made=$(git -C "$history" rev-parse HEAD)
    if [ -z "$PUSH" ] || git push --quiet -- "$REMOTE" "$made:refs/heads/$HISTORY_BRANCH"; then break; fi
    attempts=$((attempts - 1))
    if [ "$attempts" -eq 0 ]; then say "the history could not be pushed to $REMOTE"; exit 2; fi
done
if [ -z "$PUSH" ]; then git update-ref "refs/heads/$HISTORY_BRANCH" "$made"; fi

# 3. draw -------------------------------------------------------------------------------------------------------------

declare -a LINKS=()
if [ -n "$COMMIT_URL" ]; then LINKS+=(--commit-url "$COMMIT_URL"); fi
if [ -n "$SITE_URL" ]; then LINKS+=(--url "$SITE_URL"); fi
"${COMMAND[@]}" dashboard "$history/history" --out "$OUT/dashboard" --title "$TITLE" ${LINKS[@]+"${LINKS[@]}"} >&2
exit "$code"
