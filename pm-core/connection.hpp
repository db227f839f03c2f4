// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The tables of one connection: its local and remote addresses and its subflows. Finding, adding, giving up places.
// Decides nothing; see engine.hpp.
//
// Every index is masked before it is used: that costs the host one instruction and is what the BPF verifier follows.
#pragma once

#include "address.hpp"

namespace pm {

constexpr unsigned none = 0xff; // no such place

PM_INLINE constexpr u8 bit(unsigned place) { return static_cast<u8>(1u << (place & 7)); }

// ---- subflows ----

// The part of pm_subflow::word that names a subflow: its addresses and ports.
constexpr u64 subflow_name = 0xffffffffffff, subflow_pair = 0xffff; // ... and its addresses alone
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "subflow_name masks the first six bytes");

PM_INLINE u64 subflow_key(unsigned local, unsigned remote, u16 local_port, u16 remote_port)
{
	pm_subflow s{};
	s.local = static_cast<u8>(local);
	s.remote = static_cast<u8>(remote);
	s.local_port = local_port;
	s.remote_port = remote_port;
	return s.word & subflow_name;
}

// The subflow with these addresses and ports; or, if there is none, one that is being opened between these addresses,
// whose local port is not known yet.
PM_INLINE unsigned find_subflow(pm_connection &c, unsigned local, unsigned remote, u16 local_port, u16 remote_port)
{
	const u64 exact = subflow_key(local, remote, local_port, remote_port);
	PM_HIDDEN u8 &found = c.found;
	found = none;
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		const pm_subflow &s = c.subflow[i];
		if ((s.word & subflow_pair) != (exact & subflow_pair) || s.state == PM_SUBFLOW_NONE)
			continue;
		if (s.state == PM_SUBFLOW_OPENING) {
			if (found == none)
				found = static_cast<u8>(i);
		} else if ((s.word & subflow_name) == exact) {
			found = static_cast<u8>(i);
			break;
		}
	}
	return found;
}

PM_INLINE unsigned free_subflow(pm_connection &c)
{
	PM_HIDDEN u8 &found = c.found;
	found = none;
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i < c.subflows && c.subflow[i].state != PM_SUBFLOW_NONE)
			continue;
		found = static_cast<u8>(i);
		if (c.subflows <= i)
			c.subflows = static_cast<u8>(i + 1);
		break;
	}
	return found;
}

PM_INLINE void forget_subflow(pm_connection &c, unsigned place)
{
	c.subflow[place & (PM_MAX_SUBFLOWS - 1)].word = 0;
	if (place + 1u == c.subflows)
		--c.subflows;
}

// An address pair is left alone once subflows have failed on it too often in a row, or others have closed too many.
constexpr u8 failure = 1, closure = 1 << 4, failed_in_a_row = 0x0f;

PM_INLINE u8 &failures_of(pm_connection &c, unsigned local, unsigned remote)
{
	return c.failures[local & (PM_MAX_LOCALS - 1)][remote & (PM_MAX_REMOTES - 1)];
}

// Eight counts at once, one in each byte.
constexpr u64 in_each_byte = 0x0101010101010101, high_bits = 0x80 * in_each_byte;

// Bit i: whether byte i of `a` is less than byte i of `b`.
PM_INLINE constexpr u8 lesser(u64 a, u64 b)
{
	// Bit 7 of each byte: whether the lower seven bits of a's are not less. That bit lends, so no byte borrows from another.
	const u64 not_less = (a | high_bits) - (b & ~high_bits);
	const u64 flags = ((~a & b) | (~(a ^ b) & ~not_less)) & high_bits;
	return static_cast<u8>((flags >> 7) * 0x0102040810204080 >> 56); // bit 7 of byte i to bit i
}

// Bit r: whether the pair of a local address with remote address r is to be left alone. No loop, and no branch.
PM_INLINE constexpr u8 exhausted_pairs(u64 failures_row)
{
	return static_cast<u8>(~lesser(failures_row & failed_in_a_row * in_each_byte, PM_MAX_FAILURES * in_each_byte) |
			       ~lesser(failures_row, PM_MAX_CLOSURES * closure * in_each_byte));
}

PM_INLINE constexpr bool is_exhausted(u8 failures) { return exhausted_pairs(failures) & 1; }

PM_INLINE void count_failure(pm_connection &c, unsigned local, unsigned remote, u8 kind)
{
	u8 &failures = failures_of(c, local, remote);
	if (!is_exhausted(failures))
		failures = static_cast<u8>(failures + kind);
}

// Notes which places of the address tables a subflow in any state refers to, or the peer.
PM_STAGE(note_places_in_use)
{
	result.locals_in_use = c.announced;
	result.remotes_in_use = 0;
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i) {
		if (i >= c.subflows)
			break;
		if (c.subflow[i].state == PM_SUBFLOW_NONE)
			continue;
		result.locals_in_use |= bit(c.subflow[i].local);
		result.remotes_in_use |= bit(c.subflow[i].remote);
	}
}

// ---- local addresses ----

PM_INLINE unsigned find_local(pm_connection &c, const pm_addr &address)
{
	PM_HIDDEN u8 &found = c.found;
	found = none;
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
		if ((c.locals & bit(l)) && same(c.local[l], address)) {
			found = static_cast<u8>(l);
			break;
		}
	return found;
}

PM_INLINE void forgive_local(pm_connection &c, unsigned local) { c.failures_row[local & (PM_MAX_LOCALS - 1)] = 0; }

