// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Events into state: folds an event into its connection. What an event says only matters through the state that it leaves
// behind. Decides nothing; see engine.hpp. Local address events are in locals.hpp.
#pragma once

#include "locals.hpp"

namespace pm {

// The port that the remote address of a subflow listens on; 0, any, for what the server sees: a port that the peer chose.
PM_INLINE u16 listen_port(const pm_connection &c, const pm_event &event)
{
	return client_side(c) ? event.remote_port : 0;
}

// The places of the event's addresses.
PM_STAGE(locate_addresses)
{
	result.local = static_cast<u8>(find_local(c, event.local));
	result.remote = static_cast<u8>(find_remote(c, event.remote, listen_port(c, event)));
}

// The place of the event's subflow, between the addresses that have been located.
PM_STAGE(locate_subflow)
{
	locate_addresses(ns, c, event, result);
	result.place = none;
	if (result.local != none && result.remote != none)
		result.place = static_cast<u8>(
			find_subflow(c, result.local, result.remote, event.local_port, event.remote_port));
}

// Places for the addresses of a subflow that nobody here asked for.
PM_STAGE(add_addresses)
{
	note_places_in_use(ns, c, event, result);
	if (result.local == none)
		result.local = static_cast<u8>(add_local(c, event.local, result));
	if (result.remote == none) {
		result.remote = static_cast<u8>(
			add_remote(c, event.remote, listen_port(c, event), event.remote_id, result));
		// We got there, so it may be gone to again, although its announcement was never heard.
		if (result.remote != none && client_side(c))
			c.remote_known |= bit(result.remote);
	} else if (!client_side(c) && (c.remote_gone & bit(result.remote))) {
		// The peer has come back from an address that it had removed: clients join, they need not announce.
		set_remote(c, result.remote, event.remote, 0, event.remote_id);
	}
}

PM_INLINE void subflow_established(const pm_namespace &ns, pm_connection &c, const pm_event &event, pm_result &result)
{
	locate_subflow(ns, c, event, result);
	if (result.place == none) {
		add_addresses(ns, c, event, result);
		locate_subflow(ns, c, event, result);
	}
	const unsigned l = result.local, r = result.remote;
	if (l == none || r == none)
		return;
	learn_local_id(c, l, event.local_id);
	c.remote_stale &= ~bit(r);
	unsigned place = result.place;
	if (place == none) {
		place = free_subflow(c);
		if (place == none) {
			++result.full_subflows;
			return;
		}
		c.subflow[place & (PM_MAX_SUBFLOWS - 1)].word = 0;
	}
	const bool initial = l == 0 && r == 0 && event.local_port == c.local_port && event.remote_port == c.remote_port;
	if (!initial)
		c.flags |= PM_CONN_ESTABLISHED; // nobody joins before that, so its event was lost
	pm_subflow &s = c.subflow[place & (PM_MAX_SUBFLOWS - 1)];
	if (s.state == PM_SUBFLOW_OPENING)
		failures_of(c, l, r) &= static_cast<u8>(~failed_in_a_row);
	if (s.state != PM_SUBFLOW_CLOSING || (c.flags & PM_CONN_RESYNCING))
		s.state = PM_SUBFLOW_ESTABLISHED;
	const u8 asked = c.flags & PM_CONN_RESYNCING ? (event.flags & PM_ASKED_BACKUP ? PM_SUBFLOW_ASKED_BACKUP : 0)
						     : (s.flags & PM_SUBFLOW_ASKED_BACKUP);
	s.flags = static_cast<u8>((initial ? PM_SUBFLOW_INITIAL : 0) |
				  (event.flags & PM_BACKUP ? PM_SUBFLOW_BACKUP : 0) |
				  (event.flags & PM_IPV4_SOCKET ? PM_SUBFLOW_IPV4_SOCKET : 0) | asked);
	s.local = static_cast<u8>(l);
	s.remote = static_cast<u8>(r);
	s.local_port = event.local_port;
	s.remote_port = event.remote_port;
}

// Counts the end of a subflow against its address pair, unless this side closed it.
PM_INLINE void count_end(pm_connection &c, const pm_subflow &s)
{
	if (s.state != PM_SUBFLOW_CLOSING)
		count_failure(c, s.local, s.remote, s.state == PM_SUBFLOW_OPENING ? failure : closure);
}

PM_INLINE void subflow_closed(pm_connection &c, const pm_result &result)
{
	if (result.place == none)
		return;
	count_end(c, c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)]);
	forget_subflow(c, result.place);
}

