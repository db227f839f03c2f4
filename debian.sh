# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# shellcheck shell=bash
#
# Packages of other Debian suites than this one's, from the mirror of the machine's own apt; sourced by what fetches some and
# has a `say`. Nothing is installed, and nothing in /etc is changed: apt works with lists and sources of its own, kept in
# ${XDG_CACHE_HOME:-~/.cache}/pathlab/apt.

debian_key=/usr/share/keyrings/debian-archive-keyring.gpg
apt_folder=${XDG_CACHE_HOME:-$HOME/.cache}/pathlab/apt

# Debian's main archive, as this machine's apt knows it; nothing if it knows none.
mirror()
{
	# shellcheck disable=SC2016 # the variables are apt's
	apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ && !found { print $3; found = 1 }'
}

# source_line URI SUITE: for a list of apt's sources.
source_line() { printf 'deb [%s] %s %s main\n' "$([[ ! -e $debian_key ]] || echo "signed-by=$debian_key")" "$1" "$2"; }

apt_of()
{
	local own=$apt_folder/$1
	shift
	"$1" -q -o Dir::State="$own" -o Dir::State::status=/dev/null -o Dir::Cache="$own/cache" -o Dir::Etc::Parts=/dev/null \
		-o Dir::Etc::SourceList="$own/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "${@:2}"
}

# update_suite URI SUITE: fetches its package list; fails, and leaves the list that is there, if that cannot be done.
update_suite()
{
	local own=$apt_folder/$2
	mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
	source_line "$1" "$2" >"$own/sources.list"
	apt_of "$2" apt-get update >&2
}

# refresh_suite SUITE: the same from this machine's mirror; fails only if there is none, as an old list is worth a try.
refresh_suite()
{
	local uri
	uri=$(mirror)
	[[ $uri ]] || { say "this machine's apt knows no mirror of Debian"; return 1; }
	update_suite "$uri" "$1" || say "the package list of $1 could not be fetched"
}

# package_field SUITE PACKAGE FIELD
package_field() { apt_of "$1" apt-cache show --no-all-versions "$2" 2>/dev/null | sed -n "s/^$3: //p"; }
