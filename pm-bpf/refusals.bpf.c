// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the netlink commands of one process that the kernel refused with a reason (extended ack). Replayed connections
 * do not exist in the kernel, so every command about them is refused: that counts the commands of a path manager which
 * cannot be asked. Costs nothing while no command is refused.
 */
#include <linux/bpf.h> /* first: the helpers need its types */

#include <bpf/bpf_helpers.h>

#include "pm-bpf/process.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before loading: the process. */
const volatile unsigned int pm_process = 0;

unsigned long long pm_refused = 0;

SEC("raw_tp/netlink_extack")
int pm_count_refusal(void *context)
{
	if (is_running(pm_process))
		__sync_fetch_and_add(&pm_refused, 1);
	return 0;
}