// A place for one more address: a free one, or one whose address is gone and which no subflow uses.
PM_INLINE unsigned free_place(u8 taken, u8 gone, u8 used)
{
	const u8 candidates = static_cast<u8>(~taken);
	if (candidates)
		return lowest_bit(candidates);
	const u8 reusable = static_cast<u8>(gone & ~used & ~1u); // place 0 stays the initial address
	return reusable ? lowest_bit(reusable) : none;
}

// Adds an address, as far as there is room. The places in use have been noted.
PM_INLINE unsigned add_local(pm_connection &c, const pm_addr &address, pm_result &result)
{
	PM_HIDDEN u8 &found = c.found;
	found = static_cast<u8>(free_place(c.locals, c.local_gone, result.locals_in_use));
	const unsigned l = found;
	if (l == none) {
		++result.full_locals;
		return none;
	}
	c.local[l & (PM_MAX_LOCALS - 1)] = address;
	c.local_id[l & (PM_MAX_LOCALS - 1)] = 0;
	c.locals |= bit(l);
	c.local_gone &= ~bit(l);
	c.local_listed &= ~bit(l);
	c.local_ipv4 = is_ipv4(address) ? c.local_ipv4 | bit(l) : c.local_ipv4 & ~bit(l);
	forgive_local(c, l);
	return l;
}

// Gives local address result.local its id: when it is first needed, one that no address of this connection has had (RFC 8684, 3.4.1:
// an id names one address, and the peer may still know the old one). Only after 254 of them ids come round again. Place 0
// has id 0.
PM_STAGE(give_local_id)
{
	const unsigned l = result.local & (PM_MAX_LOCALS - 1);
	if (l == 0 || c.local_id[l] != 0)
		return;
	if (c.last_local_id < 0xff) {
		c.local_id[l] = ++c.last_local_id;
		return;
	}
	// PM_MAX_LOCALS - 1 other addresses have at most as many ids: one of the first PM_MAX_LOCALS is free.
	u32 taken = 1;
	for (unsigned i = 0; i < PM_MAX_LOCALS; ++i)
		if ((c.locals & bit(i)) && c.local_id[i] < 32)
			taken |= 1u << c.local_id[i];
	c.local_id[l] = static_cast<u8>(lowest_bit(~static_cast<u64>(taken)));
}

// The kernel names the id of an address: it is right. Who else had it here gets another when he needs one.
PM_INLINE void learn_local_id(pm_connection &c, unsigned local, u8 id)
{
	const unsigned l = local & (PM_MAX_LOCALS - 1);
	if (l == 0 || id == 0 || c.local_id[l] == id)
		return;
	for (unsigned other = 1; other < PM_MAX_LOCALS; ++other)
		if (c.local_id[other] == id) {
			c.local_id[other] = 0;
			c.announced &= ~bit(other); // the kernel has forgotten it, or the id would not be free
		}
	c.local_id[l] = id;
	if (c.last_local_id < id)
		c.last_local_id = id;
}

// ---- remote addresses ----

PM_INLINE constexpr bool client_side(const pm_connection &c) { return !(c.flags & PM_CONN_SERVER_SIDE); }

// A remote address is one with the port that the peer listens on. Port 0: any.
PM_INLINE unsigned find_remote(pm_connection &c, const pm_addr &address, u16 port)
{
	PM_HIDDEN u8 &found = c.found;
	found = none;
	for (unsigned r = 0; r < PM_MAX_REMOTES; ++r)
		if ((c.remotes & bit(r)) && same(c.remote[r], address) &&
		    (port == 0 || c.remote_listen_port[r] == 0 || c.remote_listen_port[r] == port)) {
			found = static_cast<u8>(r);
			break;
		}
	return found;
}

PM_INLINE unsigned find_remote_id(pm_connection &c, u8 id)
{
	PM_HIDDEN u8 &found = c.found;
	found = none;
	for (unsigned r = 0; r < PM_MAX_REMOTES; ++r)
		if ((c.remotes & bit(r)) && !(c.remote_gone & bit(r)) && c.remote_id[r] == id) {
			found = static_cast<u8>(r);
			break;
		}
	return found;
}

PM_INLINE void forgive_remote(pm_connection &c, unsigned remote)
{
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
		c.failures[l][remote & (PM_MAX_REMOTES - 1)] = 0;
}

PM_INLINE void set_remote(pm_connection &c, unsigned remote, const pm_addr &address, u16 port, u8 id)
{
	const unsigned r = remote & (PM_MAX_REMOTES - 1);
	c.remote[r] = address;
	c.remote_listen_port[r] = port;
	c.remote_id[r] = id;
	c.remotes |= bit(r);
	c.remote_gone &= ~bit(r);
	c.remote_stale &= ~bit(r);
	c.remote_ipv4 = is_ipv4(address) ? c.remote_ipv4 | bit(r) : c.remote_ipv4 & ~bit(r);
	forgive_remote(c, r);
}

// Adds an address, as far as there is room. The places in use have been noted.
PM_INLINE unsigned add_remote(pm_connection &c, const pm_addr &address, u16 port, u8 id, pm_result &result)
{
	PM_HIDDEN u8 &found = c.found;
	found = static_cast<u8>(free_place(c.remotes, c.remote_gone, result.remotes_in_use));
	const unsigned r = found;
	if (r == none) {
		++result.full_remotes;
		return none;
	}
	c.remote_known &= ~bit(r);
	set_remote(c, r, address, port, id);
	return r;
}

} // namespace pm
