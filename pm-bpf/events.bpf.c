// SPDX-License-Identifier: GPL-2.0-only
/*
 * The path manager's events by another way than netlink: programs at the entry of the functions that send them write them
 * into a ring buffer. For any kernel that lets functions be traced (fentry) and has BTF. What does not fit is counted.
 */
#include "pm-bpf/addresses.h"

char LICENSE[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* What of these is read here and nowhere else: the part behind the three underscores is for the compiler. */
struct sock_common___events {
	int skc_bound_dev_if;
};

struct sock___events {
	struct sock_common___events __sk_common;
	int sk_err;
};

struct ipv6_pinfo {
	struct in6_addr saddr;
};

struct inet_sock {
	struct ipv6_pinfo *pinet6;
	__be32 inet_saddr;
	__be16 inet_sport;
};

struct mptcp_subflow_context___events {
	struct sock *conn;
};

#pragma clang attribute pop

/* Of which network namespace. Set before loading. */
const volatile __u64 pm_netns_cookie = 0;

/* Events that there was no room for. */
__u64 pm_lost = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20); /* as loaded: what the reader asked for */
} pm_ring SEC(".maps");

static __always_inline bool is_ours(const void *sk)
{
	return BPF_CORE_READ((const struct sock *)sk, __sk_common.skc_net.net, net_cookie) == pm_netns_cookie;
}

/* Room for an event about the connection, or NULL. Whoever gets it submits it. */
static __always_inline struct pm_event *reserve(pm_u8 type, const struct mptcp_sock *msk)
{
	struct pm_event *event = bpf_ringbuf_reserve(&pm_ring, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&pm_lost, 1);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = type;
	if (msk)
		event->token = BPF_CORE_READ(msk, token);
	return event;
}

static __always_inline void set_ipv6(struct pm_addr *to, const struct in6_addr *from)
{
	bpf_core_read(to->bytes, sizeof(to->bytes), from);
}

static __always_inline void set_local(struct pm_event *event, const struct sock *ssk)
{
	const struct inet_sock *inet = (const struct inet_sock *)ssk;

	if (BPF_CORE_READ(ssk, __sk_common.skc_family) == AF_INET)
		map_ipv4(&event->local, BPF_CORE_READ(inet, inet_saddr));
	else
		set_ipv6(&event->local, &BPF_CORE_READ(inet, pinet6)->saddr);
	event->local_port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
	event->has_local = 1;
}

static __always_inline void set_remote(struct pm_event *event, const struct sock *ssk)
{
	if (BPF_CORE_READ(ssk, __sk_common.skc_family) == AF_INET)
		map_ipv4(&event->remote, BPF_CORE_READ(ssk, __sk_common.skc_daddr));
	else
		set_ipv6(&event->remote, &ssk->__sk_common.skc_v6_daddr);
	event->remote_port = bpf_ntohs(BPF_CORE_READ(ssk, __sk_common.skc_dport));
	event->has_remote = 1;
}

/* The four-tuple, the ids, and of which family the socket is. */
static __always_inline void set_subflow(struct pm_event *event, const struct sock *ssk)
{
	const struct mptcp_subflow_context *subflow = context_of(ssk);
	__s16 local_id = BPF_CORE_READ(subflow, local_id);

	set_local(event, ssk);
	set_remote(event, ssk);
	event->local_id = local_id < 0 ? 0 : local_id;
	event->remote_id = BPF_CORE_READ(subflow, remote_id);
	if (event->type != PM_SUB_CLOSED && event->type != PM_SUB_PRIORITY &&
	    BPF_CORE_READ(ssk, __sk_common.skc_family) == AF_INET)
		event->flags |= PM_IPV4_SOCKET;
}

static __always_inline void set_state(struct pm_event *event, const struct mptcp_sock *msk, const struct sock *ssk)
{
	const struct sock___events *sk = (const void *)ssk;

	if (BPF_CORE_READ_BITFIELD_PROBED(context_of(ssk), backup))
		event->flags |= PM_BACKUP;
	event->ifindex = BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
	if (BPF_CORE_READ((const struct sock *)msk, __sk_common.skc_state) == TCP_ESTABLISHED)
		event->error = BPF_CORE_READ(sk, sk_err);
}

SEC("fentry/mptcp_event")
int BPF_PROG(pm_on_event, int type, const struct mptcp_sock *msk, const struct sock *ssk)
{
	struct pm_event *event;

	if (!is_ours(msk))
		return 0;
	event = reserve(type, msk);
	if (!event)
		return 0;
	switch (type) {
	case PM_CREATED:
	case PM_ESTABLISHED:
		if (BPF_CORE_READ(msk, pm.server_side))
			event->flags |= PM_SERVER_SIDE;
		if (BPF_CORE_READ(msk, pm.remote_deny_join_id0))
			event->flags |= PM_DENY_JOIN_ID0;
		set_subflow(event, ssk);
		break;
	case PM_SUB_ESTABLISHED:
	case PM_SUB_PRIORITY:
	case PM_SUB_CLOSED:
		set_subflow(event, ssk);
		set_state(event, msk, ssk);
		break;
	}
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fentry/mptcp_event_addr_announced")
int BPF_PROG(pm_on_announced, const struct sock *ssk, const struct mptcp_addr_info *info)
{
	const struct mptcp_subflow_context___events *subflow;
	struct pm_event *event;
	__be16 port;

	if (!is_ours(ssk))
		return 0;
	subflow = (const void *)context_of(ssk);
	event = reserve(PM_ANNOUNCED, (const void *)BPF_CORE_READ(subflow, conn));
	if (!event)
		return 0;
	event->remote_id = BPF_CORE_READ(info, id);
	port = BPF_CORE_READ(info, port);
	event->remote_port = bpf_ntohs(port ? port : BPF_CORE_READ(ssk, __sk_common.skc_dport));
	if (BPF_CORE_READ(info, family) == AF_INET)
		map_ipv4(&event->remote, BPF_CORE_READ(info, addr.s_addr));
	else
		set_ipv6(&event->remote, &info->addr6);
	event->has_remote = 1;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fentry/mptcp_event_addr_removed")
int BPF_PROG(pm_on_removed, const struct mptcp_sock *msk, __u8 id)
{
	struct pm_event *event;

	if (!is_ours(msk))
		return 0;
	event = reserve(PM_REMOVED, msk);
	if (!event)
		return 0;
	event->remote_id = id;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fentry/mptcp_event_pm_listener")
int BPF_PROG(pm_on_listener, const struct sock *ssk, int type)
{
	struct pm_event *event;

	if (!is_ours(ssk))
		return 0;
	event = reserve(type, NULL);
	if (!event)
		return 0;
	set_local(event, ssk);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
