// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The kernel that this runs on: its version, for the few expectations that older ones do not meet, its memory, and whether it
// is one for finding its bugs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include <sys/utsname.h>

namespace pm::test {

inline bool kernel_is_at_least(int major, int minor)
{
	utsname system{};
	int this_major = 0, this_minor = 0;
	return uname(&system) == 0 && std::sscanf(system.release, "%d.%d", &this_major, &this_minor) == 2 &&
	       std::pair(this_major, this_minor) >= std::pair(major, minor);
}

inline std::uint64_t unreclaimable_kib()
{
	std::ifstream file{"/proc/meminfo"};
	for (std::string word; file >> word;)
		if (std::uint64_t kib = 0; word == "SUnreclaim:" && file >> kib)
			return kib;
	return 0;
}

// The kernel of `./run vm --debug`. It is ten times as slow, and KASAN holds back what was freed, so that how much memory is
// in use says nothing there: what is lost, kmemleak tells.
inline bool kernel_checks_itself()
{
	std::ifstream symbols{"/proc/kallsyms"};
	for (std::string line; std::getline(symbols, line);)
		if (line.ends_with(" __kasan_slab_free"))
			return true;
	return false;
}

} // namespace pm::test
