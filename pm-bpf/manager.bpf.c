// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C shell around the policies where they manage live connections: the kernel's table of callbacks (struct mptcp_pm_ops,
 * kernel-patches/) for each policy. pm.bpf.c is its twin for replayed events.
 *
 * Level-triggered: a notification is counted and, if the policy could care, asks for work. Only `work` decides: it reads
 * the connection back (read_back.h), asks the policy what it should have, and carries the difference out (carry_out.h).
 */
#include "pm-bpf/carry_out.h"
#include "pm-bpf/guard.h"

char LICENSE[] SEC("license") = "GPL";

enum { BUSY_MS = 1, MOST_COMMANDS_PER_SECOND = 2 * PM_MAX_SUBFLOWS, LONGEST_DELAY_LOG2 = 6 };
static const pm_u64 second = 1000000000;

/* ---- notifications ---- */

#define COUNT_ONLY(name)         \
	SEC("struct_ops/" #name) \
	void BPF_PROG(pm_##name, struct mptcp_sock *msk, struct sock *ssk) { COUNT(notified[PM_NOTIFIED_##name]); }
COUNT_ONLY(created)
COUNT_ONLY(priority_changed)
COUNT_ONLY(listener_created)
COUNT_ONLY(listener_closed)

/* Its socket may be connected anew, to another peer. */
SEC("struct_ops/closed")
void BPF_PROG(pm_closed, struct mptcp_sock *msk)
{
	struct pm_remembered *r;

	COUNT(notified[PM_NOTIFIED_closed]);
	r = remembered(msk, 0);
	if (!r)
		return;
	r->unseen_removals = 0;
	__builtin_memset(r->remote_removed, 0, sizeof(r->remote_removed));
	r->over = 1; /* the rest `work` may be amid */
}

static __always_inline bool is_other(const struct pm_addr *listed, const struct pm_addr *own, bool only_ipv4)
{
	return (!only_ipv4 || is_ipv4(listed)) && !same_address(own, listed);
}

/*
 * Whether the namespace has an address besides the connection's own, of a family that its socket takes. What is known is
 * read without its lock: at worst, a look finds nothing to do, or is not asked for while the addresses change, of which
 * the connection is told.
 */
static __always_inline bool has_other_local(struct mptcp_sock *msk)
{
	bool other = false, only_ipv4 = sock_of(msk)->__sk_common.skc_family == AF_INET;
	struct pm_known *known = known_locals();
	struct mptcp_pm_local *local;
	struct pm_addr own, listed;
	int i;

	local_of(&own, sock_of(msk));
	if (known && is_good(known, msk)) {
		for (i = 0; i < PM_MAX_LOCALS; i++)
			if ((known->locals.present & (1 << i)) && is_other(&known->locals.local[i], &own, only_ipv4))
				return true;
		return false;
	}
	bpf_for_each(mptcp_local_addr, local, msk)
	{
		from_info(&listed, &local->addr);
		if (is_other(&listed, &own, only_ipv4)) {
			other = true;
			break;
		}
	}
	return other;
}

SEC("struct_ops/established")
void BPF_PROG(pm_established, struct mptcp_sock *msk, struct sock *ssk)
{
	pm_u32 interest = interest_in(msk);

	COUNT(notified[PM_NOTIFIED_established]);
	if ((interest & PM_CARES_ALONE) || ((interest & PM_CARES_LOCALS) && has_other_local(msk)))
		bpf_mptcp_pm_request_work(msk, 0);
}

SEC("struct_ops/add_addr_received")
void BPF_PROG(pm_add_addr_received, struct mptcp_sock *msk, const struct mptcp_addr_info *addr)
{
	COUNT(notified[PM_NOTIFIED_add_addr_received]);
	if (interest_in(msk) & PM_CARES_REMOTES)
		bpf_mptcp_pm_request_work(msk, 0);
}

/*
 * What stands on the address the kernel closes by itself, but not if it is still busy with an earlier removal: it remembers
 * one. So this is looked at on both sides.
 */
SEC("struct_ops/rm_addr_received")
void BPF_PROG(pm_rm_addr_received, struct mptcp_sock *msk, pm_u8 id)
{
	struct pm_remembered *r;

	COUNT(notified[PM_NOTIFIED_rm_addr_received]);
	if (!has_policy())
		return;
	r = remembered(msk, BPF_SK_STORAGE_GET_F_CREATE);
	if (r)
		__sync_fetch_and_or(&r->remote_removed[id >> 6], 1ull << (id & 63));
	else
		COUNT(removals_lost);
	bpf_mptcp_pm_request_work(msk, 0);
}

/* One that this side has opened is expected. The peer's may have to become a backup, or be one too many. */
SEC("struct_ops/subflow_established")
void BPF_PROG(pm_subflow_established, struct mptcp_sock *msk, struct sock *ssk)
{
	struct pm_remembered *r;

	COUNT(notified[PM_NOTIFIED_subflow_established]);
	r = remembered(msk, 0);
	/* A client is back at an address that it has just removed: its new subflow is not to be closed for that. */
	if (r && msk->pm.server_side) {
		pm_u8 id = remote_id_of(ssk);

		__sync_fetch_and_and(&r->remote_removed[id >> 6], ~(1ull << (id & 63)));
	}
	if ((interest_in(msk) & PM_CARES_JOINS) || (r && r->look_again))
		bpf_mptcp_pm_request_work(msk, 0);
}

SEC("struct_ops/subflow_closed")
void BPF_PROG(pm_subflow_closed, struct mptcp_sock *msk, struct sock *ssk)
{
	COUNT(notified[PM_NOTIFIED_subflow_closed]);
	if (interest_in(msk) && is_open(msk))
		bpf_mptcp_pm_request_work(msk, 0);
}

SEC("struct_ops/local_addr_added")
void BPF_PROG(pm_local_addr_added, struct mptcp_sock *msk, const struct mptcp_pm_local *local)
{
	COUNT(notified[PM_NOTIFIED_local_addr_added]);
	if (interest_in(msk) & (PM_CARES_ALONE | PM_CARES_LOCALS))
		bpf_mptcp_pm_request_work(msk, 0);
}

/* On both sides: what stands on an address that is gone is to close, also where it was never looked at before. */
SEC("struct_ops/local_addr_removed")
void BPF_PROG(pm_local_addr_removed, struct mptcp_sock *msk, const struct mptcp_pm_local *local)
{
	struct pm_remembered *r;
	pm_u32 place;

	COUNT(notified[PM_NOTIFIED_local_addr_removed]);
	if (!has_policy())
		return;
	r = remembered(msk, BPF_SK_STORAGE_GET_F_CREATE);
	if (!r) {
		COUNT(removals_lost);
		return;
	}
	place = __sync_fetch_and_add(&r->removals, 1) & (PM_MAX_REMOVED - 1);
	if (r->unseen_removals & (1u << place)) {
		COUNT(removals_lost);
	} else {
		from_info(&r->removed[place], &local->addr);
		r->removed_from[place] = local->ifindex;
		__sync_fetch_and_or(&r->unseen_removals, 1u << place);
	}
	bpf_mptcp_pm_request_work(msk, 0);
}

/* ---- patience: what pm-netlink/pacing.hpp does for userspace ---- */

static __always_inline void schedule_retry(struct pm_remembered *r, pm_u64 now)
{
	pm_u8 tries = r->connection.shell_tries & 7;

	r->connection.shell_tries = tries < LONGEST_DELAY_LOG2 ? tries + 1 : tries;
	r->retry_at = now + (second << tries);
}

/* What is kept until PM_RETRY does not wait for what failed before. */
static __always_inline void leave_soon(struct pm_remembered *r, const struct pm_look *look, pm_u64 now)
{
	if ((look->result.kept & PM_KEPT_UNTIL_RETRY) && (!r->retry_at || r->retry_at > now + second))
		r->retry_at = now + second;
}

/* A connection that causes too many commands is held; one with address pairs that were given up is tried again later. */
static __noinline int be_patient(struct pm_remembered *r, struct pm_look *look, pm_u64 now)
{
	struct pm_connection *c = &r->connection;
	pm_u16 this_second = now / second;

	if (!look->commands && !look->exhausted)
		return 0;
	if (c->shell_second != this_second) {
		/* Quiet for longer than the latest delay: what fails now is something else. */
		if ((pm_u16)(this_second - c->shell_second) > 2u << (c->shell_tries & 7))
			c->shell_tries = 0;
		c->shell_second = this_second;
		c->shell_spent = 0;
	}
	c->shell_spent += look->commands - look->beyond;
	if (c->shell_spent > MOST_COMMANDS_PER_SECOND && !(c->flags & PM_CONN_HELD)) {
		c->flags |= PM_CONN_HELD;
		r->retry_at = now + second;
		COUNT(holds);
	} else if (!r->retry_at && (look->exhausted || look->refused)) {
		schedule_retry(r, now);
	}
	return 0;
}

/* When this connection is to be looked at again, whatever happens. */
static __always_inline void ask_again(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look, pm_u64 now)
{
	if (look->unopened && !(r->connection.flags & PM_CONN_HELD))
		bpf_mptcp_pm_request_work(msk, 0); /* up to three times, until the engine gives the pair up */
	else if (look->again_ms)
		bpf_mptcp_pm_request_work(msk, look->again_ms);
	if (r->retry_at)
		bpf_mptcp_pm_request_work(msk, r->retry_at > now ? (r->retry_at - now) / 1000000 + 1 : 0);
}

/* ---- work ---- */

static __always_inline struct pm_look *take_look(void)
{
	pm_u32 i, first = bpf_get_smp_processor_id() * 8;

	for (i = 0; i < PM_POOL; i++) {
		pm_u32 place = (first + i) & (PM_POOL - 1);
		struct pm_look *look = bpf_map_lookup_elem(&pm_pool, &place);

		if (look && __sync_val_compare_and_swap(&look->taken, 0, 1) == 0)
			return look;
	}
	return NULL;
}

static __always_inline void give_back(struct pm_look *look) { __sync_lock_test_and_set(&look->taken, 0); }

/* Before what is read back is compared: it is time to try again what failed. */
static __always_inline void retry_if_due(struct pm_remembered *r, struct pm_look *look, pm_u64 now)
{
	if (!r->retry_at || r->retry_at > now)
		return;
	r->retry_at = 0;
	begin_event(look, PM_RETRY);
	pm_fold_event(r, look);
	COUNT(retries);
}

typedef int (*pm_handler)(const struct pm_namespace *ns, struct pm_connection *connection, const struct pm_event *event,
			  const struct pm_settings *settings, struct pm_result *result);

static __always_inline void look_at(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look,
				    pm_handler handle)
{
	pm_u64 now = bpf_ktime_get_ns();
	pm_u32 zero = 0;
	struct pm_settings *settings = bpf_map_lookup_elem(&pm_chosen, &zero);

	if (!settings)
		return;
	COUNT(works);
	look->again_ms = 0;
	if (r->over) {
		r->over = 0;
		r->retry_at = 0;
		r->connection.locals = 0; /* not described yet */
	}
	read_back(msk, r, look);
	retry_if_due(r, look, now);
	begin_event(look, PM_RESYNC_END)->flags = PM_LISTED_ALL;
	look->event.token = r->connection.token;
	handle(&r->locals, &r->connection, &look->event, settings, &look->result);
	count_full(&look->result);
	r->look_again = look->opening || look->result.kept;
	look->commands = look->result.commands;
	look->exhausted = look->result.exhausted;
	if (look->exhausted)
		COUNT_MANY(exhausted, look->exhausted);
	leave_soon(r, look, now); /* what is refused writes over the result */
	carry_out(msk, r, look);
	be_patient(r, look, now);
	ask_again(msk, r, look, now);
}

static __always_inline void work(struct mptcp_sock *msk, pm_handler handle)
{
	struct pm_remembered *r;
	struct pm_look *look;

	if (!is_open(msk)) {
		COUNT(works_skipped);
		return;
	}
	look = take_look();
	if (!look) {
		COUNT(pool_exhausted);
		bpf_mptcp_pm_request_work(msk, BUSY_MS);
		return;
	}
	r = remembered(msk, BPF_SK_STORAGE_GET_F_CREATE);
	if (r) {
		look_at(msk, r, look, handle);
	} else {
		COUNT(storage_failed);
		bpf_mptcp_pm_request_work(msk, 1000);
	}
	give_back(look);
}

/* ---- the tables ---- */

#define NOTIFICATION(name) .name = (void *)pm_##name,

#define PM_POLICY(policy)                                                                               \
	extern int pm_handle_##policy(const struct pm_namespace *ns, struct pm_connection *connection,  \
				      const struct pm_event *event, const struct pm_settings *settings, \
				      struct pm_result *result);                                        \
                                                                                                        \
	SEC("struct_ops.s/work")                                                                        \
	void BPF_PROG(pm_work_##policy, struct mptcp_sock *msk) { work(msk, pm_handle_##policy); }      \
                                                                                                        \
	SEC(".struct_ops.link")                                                                         \
	struct mptcp_pm_ops pm_table_##policy = {                                                       \
		PM_NOTIFICATIONS(NOTIFICATION).accept_new_subflow = (void *)pm_accept_new_subflow,      \
		.accept_new_address = (void *)pm_accept_new_address, .work = (void *)pm_work_##policy,  \
		.name = "pathlab", /* replaced before it is loaded */                                   \
	};
#include "pm-core/policies/policies.def"

/* Beside no policy: nothing is opened, closed or announced. */
SEC(".struct_ops.link")
struct mptcp_pm_ops pm_table_guard = {
	PM_NOTIFICATIONS(NOTIFICATION).accept_new_subflow = (void *)pm_accept_new_subflow,
	.accept_new_address = (void *)pm_accept_new_address,
	.name = "guard",
};