// An unconfirmed subflow between the event's addresses that is being opened.
PM_STAGE(locate_opening)
{
	result.place = none;
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		const pm_subflow &s = c.subflow[i];
		if (s.state == PM_SUBFLOW_OPENING && (s.flags & PM_SUBFLOW_STALE) && s.local == result.local &&
		    s.remote == result.remote) {
			result.place = static_cast<u8>(i);
			break;
		}
	}
}

// A resync lists a subflow that is being opened. Its local port, which the kernel knows, is learnt when it is there.
PM_STAGE(subflow_opening)
{
	locate_addresses(ns, c, event, result);
	if (result.local == none || result.remote == none)
		add_addresses(ns, c, event, result);
	if (result.local == none || result.remote == none)
		return;
	learn_local_id(c, result.local, event.local_id);
	locate_opening(ns, c, event, result);
	if (result.place == none)
		result.place = static_cast<u8>(free_subflow(c));
	if (result.place == none) {
		++result.full_subflows;
		return;
	}
	pm_subflow &s = c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)];
	s.word = 0;
	s.state = PM_SUBFLOW_OPENING;
	s.local = result.local;
	s.remote = result.remote;
	s.remote_port = event.remote_port;
	s.flags = event.flags & PM_ASKED_BACKUP ? PM_SUBFLOW_ASKED_BACKUP : 0;
}

// What a refused command was to change is as it was before. A refusal to change a priority is left alone: the next resync
// reads the true one back.
PM_STAGE(command_failed)
{
	constexpr u8 invalid = 22; // EINVAL
	locate_subflow(ns, c, event, result);
	const unsigned l = result.local;
	// The kernel may know this address by an id that a path manager before us gave it: one of the first, so try those.
	if (l != none && l != 0 && event.error == invalid &&
	    (event.command == PM_ANNOUNCE || event.command == PM_OPEN_SUBFLOW))
		c.local_id[l & (PM_MAX_LOCALS - 1)] = static_cast<u8>(event.local_id % (2 * PM_MAX_LOCALS) + 1);
	if (event.command == PM_ANNOUNCE) {
		if (l != none) {
			c.announce_refused |= c.announced & bit(l);
			c.announced &= ~bit(l);
		}
		return;
	}
	if (result.place == none)
		return;
	const u8 state = c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)].state;
	if (event.command == PM_OPEN_SUBFLOW && state == PM_SUBFLOW_OPENING)
		count_failure(c, result.local, result.remote, failure);
	else if (event.command != PM_CLOSE_SUBFLOW || state != PM_SUBFLOW_CLOSING)
		return;
	forget_subflow(c, result.place); // also one that could not be closed: there is none
}

PM_STAGE(retry)
{
	zero(c.failures_row);
	c.announce_refused = 0;
	c.flags &= static_cast<u8>(~(PM_CONN_HELD | PM_CONN_KEPT));
}

PM_INLINE void subflow_priority(pm_connection &c, const pm_event &event, const pm_result &result)
{
	if (result.place == none)
		return;
	pm_subflow &s = c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)];
	s.flags = event.flags & PM_BACKUP ? s.flags | PM_SUBFLOW_BACKUP : s.flags & ~PM_SUBFLOW_BACKUP;
}

// CREATED and ESTABLISHED both describe the initial subflow, so one makes up for the loss of the other.
PM_STAGE(connection_described)
{
	const bool first = c.locals == 0 || c.local_port != event.local_port || c.remote_port != event.remote_port ||
			   !same(c.local[0], event.local) || !same(c.remote[0], event.remote);
	const u8 side = event.flags & PM_SERVER_SIDE ? PM_CONN_SERVER_SIDE : 0;
	if (first) { // also when the token was used before, and its CLOSED was lost
		const u8 kept = c.flags & PM_CONN_RESYNCING;
		zero(c);
		c.flags = static_cast<u8>(side | kept | (event.flags & PM_IPV4_SOCKET ? PM_CONN_IPV4_SOCKET : 0));
		c.token = event.token;
		c.local_port = event.local_port;
		c.remote_port = event.remote_port;
		c.local[0] = event.local;
		c.locals = 1;
		c.local_ipv4 = is_ipv4(event.local);
		c.generation = ns.generation - 1;
		set_remote(c, 0, event.remote, side ? 0 : event.remote_port, 0);
		c.remote_known = 1;
	}
	if (event.flags & PM_DENY_JOIN_ID0)
		c.flags |= PM_CONN_DENY_JOIN_ID0;
	if (event.type == PM_ESTABLISHED)
		c.flags |= PM_CONN_ESTABLISHED;
	// A description repeats while the connection lives; a resync lists the initial subflow by itself if it still exists.
	if (first && !(c.flags & PM_CONN_RESYNCING))
		subflow_established(ns, c, event, result);
}

