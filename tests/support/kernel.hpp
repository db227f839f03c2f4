// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Which kernel this is, for the few expectations that older ones do not meet.
#pragma once

#include <cstdio>
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

} // namespace pm::test
