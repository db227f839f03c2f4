# shellcheck shell=bash
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#
# bash completion for pathlab: commands, their options, and the names that options take. Policies and their settings are
# asked of pathlab.

_pathlab()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' i
	local backends='mptcpd-stock mptcpd netlink bpf native'
	local shapes='poisson burst flash-crowd flapping mobility'

	# Options in front of the command take no values.
	for ((i = 1; i < COMP_CWORD; ++i)); do
		if [[ ${COMP_WORDS[i]} != -* ]]; then
			command=${COMP_WORDS[i]}
			break
		fi
	done

	COMPREPLY=()
	case $command:$previous in
	record:-n | record:--netns | status:-n | status:--netns)
		mapfile -t COMPREPLY < <(compgen -W "$(ip netns list 2>/dev/null | cut -d' ' -f1)" -- "$word")
		return
		;;
	compare:-o | compare:--output | status:--run-dir)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	*:-o | *:--output)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	*:--policy)
		mapfile -t COMPREPLY < <(compgen -W "$(pathlab policies 2>/dev/null | sed -n 's/^\([a-z][a-z0-9_-]*\):.*/\1/p')" -- "$word")
		return
		;;
	*:--set)
		mapfile -t COMPREPLY < <(compgen -W "$(pathlab policies 2>/dev/null | sed -n 's/^ *\([a-z][a-z0-9_-]*=\).*/\1/p')" -- "$word")
		compopt -o nospace
		return
		;;
	generate:--shape)
		mapfile -t COMPREPLY < <(compgen -W "$shapes" -- "$word")
		return
		;;
	replay:--through)
		# A list: complete its last name, keep the others.
		local head=''
		[[ $word == *,* ]] && head=${word%,*},
		mapfile -t COMPREPLY < <(compgen -P "$head" -W "$backends" -- "${word##*,}")
		compopt -o nospace
		return
		;;
	replay:--rate)
		mapfile -t COMPREPLY < <(compgen -W 'max' -- "$word")
		return
		;;
	*:-d | *:--duration | *:--connections | *:--rate | *:--seed | *:--speed | *:--repeat | *:--tail | *:--buffer)
		return
		;;
	esac

	local options='-h --help -j --json'
	case $command in
	'')
		options+=' -V --version'
		[[ $word == -* ]] || options='policies record generate show replay compare status'
		;;
	record) options+=' -n --netns -d --duration -o --output --buffer' ;;
	generate) options+=' --shape --connections --rate --seed -o --output' ;;
	replay) options+=' --through --policy --set --rate --speed --repeat --tail --buffer' ;;
	compare) options+=' --quick -o --output --policy --set --buffer' ;;
	status) options+=' -n --netns --openmetrics --run-dir' ;;
	esac

	if [[ $word != -* && ($command == show || $command == replay) ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	else
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
	fi
}
complete -F _pathlab pathlab
