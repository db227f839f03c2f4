// SPDX-License-Identifier: GPL-2.0-only
/*
 * A path manager for tests, which decides nothing: it writes down each callback with its arguments, and carries out what
 * a test orders. What the kernel offers to path managers and the policies do not use is tried with it.
 */
#include "pm-bpf/addresses.h"

#include "tests/vm/probe_pm.h"

char LICENSE[] SEC("license") = "GPL";

enum { LOOK_EVERY_MS = 10, SOL_SOCKET = 1, SO_MARK = 36 };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} probe_records SEC(".maps");

/* Written by the test. */
struct probe_order probe_order;
int probe_local_id;
bool probe_backup, probe_refuse;
pm_u32 probe_mark;

/* Read by it. */
pm_u32 probe_done, probe_lost;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock_common___probe {
	int skc_bound_dev_if;
};
struct sock___probe {
	struct sock_common___probe __sk_common;
	pm_u32 sk_mark;
};
struct inet_sock {
	__be16 inet_sport;
};
struct tcp_sock {
	pm_u32 snd_cwnd, srtt_us, total_retrans;
};
#pragma clang attribute pop

static __always_inline struct probe_record *begin(struct mptcp_sock *msk, pm_u8 type)
{
	struct probe_record *record = bpf_ringbuf_reserve(&probe_records, sizeof(*record), 0);

	if (!record) {
		__sync_fetch_and_add(&probe_lost, 1);
		return NULL;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->what.type = type;
	record->what.token = msk->token;
	record->what.flags = msk->pm.server_side ? PM_SERVER_SIDE : 0;
	return record;
}

static __always_inline void add_path(struct probe_record *record, const struct sock *ssk)
{
	local_of(&record->what.local, ssk);
	remote_of(&record->what.remote, ssk);
	/* skc_num is gone when a subflow has closed */
	record->what.local_port = bpf_ntohs(bpf_core_cast(ssk, struct inet_sock)->inet_sport);
	record->what.remote_port = bpf_ntohs(ssk->__sk_common.skc_dport);
	record->what.ifindex = ((const struct sock___probe *)ssk)->__sk_common.skc_bound_dev_if;
}

/* ---- notifications ---- */

#define OF_SUBFLOW(name, type)                                                \
	SEC("struct_ops/" #name)                                              \
	void BPF_PROG(probe_##name, struct mptcp_sock *msk, struct sock *ssk) \
	{                                                                     \
		struct probe_record *record = begin(msk, type);               \
		if (!record)                                                  \
			return;                                               \
		add_path(record, ssk);                                        \
		bpf_ringbuf_submit(record, 0);                                \
	}
OF_SUBFLOW(created, PM_CREATED)
OF_SUBFLOW(subflow_closed, PM_SUB_CLOSED)
OF_SUBFLOW(priority_changed, PM_SUB_PRIORITY)
OF_SUBFLOW(listener_created, PM_LISTENER_CREATED)
OF_SUBFLOW(listener_closed, PM_LISTENER_CLOSED)

/* In these the subflow is owned, so its options can be set. */
#define OF_OWNED_SUBFLOW(name, type)                                                                       \
	SEC("struct_ops/" #name)                                                                           \
	void BPF_PROG(probe_##name, struct mptcp_sock *msk, struct sock *ssk)                              \
	{                                                                                                  \
		struct probe_record *record = begin(msk, type);                                            \
		pm_u32 mark = probe_mark, own = 0;                                                         \
		int error = 0;                                                                             \
		if (!record)                                                                               \
			return;                                                                            \
		add_path(record, ssk);                                                                     \
		if (mark) {                                                                                \
			error = bpf_setsockopt(ssk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));             \
			mark = 0;                                                                          \
			error |= bpf_getsockopt(ssk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));            \
			record->of_msk[0] = bpf_setsockopt(msk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)); \
			record->of_msk[1] = bpf_getsockopt(msk, SOL_SOCKET, SO_MARK, &own, sizeof(own));   \
		}                                                                                          \
		record->error = error;                                                                     \
		record->mark = mark;                                                                       \
		bpf_ringbuf_submit(record, 0);                                                             \
		bpf_mptcp_pm_request_work(msk, 0);                                                         \
	}
OF_OWNED_SUBFLOW(established, PM_ESTABLISHED)
OF_OWNED_SUBFLOW(subflow_established, PM_SUB_ESTABLISHED)

SEC("struct_ops/closed")
void BPF_PROG(probe_closed, struct mptcp_sock *msk)
{
	struct probe_record *record = begin(msk, PM_CLOSED);

	if (record)
		bpf_ringbuf_submit(record, 0);
}

static __always_inline void write_remote(struct mptcp_sock *msk, pm_u8 type, const struct mptcp_addr_info *addr)
{
	struct probe_record *record = begin(msk, type);

	if (!record)
		return;
	from_info(&record->what.remote, addr);
	record->what.remote_port = bpf_ntohs(addr->port);
	record->what.remote_id = addr->id;
	bpf_ringbuf_submit(record, 0);
}

SEC("struct_ops/add_addr_received")
void BPF_PROG(probe_add_addr_received, struct mptcp_sock *msk, const struct mptcp_addr_info *addr)
{
	write_remote(msk, PM_ANNOUNCED, addr);
}

SEC("struct_ops/rm_addr_received")
void BPF_PROG(probe_rm_addr_received, struct mptcp_sock *msk, pm_u8 id)
{
	struct probe_record *record = begin(msk, PM_REMOVED);

	if (!record)
		return;
	record->what.remote_id = id;
	bpf_ringbuf_submit(record, 0);
}

static __always_inline void write_local(struct mptcp_sock *msk, pm_u8 type, const struct mptcp_addr_info *addr,
					int ifindex)
{
	struct probe_record *record = begin(msk, type);

	if (!record)
		return;
	from_info(&record->what.local, addr);
	record->what.ifindex = ifindex;
	bpf_ringbuf_submit(record, 0);
}

#define OF_LOCAL(name, type)                                                                    \
	SEC("struct_ops/" #name)                                                                \
	void BPF_PROG(probe_##name, struct mptcp_sock *msk, const struct mptcp_pm_local *local) \
	{                                                                                       \
		write_local(msk, type, &local->addr, local->ifindex);                           \
	}
OF_LOCAL(local_addr_added, PM_LOCAL_ADDED)
OF_LOCAL(local_addr_removed, PM_LOCAL_REMOVED)

/* ---- questions ---- */

SEC("struct_ops/accept_new_subflow")
bool BPF_PROG(probe_accept_new_subflow, struct mptcp_sock *msk, struct sock *ssk)
{
	struct probe_record *record = begin(msk, PROBE_JOIN);

	if (record) {
		add_path(record, ssk);
		bpf_ringbuf_submit(record, 0);
	}
	return !probe_refuse;
}

SEC("struct_ops/accept_new_address")
bool BPF_PROG(probe_accept_new_address, struct mptcp_sock *msk, const struct mptcp_addr_info *addr)
{
	write_remote(msk, PROBE_ADDRESS, addr);
	return !probe_refuse;
}

SEC("struct_ops/get_local_id")
int BPF_PROG(probe_get_local_id, struct mptcp_sock *msk, const struct mptcp_addr_info *local)
{
	write_local(msk, PROBE_LOCAL_ID, local, 0);
	return probe_local_id;
}

SEC("struct_ops/get_priority")
bool BPF_PROG(probe_get_priority, struct mptcp_sock *msk, const struct mptcp_addr_info *local)
{
	write_local(msk, PROBE_PRIORITY, local, 0);
	return probe_backup;
}

/* ---- work ---- */

/* Global, so that another program can be put in its place. */
__noinline int probe_write_down(struct mptcp_sock *msk __arg_trusted,
				struct mptcp_subflow_context *subflow __arg_trusted)
{
	struct probe_record *record = begin(msk, PROBE_SUBFLOW);
	struct tcp_sock *tcp;
	struct sock *ssk;

	if (!record)
		return 0;
	ssk = subflow->tcp_sock;
	add_path(record, ssk);
	record->what.flags |= BPF_CORE_READ_BITFIELD(subflow, backup) ? PM_BACKUP : 0;
	record->what.flags |= BPF_CORE_READ_BITFIELD(subflow, request_bkup) ? PM_ASKED_BACKUP : 0;
	record->what.local_id = subflow->local_id;
	record->what.remote_id = subflow->remote_id;
	record->state = ssk->__sk_common.skc_state;
	record->mark = ((struct sock___probe *)ssk)->sk_mark;
	tcp = bpf_core_cast(ssk, struct tcp_sock);
	record->srtt_us = tcp->srtt_us;
	record->snd_cwnd = tcp->snd_cwnd;
	record->retransmissions = tcp->total_retrans;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

static __always_inline int open_subflow(struct mptcp_sock *msk, const struct probe_order *order)
{
	struct mptcp_addr_info local = {}, remote = {};
	const struct pm_command *what = &order->what;

	if (order->local == PROBE_GIVEN)
		to_info(&local, &what->local, what->local_id, what->local_port);
	else
		local.port = bpf_htons(what->local_port);
	if (order->remote == PROBE_GIVEN)
		to_info(&remote, &what->remote, what->remote_id, what->remote_port);
	else
		remote.port = bpf_htons(what->remote_port);
	return bpf_mptcp_subflow_connect(msk, order->local == PROBE_NULL ? NULL : &local,
					 order->remote == PROBE_NULL ? NULL : &remote,
					 what->flags & PM_BACKUP ? MPTCP_PM_ADDR_FLAG_BACKUP : 0, what->ifindex);
}

/* The one whose local port the order names, or all of them. Yields the first error; -1: there is none of them. */
static __always_inline int for_subflows(struct mptcp_sock *msk, const struct pm_command *what)
{
	struct mptcp_subflow_context *subflow;
	int result = -1;

	bpf_for_each(mptcp_subflow, subflow, msk)
	{
		int error;

		if (what->local_port && subflow->tcp_sock->__sk_common.skc_num != what->local_port)
			continue;
		if (what->type == PM_CLOSE_SUBFLOW)
			error = bpf_mptcp_subflow_close(msk, subflow);
		else if (what->type == PM_SET_BACKUP)
			error = bpf_mptcp_subflow_set_backup(msk, subflow, what->flags & PM_BACKUP);
		else
			error = probe_write_down(msk, subflow);
		if (result >= -1)
			result = error;
	}
	return result;
}

/* What the iterators give. */
static __always_inline int list_all(struct mptcp_sock *msk, const struct pm_command *what)
{
	const struct mptcp_addr_info *remote;
	const struct mptcp_pm_local *local;

	bpf_for_each(mptcp_local_addr, local, msk) write_local(msk, PROBE_LOCAL, &local->addr, local->ifindex);
	bpf_for_each(mptcp_remote_addr, remote, msk) write_remote(msk, PROBE_REMOTE, remote);
	return for_subflows(msk, what);
}

static __always_inline int carry_out(struct mptcp_sock *msk, const struct probe_order *order)
{
	struct mptcp_addr_info local = {};

	switch (order->what.type) {
	case PM_OPEN_SUBFLOW: return open_subflow(msk, order);
	case PM_ANNOUNCE:
		to_info(&local, &order->what.local, order->what.local_id, order->what.local_port);
		return bpf_mptcp_pm_announce(msk, &local);
	case PM_WITHDRAW: return bpf_mptcp_pm_withdraw(msk, order->what.local_id);
	case PROBE_LIST: return list_all(msk, &order->what);
	}
	return for_subflows(msk, &order->what);
}

SEC("struct_ops.s/work")
void BPF_PROG(probe_work, struct mptcp_sock *msk)
{
	pm_u32 number = *(volatile pm_u32 *)&probe_order.number;
	struct probe_record *record;
	struct probe_order order;
	int error;

	bpf_mptcp_pm_request_work(msk, LOOK_EVERY_MS);
	if (number == probe_done || probe_order.what.token != msk->token)
		return;
	probe_done = number;
	order = probe_order;
	error = carry_out(msk, &order);
	record = begin(msk, PROBE_DONE);
	if (!record)
		return;
	record->number = number;
	record->error = error;
	bpf_ringbuf_submit(record, 0);
}

/* ---- the tables ---- */

#define NOTIFIED(name) .name = (void *)probe_##name,
#define ALL_OF_THEM                                                                                           \
	NOTIFIED(created)                                                                                     \
	NOTIFIED(established)                                                                                 \
	NOTIFIED(closed) NOTIFIED(add_addr_received) NOTIFIED(rm_addr_received) NOTIFIED(subflow_established) \
		NOTIFIED(subflow_closed) NOTIFIED(priority_changed) NOTIFIED(listener_created)                \
			NOTIFIED(listener_closed) NOTIFIED(local_addr_added) NOTIFIED(local_addr_removed)     \
				.work = (void *)probe_work

SEC(".struct_ops.link")
struct mptcp_pm_ops probe_quiet = {ALL_OF_THEM, .name = "probe"};

SEC(".struct_ops.link")
struct mptcp_pm_ops probe_answers = {
	ALL_OF_THEM,
	.accept_new_subflow = (void *)probe_accept_new_subflow,
	.accept_new_address = (void *)probe_accept_new_address,
	.get_local_id = (void *)probe_get_local_id,
	.get_priority = (void *)probe_get_priority,
	.name = "probe",
};

SEC(".struct_ops.link")
struct mptcp_pm_ops probe_nameless = {.work = (void *)probe_work};
