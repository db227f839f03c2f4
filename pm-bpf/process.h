/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a process is the one that runs, by the number that it has in the PID namespace of whoever loaded the program.
 */
#ifndef PM_BPF_PROCESS_H
#define PM_BPF_PROCESS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* Set before loading (pm-bpf/pidns.hpp): which one; 0: the first, whose numbers are to be had for less. */
const volatile unsigned long long pm_pidns_device = 0, pm_pidns_inode = 0;

static __always_inline int is_running(unsigned int process)
{
	struct bpf_pidns_info numbers;

	if (!pm_pidns_inode)
		return bpf_get_current_pid_tgid() >> 32 == process;
	return bpf_get_ns_current_pid_tgid(pm_pidns_device, pm_pidns_inode, &numbers, sizeof(numbers)) == 0 &&
	       numbers.tgid == process;
}

#endif
