/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guard: refuses joins and announced addresses outside configured prefixes, and joins beyond a number of subflows. The
 * kernel asks before anything comes of them, which is why userspace, which hears of them afterwards, cannot do this. Alone,
 * or beside any policy; where nothing is configured, its callbacks are not in the table.
 */
#ifndef PM_BPF_GUARD_H
#define PM_BPF_GUARD_H

#include "pm-bpf/manager.h"

static __always_inline bool is_allowed(const struct pm_addr *address)
{
	struct pm_prefix whole = {.length = 128};
	const pm_u32 *length;

	__builtin_memcpy(whole.address, address, sizeof(whole.address));
	length = bpf_map_lookup_elem(&pm_allowed, &whole);
	return length && prefix_takes(*length, address);
}

SEC("struct_ops/accept_new_subflow")
bool BPF_PROG(pm_accept_new_subflow, struct mptcp_sock *msk, struct sock *ssk)
{
	struct pm_addr peer;

	/* This one is counted already, the initial one is not. */
	if (pm_constants.most_subflows && msk->pm.extra_subflows + 1 > pm_constants.most_subflows) {
		COUNT(refused[PM_REFUSED_JOIN_NUMBER]);
		return false;
	}
	if (!pm_constants.guards_addresses)
		return true;
	remote_of(&peer, ssk);
	if (is_allowed(&peer))
		return true;
	COUNT(refused[PM_REFUSED_JOIN_ADDRESS]);
	return false;
}

SEC("struct_ops/accept_new_address")
bool BPF_PROG(pm_accept_new_address, struct mptcp_sock *msk, const struct mptcp_addr_info *addr)
{
	struct pm_addr announced;

	if (!pm_constants.guards_addresses)
		return true;
	from_info(&announced, addr);
	if (is_allowed(&announced))
		return true;
	COUNT(refused[PM_REFUSED_ANNOUNCEMENT]);
	return false;
}

#endif
