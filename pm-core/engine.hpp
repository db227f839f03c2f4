// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The engine: folds an event into the state of its connection, asks the policy what the connection should have, and
// writes down the difference as commands. Level-triggered: what an event says only matters through the state that it
// leaves behind, so a lost or repeated one is repaired by whatever tells the true state later.
//
//   handle<fullmesh>(ns, connection, event, settings, result)
//
// No clock, no allocation, no I/O; all loops are bounded. The verifier walks through all of this: scratch lives in
// `result`, not on the stack, and loops do not nest.
#pragma once

#include "fold.hpp"
#include "policy.hpp"

namespace pm {

// ---- state and plan into commands ----

// Emits the command `result.kind` about the subflow in place `result.place`. There is room: at most one is about each place.
PM_STAGE(emit_command)
{
	const pm_subflow &s = c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)];
	const unsigned l = s.local & (PM_MAX_LOCALS - 1), r = s.remote & (PM_MAX_REMOTES - 1);
	pm_command &command = result.command[result.commands++ & (PM_MAX_COMMANDS - 1)];
	command.token = c.token;
	command.type = result.kind;
	if (result.kind == PM_CLOSE_SUBFLOW) // the only one by which the kernel looks for a socket
		command.flags = (c.local_ipv4 & bit(l)) && !(s.flags & PM_SUBFLOW_IPV4_SOCKET) ? PM_MAPPED : 0;
	else
		command.flags = s.flags & PM_SUBFLOW_ASKED_BACKUP ? PM_BACKUP : 0;
	command.local_id = c.local_id[l];
	command.remote_id = c.remote_id[r];
	command.local_port = s.local_port;
	command.remote_port = s.remote_port;
	command.ifindex = view(ns, c).ifindex(l);
	command.local = c.local[l];
	command.remote = c.remote[r];
}
PM_INLINE void emit(const pm_namespace &ns, pm_connection &c, const pm_event &event, unsigned place,
		    pm_command_type type, pm_result &result)
{
	result.place = static_cast<u8>(place);
	result.kind = static_cast<u8>(type);
	emit_command(ns, c, event, result);
}

// Emits a command about a local address and the peer. There is room: at most one is about each place.
PM_INLINE void emit_address(const pm_connection &c, unsigned local, pm_command_type type, u16 port, pm_result &result)
{
	const unsigned l = local & (PM_MAX_LOCALS - 1);
	pm_command &command = result.command[result.commands++ & (PM_MAX_COMMANDS - 1)];
	zero(command);
	command.token = c.token;
	command.type = static_cast<u8>(type);
	command.local_id = c.local_id[l];
	command.local_port = port;
	command.local = c.local[l];
}

// Whether this side wants a subflow as a backup.
PM_INLINE bool is_backup(const pm_plan &plan, const pm_subflow &s) { return plan.backup & bit(s.local); }

// Whether a subflow stands on an address that is gone.
PM_INLINE unsigned is_orphan(const pm_connection &c, const pm_subflow &s)
{
	return (c.local_gone >> (s.local & 7) | c.remote_gone >> (s.remote & 7)) & 1;
}

// Counts what there is for each pair, but for what stands on an address that is gone.
PM_STAGE(count_subflows)
{
	zero(result.have);
	PM_HIDDEN u8 &orphans = result.orphans, &standing = result.standing, &left = result.left;
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		const pm_subflow &s = c.subflow[i];
		if (s.state == PM_SUBFLOW_NONE || s.state == PM_SUBFLOW_CLOSING)
			continue;
		const bool established = s.state == PM_SUBFLOW_ESTABLISHED;
		if (established && is_orphan(c, s)) {
			orphans = 1;
			left = static_cast<u8>(left | (c.local_gone & bit(s.local & 7)));
			continue;
		}
		// One that is being opened has no name yet: on an address that is gone it is closed when it is there.
		standing = static_cast<u8>(standing + established);
		++result.have.subflows[s.local & (PM_MAX_LOCALS - 1)][s.remote & (PM_MAX_REMOTES - 1)];
		result.priority |= is_backup(result.plan, s) != !!(s.flags & PM_SUBFLOW_ASKED_BACKUP);
	}
}

