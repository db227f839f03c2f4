// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Local addresses: events about them into the namespace, and the namespace's into the tables of a connection. Decides
// nothing; see engine.hpp.
#pragma once

#include "connection.hpp"

namespace pm {

// The head of the result, as it is before anything is done. What lies behind it is written before it is read.
PM_INLINE void begin(const pm_event &event, pm_result &result)
{
	__builtin_memset(__builtin_assume_aligned(&result, 8), 0, __builtin_offsetof(pm_result, plan));
	result.seq = event.seq;
	result.token = event.token;
	result.status = PM_FOLDED;
}

// The place of an address, whether it is present or was.
PM_INLINE unsigned find_listed(pm_namespace &ns, const pm_addr &address)
{
	PM_HIDDEN u8 &found = ns.found;
	found = none;
	for (unsigned i = 0; i < PM_MAX_LOCALS; ++i)
		if (same(ns.local[i], address)) {
			found = static_cast<u8>(i);
			break;
		}
	return found;
}

PM_INLINE void list_local(pm_namespace &ns, const pm_event &event, pm_result &result)
{
	unsigned place = find_listed(ns, event.local);
	// Otherwise one that was never used, so that what is gone is remembered for as long as there is room.
	if (place == none)
		place = find_listed(ns, pm_addr{});
	if (place == none) {
		if (ns.present == 0xff) {
			++result.full_locals;
			return;
		}
		PM_HIDDEN u8 &found = ns.found;
		found = static_cast<u8>(lowest_bit(static_cast<u8>(~ns.present)));
		place = found;
	}
	if (!(ns.present & bit(place))) {
		ns.local[place & (PM_MAX_LOCALS - 1)] = event.local;
		ns.present |= bit(place);
		++ns.generation;
	}
	if (ns.ifindex[place & (PM_MAX_LOCALS - 1)] != event.ifindex) {
		ns.ifindex[place & (PM_MAX_LOCALS - 1)] = event.ifindex;
		++ns.generation;
	}
}

PM_INLINE void unlist_local(pm_namespace &ns, const pm_event &event)
{
	const unsigned place = find_listed(ns, event.local);
	if (place == none || !(ns.present & bit(place)))
		return;
	const u32 ifindex = ns.ifindex[place & (PM_MAX_LOCALS - 1)];
	if (event.ifindex && ifindex && event.ifindex != ifindex)
		return; // it has moved to another interface
	ns.present &= ~bit(place);
	++ns.generation;
}

// Folds a local address event into the namespace.
PM_INLINE void fold_namespace(pm_namespace &ns, const pm_event &event, pm_result &result)
{
	const u32 generation = ns.generation;
	begin(event, result);
	if (event.type == PM_LOCAL_ADDED)
		list_local(ns, event, result);
	else
		unlist_local(ns, event);
	if (ns.generation != generation)
		result.status = PM_LOCALS_CHANGED;
}

// The connection's place of the namespace's address result.place.
PM_STAGE(locate_listed) { result.local = static_cast<u8>(find_local(c, ns.local[result.place & (PM_MAX_LOCALS - 1)])); }

// Takes the namespace's address result.place over.
PM_STAGE(take_local)
{
	const unsigned from = result.place & (PM_MAX_LOCALS - 1);
	locate_listed(ns, c, event, result);
	if (result.local == none) {
		note_places_in_use(ns, c, event, result);
		result.local = static_cast<u8>(add_local(c, ns.local[from], result));
	}
	const unsigned l = result.local;
	if (l == none)
		return;
	if (c.local_gone & bit(l))
		forgive_local(c, l); // it is back: what failed before says nothing
	c.local_gone &= ~bit(l);
	c.local_listed |= bit(l);
	c.local_from[l & (PM_MAX_LOCALS - 1)] = static_cast<u8>(from);
}

// Takes the namespace's addresses over into the connection's table. An address that was listed and is not any more is
// gone. One that never was (loopback, say, or one too many) is none of the policy's business, but exists.
PM_STAGE(take_locals)
{
	u8 listed = 0, was_listed = c.local_listed;
	for (unsigned i = 0; i < PM_MAX_LOCALS; ++i) {
		result.place = static_cast<u8>(i);
		locate_listed(ns, c, event, result);
		if (result.local == none)
			continue;
		if (ns.present & bit(i))
			listed |= bit(result.local);
		else
			was_listed |= bit(result.local);
	}
	// First what is gone: its places may be needed by what is new.
	c.local_gone |= was_listed & ~listed;
	c.local_listed &= listed;
	for (unsigned i = 0; i < PM_MAX_LOCALS; ++i) {
		if (!(ns.present & bit(i)))
			continue;
		result.place = static_cast<u8>(i);
		take_local(ns, c, event, result);
	}
	c.generation = ns.generation;
}

} // namespace pm
