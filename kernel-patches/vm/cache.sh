# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# shellcheck shell=bash
#
# What the virtual machine's kernels are kept in, ${XDG_CACHE_HOME:-~/.cache}/pathlab/kernel; sourced by what makes them.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/pathlab/kernel

say() { printf 'vm: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
digest() { sha256sum | cut -c 1-16; }

# make_stage: sets `stage`, a folder that is gone at the end.
make_stage()
{
	mkdir -p "$cache"
	stage=$(mktemp -d "$cache/stage.XXXXXX")
	trap 'rm -rf "$stage"' EXIT
}

# Those whose owners were killed.
prune_stages() { find "$cache" -maxdepth 1 -name 'stage.*' -mmin +1440 -exec rm -rf {} +; }

# prune COUNT FOLDER...: removes all but the COUNT that were used last.
prune()
{
	local count=$1 folder
	shift
	(($# > count)) || return 0
	while read -r folder; do rm -rf "$folder"; done < <(stat -c '%Y %n' "$@" | sort -rn | tail -n +$((count + 1)) | cut -d ' ' -f 2-)
}

# lock NAME: until this ends, or the next lock. What is finished can be used meanwhile.
lock()
{
	exec 9>"$cache/$1.lock"
	flock --nonblock 9 || { say 'waiting for another build'; flock 9; }
}
