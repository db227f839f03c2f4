/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection as the kernel has it, told to the engine as events between RESYNC_BEGIN and RESYNC_END. What
 * pm-netlink/adoption.cpp does with a list from sock_diag; here nothing is missing from the list, announced addresses
 * included. Between the two nothing is decided.
 */
#ifndef PM_BPF_READ_BACK_H
#define PM_BPF_READ_BACK_H

#include "pm-bpf/manager.h"

/* pm-core, compiled as C++: see policies.bpf.cpp. */
extern int pm_handle_namespace(struct pm_namespace *ns, const struct pm_event *event, struct pm_result *result);
extern int pm_fold(const struct pm_namespace *ns, struct pm_connection *connection, const struct pm_event *event,
		   struct pm_result *result);
/* The place of the address among the namespace's, or 255. */
extern int pm_listed_place(struct pm_namespace *ns, const struct pm_addr *address);

static __always_inline struct pm_event *begin_event(struct pm_look *look, pm_u8 type)
{
	__builtin_memset(&look->event, 0, sizeof(look->event));
	look->event.type = type;
	return &look->event;
}

static __always_inline void count_full(const struct pm_result *result)
{
	if (result->full_locals)
		COUNT(full_locals);
	if (result->full_remotes)
		COUNT(full_remotes);
	if (result->full_subflows)
		COUNT(full_subflows);
}

/* Tells the engine of look->event. Global, so that the verifier walks through it once. */
__noinline int pm_fold_event(struct pm_remembered *r, struct pm_look *look)
{
	if (!r || !look)
		return 0;
	look->event.token = r->connection.token;
	pm_fold(&r->locals, &r->connection, &look->event, &look->result);
	count_full(&look->result);
	return 0;
}

/* The same for one about the namespace. */
__noinline int pm_fold_local(struct pm_remembered *r, struct pm_look *look)
{
	if (!r || !look)
		return 0;
	pm_handle_namespace(&r->locals, &look->event, &look->result);
	count_full(&look->result);
	return 0;
}

/* ---- local addresses ---- */

static __always_inline bool within(const struct pm_addr *address, const struct pm_addr *prefix, pm_u32 length)
{
	pm_u64 high = length >= 64 ? ~0ull : length ? ~(~0ull >> length) : 0;
	pm_u64 low = length >= 128 ? ~0ull : length > 64 ? ~(~0ull >> (length - 64)) : 0;

	return prefix_takes(length, address) && !((address->half[0] ^ prefix->half[0]) & bpf_cpu_to_be64(high)) &&
	       !((address->half[1] ^ prefix->half[1]) & bpf_cpu_to_be64(low));
}

/* Whether look->address may start paths: the settings `interface` and `prefix`. */
static __noinline int is_wanted(struct pm_look *look, pm_u32 ifindex)
{
	pm_u32 zero = 0;
	const struct pm_address_filter *filter = bpf_map_lookup_elem(&pm_filter, &zero);
	bool wanted = !pm_constants.interfaces;
	pm_u32 i;

	if (!filter)
		return 0;
	for (i = 0; i < PM_MAX_FILTER; i++)
		if (i < pm_constants.interfaces && filter->interface[i] == ifindex)
			wanted = true;
	if (!wanted || !pm_constants.prefixes)
		return wanted;
	for (i = 0; i < PM_MAX_FILTER; i++)
		if (i < pm_constants.prefixes && within(&look->address, &filter->prefix[i], filter->length[i]))
			return 1;
	return 0;
}

static __always_inline bool is_filtered(void) { return pm_constants.interfaces || pm_constants.prefixes; }

/* Which of the namespace's addresses are listed, and whether there are others. */
static __always_inline void compare_locals(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look)
{
	struct mptcp_pm_local *local;

	look->seen = look->unknown = 0;
	bpf_for_each(mptcp_local_addr, local, msk)
	{
		int place;

		from_info(&look->address, &local->addr);
		if (is_filtered() && !is_wanted(look, local->ifindex))
			continue;
		place = pm_listed_place(&r->locals, &look->address);
		if (place >= 0 && place < PM_MAX_LOCALS && (r->locals.present & (1 << place)) &&
		    r->locals.ifindex[place] == (pm_u32)local->ifindex)
			look->seen |= 1 << place;
		else
			look->unknown = 1;
	}
}