// Decides whether what stands on addresses that are gone is kept, and of which of these the peer is to be told.
//
// It is kept where nothing else is established: the address may come back, or another one come, which closing the last subflow
// would not live to see. And then until PM_RETRY, if the peer is to be told: the kernel sends RM_ADDR by a subflow whose
// handshake is over, which nothing tells of, and by the dead one while there is no such.
//
// What was announced is withdrawn anyway. What is known by its subflows alone a client withdraws: it can join from there again,
// where a server that has not announced it cannot.
PM_STAGE(keep)
{
	result.left = client_side(c) ? result.left & ~c.announced : 0;
	if (result.orphans && !result.standing)
		result.kept = PM_KEPT_LAST;
	else if (result.left && (c.flags & PM_CONN_KEPT))
		result.kept = PM_KEPT_UNTIL_RETRY;
	c.flags = static_cast<u8>((c.flags & ~PM_CONN_KEPT) | (result.kept ? PM_CONN_KEPT : 0));
}

// Closes what stands on an address that is gone.
PM_STAGE(close_orphans)
{
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		pm_subflow &s = c.subflow[i];
		if (s.state != PM_SUBFLOW_ESTABLISHED || !is_orphan(c, s))
			continue;
		emit(ns, c, event, i, PM_CLOSE_SUBFLOW, result);
		s.state = PM_SUBFLOW_CLOSING;
	}
}

// Compares the plan with what is there: which address pairs lack subflows, and whether any has too many.
PM_STAGE(compare)
{
	if (!result.ours)
		return;
	if (result.plan.subflows[0][0] == 0 && result.have.subflows[0][0] != 0)
		result.plan.subflows[0][0] = 1; // the initial subflow stays
	const view v(ns, c);
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l) {
		const u64 want = result.plan.row[l], have = result.have.row[l];
		if (want == have)
			continue;
		result.surplus |= lesser(want, have);
		const u8 lacking = lesser(have, want) & v.partners(l), exhausted = exhausted_pairs(c.failures_row[l]);
		if (lacking & exhausted) // rarely, and without an instruction for it counting is slow
			result.exhausted = static_cast<u8>(result.exhausted + __builtin_popcount(lacking & exhausted));
		result.missing |= static_cast<u64>(lacking & ~exhausted) << (l * PM_MAX_REMOTES);
	}
}

// Closes subflows that a pair has beyond its plan, the youngest places first. Never the initial one, nor the last that there
// is: what is planned instead may not come up.
PM_STAGE(close_surplus)
{
	for (unsigned i = PM_MAX_SUBFLOWS; i-- > 0;) {
		if (i >= c.subflows)
			continue;
		pm_subflow &s = c.subflow[i];
		if (s.state != PM_SUBFLOW_ESTABLISHED || (s.flags & PM_SUBFLOW_INITIAL))
			continue;
		u8 &have = result.have.subflows[s.local & (PM_MAX_LOCALS - 1)][s.remote & (PM_MAX_REMOTES - 1)];
		if (have <= result.plan.subflows[s.local & (PM_MAX_LOCALS - 1)][s.remote & (PM_MAX_REMOTES - 1)])
			continue;
		if (is_orphan(c, s))
			continue;
		if (result.standing < 2) {
			result.kept |= PM_KEPT_LAST;
			continue;
		}
		--result.standing;
		--have;
		emit(ns, c, event, i, PM_CLOSE_SUBFLOW, result);
		s.state = PM_SUBFLOW_CLOSING;
	}
}

// Opens a subflow on the first pair that lacks one, in the place for it that was found.
PM_STAGE(open_next)
{
	const unsigned pair = lowest_bit(result.missing);
	const unsigned l = pair / PM_MAX_REMOTES & (PM_MAX_LOCALS - 1), r = pair & (PM_MAX_REMOTES - 1);
	if (c.local_id[l] == 0) {
		result.local = static_cast<u8>(l);
		give_local_id(ns, c, event, result);
	}
	pm_subflow opening{};
	opening.state = PM_SUBFLOW_OPENING;
	opening.local = static_cast<u8>(l);
	opening.remote = static_cast<u8>(r);
	opening.flags = is_backup(result.plan, opening) ? PM_SUBFLOW_ASKED_BACKUP : 0;
	opening.remote_port = c.remote_listen_port[r] ? c.remote_listen_port[r] : c.remote_port;
	c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)] = opening;
	emit(ns, c, event, result.place, PM_OPEN_SUBFLOW, result);
	if (c.subflows <= result.place)
		c.subflows = static_cast<u8>(result.place + 1);
	if (++result.have.subflows[l][r] >= result.plan.subflows[l][r])
		result.missing &= result.missing - 1;
}

