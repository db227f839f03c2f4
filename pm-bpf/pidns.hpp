// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// In which PID namespace the numbers of processes are meant that a program is told (process.h): in a container they are
// not those of the kernel's first one.
#pragma once

#include <sys/stat.h>

namespace pm::bpf {

// Before loading.
template <class Constants>
void say_pid_namespace(Constants &constants) noexcept
{
	constexpr ino_t of_the_first = 0xEFFFFFFC; // PROC_PID_INIT_INO
	struct stat own{};
	if (::stat("/proc/self/ns/pid", &own) != 0 || own.st_ino == of_the_first)
		return;
	constants.pm_pidns_device = own.st_dev;
	constants.pm_pidns_inode = own.st_ino;
}

} // namespace pm::bpf