static __noinline int remove_unseen(struct pm_remembered *r, struct pm_look *look)
{
	int i;

	for (i = 0; i < PM_MAX_LOCALS; i++) {
		if (!((r->locals.present & ~look->seen) & (1 << i)))
			continue;
		begin_event(look, PM_LOCAL_REMOVED)->local = r->locals.local[i];
		pm_fold_local(r, look);
	}
	return 0;
}

static __always_inline void add_unknown(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look)
{
	struct mptcp_pm_local *local;

	bpf_for_each(mptcp_local_addr, local, msk)
	{
		struct pm_event *event;

		from_info(&look->address, &local->addr);
		if (is_filtered() && !is_wanted(look, local->ifindex))
			continue;
		event = begin_event(look, PM_LOCAL_ADDED);
		event->ifindex = local->ifindex;
		event->local = look->address;
		pm_fold_local(r, look);
	}
}

/*
 * Those that were removed before they were ever listed here: they were the namespace's, so what stands on them is to
 * close. An address that is back is listed again right after.
 */
static __noinline int recall_removed(struct pm_remembered *r, struct pm_look *look)
{
	pm_u32 i, unseen = __sync_lock_test_and_set(&r->unseen_removals, 0);

	r->listed = 0; /* what is recalled is to be removed again */
	for (i = 0; i < PM_MAX_REMOVED; i++) {
		if (!(unseen & (1u << i)))
			continue;
		look->address = r->removed[i];
		if (pm_listed_place(&r->locals, &look->address) < PM_MAX_LOCALS ||
		    (is_filtered() && !is_wanted(look, r->removed_from[i])))
			continue;
		begin_event(look, PM_LOCAL_ADDED)->local = look->address;
		pm_fold_local(r, look);
	}
	return 0;
}

/* What is known of the namespace, if that is still so. */
static __always_inline void take_known(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_known *known, pm_u32 now)
{
	pm_u64 netns = netns_of(msk);

	bpf_spin_lock(&known->lock);
	if (known->netns == netns && known->listed_at == now) {
		r->locals = known->locals;
		r->listed_at = now;
		r->listed = 1;
	}
	bpf_spin_unlock(&known->lock);
}

static __always_inline void let_know(struct mptcp_sock *msk, const struct pm_remembered *r, struct pm_known *known)
{
	pm_u64 netns = netns_of(msk);

	bpf_spin_lock(&known->lock);
	known->netns = netns;
	known->listed_at = r->listed_at;
	known->locals = r->locals;
	bpf_spin_unlock(&known->lock);
}

/*
 * The namespace's addresses, unless they are as they were: first what is gone, whose places may be needed, then what
 * there is.
 */
static __always_inline void read_locals(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look)
{
	pm_u32 now = bpf_mptcp_local_addr_seq(); /* first: what changes while they are listed is found by the next look */
	struct pm_known *known = known_locals();

	if (!known)
		return;
	if (!r->listed && !r->locals.generation)
		take_known(msk, r, known, now);
	if (r->listed && r->listed_at == now)
		return;
	compare_locals(msk, r, look);
	if (r->locals.present & ~look->seen)
		remove_unseen(r, look);
	if (look->unknown)
		add_unknown(msk, r, look);
	r->listed_at = now;
	r->listed = 1;
	let_know(msk, r, known);
}

/* ---- the connection ---- */

static __always_inline void describe_sock(struct pm_event *event, const struct sock *sk)
{
	local_of(&event->local, sk);
	remote_of(&event->remote, sk);
	event->local_port = sk->__sk_common.skc_num;
	event->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	event->has_local = event->has_remote = 1;
	if (sk->__sk_common.skc_family == AF_INET)
		event->flags |= PM_IPV4_SOCKET;
}

