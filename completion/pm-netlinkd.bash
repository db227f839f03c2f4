# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#
# bash completion for pm-netlinkd: its policy, its options, and the names that they take. Policies and their settings are
# asked of pathlab.

_pm_netlinkd()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}

	COMPREPLY=()
	case $previous in
	-n | --netns)
		mapfile -t COMPREPLY < <(compgen -W "$(ip netns list 2>/dev/null | cut -d' ' -f1)" -- "$word")
		return
		;;
	--set)
		local settings='accept-replay= buffer= connections= interface= prefix='
		mapfile -t COMPREPLY < <(compgen -W "$settings $(pathlab policies 2>/dev/null | sed -n 's/^ *\([a-z][a-z0-9_-]*=\).*/\1/p')" -- "$word")
		compopt -o nospace
		return
		;;
	--config)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--events)
		mapfile -t COMPREPLY < <(compgen -W 'netlink ringbuf' -- "$word")
		return
		;;
	--run-dir)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	esac

	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '-h --help -V --version -n --netns --set --config --events --run-dir' -- "$word")
	else
		mapfile -t COMPREPLY < <(compgen -W "$(pathlab policies 2>/dev/null | sed -n '/only by/d; s/^\([a-z][a-z0-9_-]*\):.*/\1/p')" -- "$word")
	fi
}
complete -F _pm_netlinkd pm-netlinkd