// Opens what is missing. One walk over the places for subflows, not one for each pair: nested loops are what the verifier
// cannot bear.
PM_STAGE(open_missing)
{
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (!result.missing)
			return;
		if (i < c.subflows && c.subflow[i].state != PM_SUBFLOW_NONE)
			continue;
		result.place = static_cast<u8>(i);
		open_next(ns, c, event, result);
	}
	if (result.missing)
		++result.full_subflows;
}

PM_STAGE(change_priority)
{
	c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)].flags ^= PM_SUBFLOW_ASKED_BACKUP;
	emit(ns, c, event, result.place, PM_SET_BACKUP, result);
}

// Asks for the priority that the plan gives each subflow that is there. One that is being opened has no name yet.
PM_STAGE(set_priorities)
{
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		const pm_subflow &s = c.subflow[i];
		if (s.state != PM_SUBFLOW_ESTABLISHED ||
		    is_backup(result.plan, s) == !!(s.flags & PM_SUBFLOW_ASKED_BACKUP))
			continue;
		result.place = static_cast<u8>(i);
		change_priority(ns, c, event, result);
	}
}

// Tells the peer of the local addresses that the plan wants it to know, and takes back the others, also what is gone and was
// known by subflows alone: from there no FIN can be sent. Not yet what the only subflow may stand on, which the peer would close.
PM_STAGE(announce)
{
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l) {
		const u8 place = bit(l);
		if (result.plan.announce & c.announce_refused & place) {
			++result.exhausted;
		} else if (result.plan.announce & ~c.announced & place) {
			result.local = static_cast<u8>(l);
			give_local_id(ns, c, event, result);
			emit_address(c, l, PM_ANNOUNCE, result.plan.announce_port, result);
			c.announced |= place;
		} else if (!result.kept && (((c.announced & ~result.plan.announce) | result.left) & place)) {
			if (c.local_id[l] || l == 0) // otherwise one whose id was never heard
				emit_address(c, l, PM_WITHDRAW, 0, result);
			c.announced &= ~place;
		}
	}
}

// Asks the policy what the connection should have, and writes the difference from what it has down as commands.
template <policy P>
PM_INLINE void decide(const pm_namespace &ns, pm_connection &c, const pm_event &event, const pm_settings &settings,
		      pm_result &result)
{
	zero(result.plan);
	// From the server's side the peer's subflows are the peer's affair.
	result.ours = client_side(c) || P::opens_from_server;
	P::plan(view(ns, c), settings, result.plan);
	count_subflows(ns, c, event, result);
	keep(ns, c, event, result);
	// First: with a subflow of an address the kernel forgets the address, and can withdraw it no more.
	if (result.plan.announce != c.announced || result.left)
		announce(ns, c, event, result);
	if (result.orphans && !result.kept)
		close_orphans(ns, c, event, result);
	compare(ns, c, event, result);
	if (result.surplus)
		close_surplus(ns, c, event, result);
	if (result.missing)
		open_missing(ns, c, event, result);
	if (result.priority)
		set_priorities(ns, c, event, result);
}

// Handles one event of a connection that is in the table: CREATED and ESTABLISHED of a new one come with all zeroes.
template <policy P>
PM_INLINE void handle(const pm_namespace &ns, pm_connection &c, const pm_event &event, const pm_settings &settings,
		      pm_result &result)
{
	begin(event, result);
	c.token = event.token;
	const bool changed = apply(ns, c, event, result);
	if (!changed || !(c.flags & PM_CONN_ESTABLISHED) || (c.flags & (PM_CONN_RESYNCING | PM_CONN_HELD)))
		return;
	if (c.generation != ns.generation)
		take_locals(ns, c, event, result);
	result.status = PM_DECIDED;
	decide<P>(ns, c, event, settings, result);
}

} // namespace pm