/* The socket of the connection itself keeps the addresses that it was opened with. */
static __always_inline void describe_connection(struct mptcp_sock *msk, struct pm_look *look)
{
	struct pm_event *event = begin_event(look, PM_ESTABLISHED);

	describe_sock(event, sock_of(msk));
	if (msk->pm.server_side)
		event->flags |= PM_SERVER_SIDE;
	if (msk->pm.remote_deny_join_id0)
		event->flags |= PM_DENY_JOIN_ID0;
}

static __always_inline void describe_subflow(struct pm_event *event, struct mptcp_subflow_context *subflow,
					     const struct sock *ssk)
{
	pm_u16 id = subflow->local_id;

	describe_sock(event, ssk);
	event->local_id = id < 256 ? id : 0;
	event->remote_id = subflow->remote_id;
	if (BPF_CORE_READ_BITFIELD(subflow, backup))
		event->flags |= PM_BACKUP;
	if (BPF_CORE_READ_BITFIELD(subflow, request_bkup))
		event->flags |= PM_ASKED_BACKUP;
}

/* Those that are being opened go last: each that is there takes the place of one that was being opened before. */
static __always_inline void read_subflows(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look,
					  bool opening)
{
	struct mptcp_subflow_context *subflow;

	bpf_for_each(mptcp_subflow, subflow, msk)
	{
		const struct sock *ssk = subflow->tcp_sock;
		pm_u8 state = ssk->__sk_common.skc_state;

		if (state == TCP_SYN_SENT)
			look->opening = 1;
		if (opening ? state != TCP_SYN_SENT : state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
			continue;
		describe_subflow(begin_event(look, opening ? PM_SUB_OPENING : PM_SUB_ESTABLISHED), subflow, ssk);
		pm_fold_event(r, look);
		if (look->event.remote_id != r->connection.remote_id[look->result.remote & (PM_MAX_REMOTES - 1)])
			look->renamed |= 1 << (look->result.remote & (PM_MAX_REMOTES - 1));
	}
}

static __always_inline void read_announced(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look)
{
	struct mptcp_addr_info *remote;

	bpf_for_each(mptcp_remote_addr, remote, msk)
	{
		struct pm_event *event = begin_event(look, PM_ANNOUNCED);

		event->remote_id = remote->id;
		event->remote_port = bpf_ntohs(remote->port);
		event->has_remote = 1;
		from_info(&event->remote, remote);
		pm_fold_event(r, look);
	}
}

/* Global, so that the verifier walks through it once. */
__noinline int pm_fold_removed(struct pm_remembered *r, struct pm_look *look, pm_u8 id)
{
	if (!r || !look)
		return 0;
	begin_event(look, PM_REMOVED)->remote_id = id;
	return pm_fold_event(r, look);
}

/* What the peer has taken back. It may have announced some of it again since, which the kernel lists. */
static __noinline int read_removed(struct pm_remembered *r, struct pm_look *look)
{
	pm_u32 i;

	for (i = 0; i < 4; i++)
		look->removed[i] = __sync_lock_test_and_set(&r->remote_removed[i], 0);
	for (i = 0; i < PM_MAX_REMOTES; i++) {
		pm_u8 id = r->connection.remote_id[i];

		if ((look->removed[id >> 6] >> (id & 63) & 1) && !(look->renamed & (1 << i)))
			pm_fold_removed(r, look, id);
	}
	return 0;
}

/* All of it but RESYNC_END, which decides, and is the policy's. */
static __always_inline void read_back(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look)
{
	r->connection.token = msk->token;
	if (r->unseen_removals)
		recall_removed(r, look);
	read_locals(msk, r, look);
	begin_event(look, PM_RESYNC_BEGIN);
	pm_fold_event(r, look);
	describe_connection(msk, look);
	pm_fold_event(r, look);
	look->opening = look->renamed = 0;
	read_subflows(msk, r, look, false);
	if (look->opening)
		read_subflows(msk, r, look, true);
	read_removed(r, look);
	read_announced(msk, r, look);
}

#endif
