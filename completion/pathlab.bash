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
	record:-n | record:--netns | status:-n | status:--netns | attach:-n | attach:--netns | detach:-n | detach:--netns)
		mapfile -t COMPREPLY < <(compgen -W "$(ip netns list 2>/dev/null | cut -d' ' -f1)" -- "$word")
		return
		;;
	stress:-o | stress:--output | compare:-o | compare:--output | report:-o | report:--output | report:--pictures | status:--run-dir)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	*:-o | *:--output)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	compare:--only)
		mapfile -t COMPREPLY < <(compgen -W 'replay stress' -- "$word")
		return
		;;
	compare:--baseline)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	advise:--place)
		mapfile -t COMPREPLY < <(compgen -W 'host vm' -- "$word")
		return
		;;
	advise:--burst | advise:--burst-rate | advise:--loss)
		return
		;;
	*:--policy)
		mapfile -t COMPREPLY < <(compgen -W "$(pathlab policies 2>/dev/null | sed -n '/only by/d; s/^\([a-z][a-z0-9_-]*\):.*/\1/p')" -- "$word")
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
	stress:--through | stress:--scenario)
		local list='none kernel mptcpd-stock mptcpd netlink ringbuf bpf' first=''
		[[ $previous == --through ]] || list='steady step flash-crowd mobility announce overrun contention buffer'
		[[ $word == *,* ]] && first=${word%,*},
		mapfile -t COMPREPLY < <(compgen -P "$first" -W "$list" -- "${word##*,}")
		compopt -o nospace
		return
		;;
	stress:--families)
		mapfile -t COMPREPLY < <(compgen -W '4 6 both' -- "$word")
		return
		;;
	stress:--priority)
		mapfile -t COMPREPLY < <(compgen -W 'equal lower' -- "$word")
		return
		;;
	stress:--paths | stress:--hold | stress:--announce | stress:--contention | stress:--delay | stress:--bandwidth | stress:-n | stress:--probe-cost)
		return
		;;
	replay:--rate | stress:--rate)
		mapfile -t COMPREPLY < <(compgen -W 'max' -- "$word")
		return
		;;
	*:-d | *:--duration | *:--connections | *:--rate | *:--seed | *:--speed | *:--repeat | *:--tail | *:--buffer | attach:--name | attach:--allow | \
		*:--most-subflows)
		return
		;;
	esac

	local options='-h --help -j --json'
	case $command in
	'')
		options+=' -V --version'
		[[ $word == -* ]] || options='policies record generate show replay stress compare report advise attach detach status'
		;;
	record) options+=' -n --netns -d --duration -o --output --buffer' ;;
	generate) options+=' --shape --connections --rate --seed -o --output' ;;
	replay) options+=' --through --policy --set --rate --speed --repeat --tail --buffer' ;;
	stress)
		options+=' --through --policy --set --scenario --connections --rate --paths --families --hold --announce --contention'
		options+=' --priority --buffer --delay --bandwidth -n --repeat --probe-cost -o --output'
		;;
	compare) options+=' --quick --full --host-only --only --resume --baseline -o --output --policy --set --buffer' ;;
	report) options+=' -o --output --pictures' ;;
	advise) options+=' --rate --burst --burst-rate --loss --place --checks' ;;
	attach) options+=' -n --netns --set --name --allow --most-subflows --replace' ;;
	detach) options+=' -n --netns' ;;
	status) options+=' -n --netns --openmetrics --run-dir' ;;
	esac

	if [[ $word != -* && ($command == show || $command == replay || $command == report || $command == advise) ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	elif [[ $word != -* && $command == attach ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(pathlab policies 2>/dev/null | sed -n 's/^\([a-z][a-z0-9_-]*\):.*/\1/p')" -- "$word")
	elif [[ $word != -* && $command == detach ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(pathlab status 2>/dev/null | sed -n 's/^attached  *\([A-Za-z0-9_]*\):.*/\1/p')" -- "$word")
	else
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
	fi
}
complete -F _pathlab pathlab
