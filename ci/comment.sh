#!/usr/bin/env bash
# Put a Markdown file under a pull request of GitHub: ci/comment.sh FILE OWNER/REPOSITORY NUMBER
#
# One comment a pull request and KEY (an environment variable; several comparisons each have their own): a later run
# rewrites it. Needs `gh` with GH_TOKEN. Without the right to comment (a fork's token may only read) it says so and
# leaves with 0: the Markdown stands in the job's summary all the same.
set -euo pipefail

file=$1 repository=$2 number=$3
marker="<!-- stmbench ${KEY:-compare} -->"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{ printf '%s\n' "$marker"; head -c 60000 "$file"; } >"$body"  # GitHub takes 65,536 characters

# the filter reads the marker from its environment, where no quote of a KEY can end a string
export marker
comments="repos/$repository/issues/$number/comments"
filter='.[] | select(.user.type == "Bot" and (.body | startswith(env.marker))) | .id'
if id=$(gh api --paginate "$comments" --jq "$filter"); then
    id=${id%%$'\n'*}
    if [ -n "$id" ]; then
        set -- --method PATCH "repos/$repository/issues/comments/$id"
    else
        set -- --method POST "$comments"
    fi
    if gh api "$@" --field "body=@$body" >/dev/null; then exit 0; fi
fi
echo "stmbench: no comment was written to pull request $number; its job's summary has the comparison" >&2
