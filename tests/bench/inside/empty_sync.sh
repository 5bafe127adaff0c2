#!/bin/sh
# The floor of a sync with nothing to do: the commands that any correct script must run before it may say so. It runs as
# the person, and exits 1 if there is something to do after all.
set -eu
cd ~/.local/share/chezmoi

# Has the remote anything that we have not seen?
theirs=$(git ls-remote --refs origin 'refs/heads/*')
format='%(objectname)%09refs/heads/%(refname:lstrip=3)'
ours=$(git for-each-ref --format="$format" --exclude=refs/remotes/origin/HEAD refs/remotes/origin)
[ "$theirs" = "$ours" ]

# Was the source directory edited, or is anything not published? (The command takes the snapshot.)
[ "$(jj log --no-graph --revisions @ --template 'empty ++ parents.map(|p| p.commit_id())' --no-pager)" = \
    "true${theirs%%[[:space:]]*}" ]

# Does the home differ from the source directory?
[ -z "$(chezmoi status --exclude=externals --no-tty --no-pager --refresh-externals=never)" ]