PM_STAGE(address_announced)
{
	const u16 port = event.remote_port ? event.remote_port : c.remote_port;
	unsigned r = find_remote(c, event.remote, port);
	if (r == none) {
		const unsigned holder = find_remote_id(c, event.remote_id);
		note_places_in_use(ns, c, event, result);
		if (holder == none) {
			r = add_remote(c, event.remote, port, event.remote_id, result);
		} else if (holder != 0 && !(result.remotes_in_use & bit(holder))) {
			r = holder; // the id moved on, and nothing depends on where it was
			set_remote(c, r, event.remote, port, event.remote_id);
		}
		// An id that names the address of a living subflow does not change its meaning.
		if (r == none)
			return;
	} else {
		if (c.remote_gone & bit(r))
			forgive_remote(c, r);
		c.remote_gone &= ~bit(r);
		c.remote_stale &= ~bit(r);
		if (r != 0 && find_remote_id(c, event.remote_id) == none)
			c.remote_id[r & (PM_MAX_REMOTES - 1)] = event.remote_id;
		if (c.remote_listen_port[r & (PM_MAX_REMOTES - 1)] == 0 && r != 0)
			c.remote_listen_port[r & (PM_MAX_REMOTES - 1)] = port;
	}
	c.remote_known |= bit(r);
}

PM_STAGE(address_removed)
{
	const unsigned r = find_remote_id(c, event.remote_id);
	if (r == none)
		return;
	c.remote_gone |= bit(r);
	c.remote_stale &= ~bit(r);
}

PM_STAGE(resync_begin)
{
	c.flags |= PM_CONN_RESYNCING;
	// The initial address is never listed as announced; whether it was removed is said explicitly.
	c.remote_stale = static_cast<u8>(c.remotes & ~1u);
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		c.subflow[i].flags |= PM_SUBFLOW_STALE;
	}
}

// Nobody has heard of the end of subflow result.place.
PM_STAGE(drop_unconfirmed)
{
	pm_subflow &s = c.subflow[result.place & (PM_MAX_SUBFLOWS - 1)];
	count_end(c, s);
	s.word = 0;
}

PM_STAGE(resync_end)
{
	c.flags &= static_cast<u8>(~PM_CONN_RESYNCING);
	if (c.locals) // it was described: it exists, and nothing is read back before it is established
		c.flags |= PM_CONN_ESTABLISHED;
	// The kernel cannot list what a peer has announced. Unless somebody could, not being listed means nothing.
	if (event.flags & PM_LISTED_ALL)
		c.remote_gone |= c.remote_stale;
	c.remote_stale = 0;
	PM_HIDDEN u8 &left = c.found;
	left = 0;
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		const pm_subflow &s = c.subflow[i];
		if (s.state == PM_SUBFLOW_NONE)
			continue;
		if (s.flags & PM_SUBFLOW_STALE) {
			result.place = static_cast<u8>(i);
			drop_unconfirmed(ns, c, event, result);
		} else {
			left = static_cast<u8>(i + 1);
		}
	}
	c.subflows = left;
}

// Folds an event into its connection. Yields whether the plan may have changed.
PM_INLINE bool apply(const pm_namespace &ns, pm_connection &c, const pm_event &event, pm_result &result)
{
	switch (event.type) {
	case PM_CREATED:
	case PM_ESTABLISHED: connection_described(ns, c, event, result); return true;
	case PM_ANNOUNCED: address_announced(ns, c, event, result); return true;
	case PM_REMOVED: address_removed(ns, c, event, result); return true;
	case PM_SUB_ESTABLISHED: subflow_established(ns, c, event, result); return true;
	case PM_SUB_CLOSED:
		locate_subflow(ns, c, event, result);
		subflow_closed(c, result);
		return true;
	case PM_SUB_PRIORITY:
		locate_subflow(ns, c, event, result);
		subflow_priority(c, event, result);
		return false;
	case PM_LOCAL_ADDED:
	case PM_LOCAL_REMOVED: return true;
	case PM_RESYNC_BEGIN: resync_begin(ns, c, event, result); return false;
	case PM_RESYNC_END: resync_end(ns, c, event, result); return true;
	case PM_COMMAND_FAILED: command_failed(ns, c, event, result); return true;
	case PM_SUB_OPENING: subflow_opening(ns, c, event, result); return true;
	case PM_RETRY: retry(ns, c, event, result); return true;
	default: return false;
	}
}

} // namespace pm
