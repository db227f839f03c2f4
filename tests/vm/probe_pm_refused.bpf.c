// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel must not let a program do. Each is loaded alone, by probe_pm_refused_test.cpp, which has the reasons.
 */
#include "pm-bpf/kernel.h"

char LICENSE[] SEC("license") = "GPL";

enum { SOL_SOCKET = 1, SO_MARK = 36 };

#define TABLE(callback, program) \
	SEC(".struct_ops.link")  \
	struct mptcp_pm_ops table_##program = {.callback = (void *)program, .name = "refused"}

/* ---- what acts on a connection, where that is not owned ---- */

SEC("?struct_ops/established")
void BPF_PROG(opens_when_told, struct mptcp_sock *msk, struct sock *ssk)
{
	bpf_mptcp_subflow_connect(msk, NULL, NULL, 0, 0);
}
TABLE(established, opens_when_told);

SEC("?struct_ops/add_addr_received")
void BPF_PROG(announces_when_told, struct mptcp_sock *msk, const struct mptcp_addr_info *addr)
{
	bpf_mptcp_pm_announce(msk, addr);
}
TABLE(add_addr_received, announces_when_told);

SEC("?struct_ops/rm_addr_received")
void BPF_PROG(withdraws_when_told, struct mptcp_sock *msk, __u8 id) { bpf_mptcp_pm_withdraw(msk, id); }
TABLE(rm_addr_received, withdraws_when_told);

SEC("?struct_ops/subflow_established")
void BPF_PROG(closes_when_told, struct mptcp_sock *msk, struct sock *ssk) { bpf_mptcp_subflow_close(msk, (void *)ssk); }
TABLE(subflow_established, closes_when_told);

SEC("?struct_ops/priority_changed")
void BPF_PROG(sets_a_backup_when_told, struct mptcp_sock *msk, struct sock *ssk)
{
	bpf_mptcp_subflow_set_backup(msk, (void *)ssk, true);
}
TABLE(priority_changed, sets_a_backup_when_told);

SEC("?struct_ops/subflow_closed")
void BPF_PROG(lists_when_told, struct mptcp_sock *msk, struct sock *ssk)
{
	struct mptcp_subflow_context *subflow;

	bpf_for_each(mptcp_subflow, subflow, msk) bpf_mptcp_subflow_close(msk, subflow);
}
TABLE(subflow_closed, lists_when_told);

SEC("?struct_ops/accept_new_subflow")
bool BPF_PROG(opens_when_asked, struct mptcp_sock *msk, struct sock *ssk)
{
	return bpf_mptcp_subflow_connect(msk, NULL, NULL, 0, 0) == 0;
}
TABLE(accept_new_subflow, opens_when_asked);

/* ---- in programs of other kinds ---- */

SEC("?fentry/mptcp_pm_worker")
int BPF_PROG(opens_from_tracing, struct mptcp_sock *msk) { return bpf_mptcp_subflow_connect(msk, NULL, NULL, 0, 0); }

SEC("?fentry/mptcp_pm_worker")
int BPF_PROG(asks_for_work_from_tracing, struct mptcp_sock *msk) { return bpf_mptcp_pm_request_work(msk, 0); }

SEC("?syscall")
int opens_from_a_system_call(void *context) { return bpf_mptcp_subflow_connect(context, NULL, NULL, 0, 0); }

SEC("?freplace/probe_write_down")
int closes_from_a_replacement(struct mptcp_sock *msk __arg_trusted, struct mptcp_subflow_context *subflow __arg_trusted)
{
	return bpf_mptcp_subflow_close(msk, subflow);
}

SEC("?freplace/probe_write_down")
int withdraws_from_a_replacement(struct mptcp_sock *msk __arg_trusted,
				 struct mptcp_subflow_context *subflow __arg_trusted)
{
	return bpf_mptcp_pm_withdraw(msk, 1);
}

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	char name[16];
};
#pragma clang attribute pop

SEC("?struct_ops/init")
void BPF_PROG(asks_for_work_from_congestion_control, struct sock *sk)
{
	bpf_mptcp_pm_request_work((struct mptcp_sock *)sk, 0);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops table_asks_for_work_from_congestion_control = {
	.init = (void *)asks_for_work_from_congestion_control,
	.name = "refused",
};

/* ---- socket options, where the subflow is not owned ---- */

#define SETS_AN_OPTION(where)                                                              \
	SEC("?struct_ops/" #where)                                                         \
	void BPF_PROG(sets_an_option_in_##where, struct mptcp_sock *msk, struct sock *ssk) \
	{                                                                                  \
		int mark = 1;                                                              \
		bpf_setsockopt(ssk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));             \
	}                                                                                  \
	TABLE(where, sets_an_option_in_##where)
SETS_AN_OPTION(created);
SETS_AN_OPTION(subflow_closed);
SETS_AN_OPTION(priority_changed);
SETS_AN_OPTION(listener_created);

SEC("?struct_ops/closed")
void BPF_PROG(gets_an_option_in_closed, struct mptcp_sock *msk)
{
	int mark = 0;

	bpf_getsockopt(msk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}
TABLE(closed, gets_an_option_in_closed);

SEC("?struct_ops.s/work")
void BPF_PROG(sets_an_option_in_work, struct mptcp_sock *msk)
{
	int mark = 1;

	bpf_setsockopt(msk, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}
TABLE(work, sets_an_option_in_work);

/* ---- others ---- */

SEC("?struct_ops.s/established")
void BPF_PROG(sleeps_when_told, struct mptcp_sock *msk, struct sock *ssk) {}
TABLE(established, sleeps_when_told);

SEC("?struct_ops/closed")
int BPF_PROG(takes_what_is_not_given, struct mptcp_sock *msk, struct sock *ssk) { return ssk->__sk_common.skc_state; }
TABLE(closed, takes_what_is_not_given);

SEC("?struct_ops.s/work")
void BPF_PROG(writes_into_the_connection, struct mptcp_sock *msk) { msk->token = 1; }
TABLE(work, writes_into_the_connection);

SEC("?struct_ops.s/work")
void BPF_PROG(uses_what_may_not_be_there, struct mptcp_sock *msk)
{
	struct mptcp_addr_info *local = NULL;

	bpf_mptcp_pm_announce(msk, local);
}
TABLE(work, uses_what_may_not_be_there);
