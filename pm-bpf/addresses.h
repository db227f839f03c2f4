/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses between the kernel's form and ours, which has 16 bytes for both families.
 */
#ifndef PM_BPF_ADDRESSES_H
#define PM_BPF_ADDRESSES_H

#include "pm-bpf/kernel.h"

#include "pm-core/types.h"

static __always_inline void map_ipv4(struct pm_addr *to, __be32 address)
{
	to->half[0] = 0;
	to->half[1] = (pm_u64)address << 32 | bpf_htonl(0xffff);
}

static __always_inline void join_halves(struct pm_addr *to, const struct in6_addr *from)
{
	to->half[0] = from->in6_u.u6_addr32[0] | (pm_u64)from->in6_u.u6_addr32[1] << 32;
	to->half[1] = from->in6_u.u6_addr32[2] | (pm_u64)from->in6_u.u6_addr32[3] << 32;
}

static __always_inline void from_info(struct pm_addr *to, const struct mptcp_addr_info *from)
{
	if (from->family == AF_INET)
		map_ipv4(to, from->addr.s_addr);
	else
		join_halves(to, &from->addr6);
}

static __always_inline void local_of(struct pm_addr *to, const struct sock *sk)
{
	if (sk->__sk_common.skc_family == AF_INET)
		map_ipv4(to, sk->__sk_common.skc_rcv_saddr);
	else
		join_halves(to, &sk->__sk_common.skc_v6_rcv_saddr);
}

static __always_inline void remote_of(struct pm_addr *to, const struct sock *sk)
{
	if (sk->__sk_common.skc_family == AF_INET)
		map_ipv4(to, sk->__sk_common.skc_daddr);
	else
		join_halves(to, &sk->__sk_common.skc_v6_daddr);
}

static __always_inline bool same_address(const struct pm_addr *a, const struct pm_addr *b)
{
	return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

static __always_inline bool is_ipv4(const struct pm_addr *a)
{
	return a->half[0] == 0 && (pm_u32)a->half[1] == bpf_htonl(0xffff);
}

/* A prefix of IPv6, as ::/0 is, has no IPv4 addresses, although it begins as they do. */
static __always_inline bool prefix_takes(pm_u32 length, const struct pm_addr *address)
{
	return length >= 96 || !is_ipv4(address);
}

static __always_inline void to_info(struct mptcp_addr_info *to, const struct pm_addr *from, pm_u8 id, pm_u16 port)
{
	to->id = id;
	to->port = bpf_htons(port);
	if (is_ipv4(from)) {
		to->family = AF_INET;
		to->addr.s_addr = from->half[1] >> 32;
		return;
	}
	to->family = AF_INET6;
	to->addr6.in6_u.u6_addr32[0] = from->half[0];
	to->addr6.in6_u.u6_addr32[1] = from->half[0] >> 32;
	to->addr6.in6_u.u6_addr32[2] = from->half[1];
	to->addr6.in6_u.u6_addr32[3] = from->half[1] >> 32;
}

#endif
