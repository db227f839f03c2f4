/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine's commands as calls of the kernel's functions, one by one. What the kernel refuses is told to the engine once
 * all are through; the next look decides anew.
 */
#ifndef PM_BPF_CARRY_OUT_H
#define PM_BPF_CARRY_OUT_H

#include "pm-bpf/read_back.h"

enum { TOLD_TOO_SOON_MS = 5 };

static __always_inline int open_subflow(struct mptcp_sock *msk, struct pm_look *look, const struct pm_command *command)
{
	to_info(&look->local, &command->local, command->local_id, command->local_port);
	to_info(&look->remote, &command->remote, command->remote_id, command->remote_port);
	return bpf_mptcp_subflow_connect(msk, &look->local, &look->remote,
					 command->flags & PM_BACKUP ? MPTCP_PM_ADDR_FLAG_BACKUP : 0, command->ifindex);
}

/* The guard's number: what is beyond it is not asked of the kernel. */
static __always_inline bool has_most_subflows(struct mptcp_sock *msk)
{
	return pm_constants.most_subflows && msk->pm.extra_subflows + 1 >= pm_constants.most_subflows;
}

/* Closes the subflow that the command names, or sets whether it is a backup. One that is gone is no failure to close. */
static __always_inline int change_subflow(struct mptcp_sock *msk, struct pm_look *look,
					  const struct pm_command *command)
{
	struct mptcp_subflow_context *subflow;
	int result = 0;

	bpf_for_each(mptcp_subflow, subflow, msk)
	{
		const struct sock *ssk = subflow->tcp_sock;

		if (ssk->__sk_common.skc_num != command->local_port ||
		    bpf_ntohs(ssk->__sk_common.skc_dport) != command->remote_port)
			continue;
		local_of(&look->address, ssk);
		if (!same_address(&look->address, &command->local))
			continue;
		remote_of(&look->address, ssk);
		if (!same_address(&look->address, &command->remote))
			continue;
		if (command->type == PM_CLOSE_SUBFLOW)
			result = bpf_mptcp_subflow_close(msk, subflow);
		else
			result = bpf_mptcp_subflow_set_backup(msk, subflow, command->flags & PM_BACKUP);
		break;
	}
	return result;
}

static __always_inline int announce(struct mptcp_sock *msk, struct pm_look *look, const struct pm_command *command)
{
	to_info(&look->local, &command->local, command->local_id, command->local_port);
	return bpf_mptcp_pm_announce(msk, &look->local);
}

static __always_inline int carry_out_one(struct mptcp_sock *msk, struct pm_look *look, const struct pm_command *command)
{
	switch (command->type) {
	case PM_OPEN_SUBFLOW: return open_subflow(msk, look, command);
	case PM_CLOSE_SUBFLOW:
	case PM_SET_BACKUP: return change_subflow(msk, look, command);
	case PM_ANNOUNCE: return announce(msk, look, command);
	case PM_WITHDRAW: return bpf_mptcp_pm_withdraw(msk, command->local_id);
	}
	return 0;
}

/*
 * Announcing has to wait until what was announced before is sent: not refused, only not told yet. The engine took it for
 * done; as it is not, the next look finds the same difference.
 */
static __always_inline void not_told_yet(struct pm_remembered *r, const struct pm_command *command)
{
	int l;

	for (l = 0; l < PM_MAX_LOCALS; l++)
		if (r->connection.local_id[l] == command->local_id)
			r->connection.announced ^= 1 << l;
}

static __always_inline int tell_refused(struct pm_remembered *r, struct pm_look *look, const struct pm_command *command,
					int error)
{
	struct pm_event *event = begin_event(look, PM_COMMAND_FAILED);

	event->command = command->type;
	event->error = error;
	event->local_id = command->local_id;
	event->remote_id = command->remote_id;
	event->local_port = command->local_port;
	event->remote_port = command->remote_port;
	event->local = command->local;
	event->remote = command->remote;
	event->has_local = event->has_remote = 1;
	return pm_fold_event(r, look);
}

static __always_inline void count_command(const struct pm_command *command, int error)
{
	struct pm_counters *counted = counters();

	if (!counted)
		return;
	if (command->type <= PM_CLOSE_SUBFLOW)
		__sync_fetch_and_add(&counted->commands[command->type], 1);
	if (error < 0) {
		pm_u32 code = -error;

		__sync_fetch_and_add(&counted->errors[code < PM_COUNTED_ERRNOS ? code : 0], 1);
	}
}

/*
 * The command in place `place` of look->result. Global: the verifier walks through it once, not once for each command, and
 * wants to see that pointers are asked for.
 */
__noinline int pm_carry_out_at(struct mptcp_sock *msk __arg_trusted, struct pm_remembered *r, struct pm_look *look,
			       pm_u32 place)
{
	struct pm_command *command;
	int error;

	if (!r || !look)
		return 0;
	command = &look->result.command[place & (PM_MAX_COMMANDS - 1)];
	if (command->type == PM_OPEN_SUBFLOW && has_most_subflows(msk)) {
		COUNT(refused[PM_REFUSED_OWN]);
		look->beyond++;
		look->refused = 1;
		return tell_refused(r, look, command, EDQUOT);
	}
	error = carry_out_one(msk, look, command);
	if (error == -EAGAIN && command->type == PM_ANNOUNCE) {
		not_told_yet(r, command);
		look->again_ms = TOLD_TOO_SOON_MS;
		return 0;
	}
	count_command(command, error);
	if (error >= 0)
		return 0;
	if (command->type == PM_OPEN_SUBFLOW)
		look->unopened = 1;
	else
		look->refused = 1;
	return tell_refused(r, look, command, -error);
}

/* What fails is folded in, but nothing decided on it before the next look: that would write over what is still to be done. */
static __always_inline void carry_out(struct mptcp_sock *msk, struct pm_remembered *r, struct pm_look *look)
{
	pm_u32 i;

	look->unopened = look->refused = look->beyond = 0;
	for (i = 0; i < PM_MAX_COMMANDS; i++) {
		if (i >= look->commands)
			break;
		pm_carry_out_at(msk, r, look, i);
	}
}

#endif
