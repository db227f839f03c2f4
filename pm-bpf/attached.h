/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * What an attached policy and the commands of pathlab share through BPF maps: limits, counters, and the description of the
 * attachment that is pinned beside them. Plain structs for C, C++ and BPF, as those of pm-core/types.h.
 */
#ifndef PM_BPF_ATTACHED_H
#define PM_BPF_ATTACHED_H

#include "pm-core/types.h"

enum {
	PM_ATTACHED_VERSION = 2,
	PM_NAME_SIZE = 16, /* of a path manager's name in the kernel, its final 0 included */
	PM_MAX_FILTER = 16, /* interfaces, and prefixes, that local addresses may be confined to */
	PM_MAX_ALLOWED = 1024, /* prefixes of the guard */
	PM_POOL = 64, /* connections that may be looked at at the same time */
	PM_MAX_REMOVED = 4, /* local addresses whose removal a connection remembers until it is looked at */
	PM_COUNTED_ERRNOS = 134,
};

/* The kernel's callbacks that tell of an event, in the order of struct mptcp_pm_ops. */
#define PM_NOTIFICATIONS(ENTRY)                                                                                \
	ENTRY(created)                                                                                         \
	ENTRY(established)                                                                                     \
	ENTRY(closed)                                                                                          \
	ENTRY(add_addr_received) ENTRY(rm_addr_received) ENTRY(subflow_established) ENTRY(subflow_closed)      \
		ENTRY(priority_changed) ENTRY(listener_created) ENTRY(listener_closed) ENTRY(local_addr_added) \
			ENTRY(local_addr_removed)

enum pm_notification {
#define PM_ENTRY(name) PM_NOTIFIED_##name,
	PM_NOTIFICATIONS(PM_ENTRY)
#undef PM_ENTRY
		PM_NOTIFICATION_COUNT,
};

/* What the guard refused. */
enum pm_refusal {
	PM_REFUSED_JOIN_ADDRESS, /* a join from an address outside the prefixes */
	PM_REFUSED_JOIN_NUMBER, /* a join beyond the number of subflows */
	PM_REFUSED_ANNOUNCEMENT, /* an announced address outside the prefixes */
	PM_REFUSED_OWN, /* a subflow of the policy's own beyond their number */
	PM_REFUSAL_COUNT,
};

/* In a per-cpu array: added up by who reads them. */
struct pm_counters {
	pm_u64 notified[PM_NOTIFICATION_COUNT];
	pm_u64 works; /* connections read back and compared */
	pm_u64 works_skipped; /* ... that were closed, or not there yet */
	pm_u64 pool_exhausted; /* ... put off, because too many were being looked at */
	pm_u64 storage_failed; /* ... put off for want of memory */
	pm_u64 retries; /* looked at again after failures */
	pm_u64 holds; /* held for causing too many commands */
	pm_u64 commands[PM_CLOSE_SUBFLOW + 1]; /* by enum pm_command_type, refused ones included */
	pm_u64 errors[PM_COUNTED_ERRNOS]; /* commands that the kernel refused, by errno; place 0: any other */
	pm_u64 full_locals, full_remotes, full_subflows; /* what did not fit into a connection's tables */
	pm_u64 exhausted; /* address pairs left alone after failures, each time they were looked at */
	pm_u64 removals_lost; /* addresses of either side whose removal could not be remembered */
	pm_u64 refused[PM_REFUSAL_COUNT]; /* by the guard */
};

/* Which connections a policy does anything for; found out by asking it (interest.hpp). */
enum pm_interest {
	PM_CARES_ALONE = 1 << 0, /* each side has the one address that the connection was opened with */
	PM_CARES_LOCALS = 1 << 1, /* this side has further addresses */
	PM_CARES_REMOTES = 1 << 2, /* the peer has announced some */
	PM_CARES_JOINS = 1 << 3, /* a subflow was opened by the peer */
};

/* A prefix as the key of the longest-prefix map. IPv4 as ::ffff:a.b.c.d, lengths of 128 bits. */
struct pm_prefix {
	pm_u32 length;
	pm_u8 address[16]; /* right behind it: a struct pm_addr would be aligned to 8 bytes */
};
PM_STATIC_ASSERT(sizeof(struct pm_prefix) == 20, "the kernel takes all bytes behind the length for the address");

/* Set before the programs are loaded, constant to the verifier. */
struct pm_attached_constants {
	pm_u32 client, server; /* enum pm_interest of each side */
	pm_u32 interfaces, prefixes; /* entries of the local address filter; 0: all are wanted */
	pm_u32 most_subflows; /* of a connection; 0: as many as come */
	pm_u32 guards_addresses; /* there are prefixes that peers are confined to */
};

struct pm_address_filter {
	pm_u32 interface[PM_MAX_FILTER];
	pm_u32 reserved;
	pm_u32 length[PM_MAX_FILTER];
	pm_u32 reserved_too;
	struct pm_addr prefix[PM_MAX_FILTER];
};

/* What `pathlab status` and `pathlab detach` know of an attachment; the value of the pinned map `meta`. */
struct pm_attachment {
	pm_u32 version; /* PM_ATTACHED_VERSION; 0: not written yet */
	pm_u32 complete; /* the namespace's path manager was switched to this one */
	pm_u32 table; /* id of the kernel's map of callbacks that belongs to these maps */
	pm_u32 netns_inode;
	pm_u64 netns_cookie;
	pm_u64 attached_ns; /* CLOCK_REALTIME */
	char name[PM_NAME_SIZE]; /* as the kernel knows it */
	char before[PM_NAME_SIZE]; /* the path manager that was set before */
	char replaces[PM_NAME_SIZE]; /* the attachment that this one is to take the place of */
	char policy[32];
	char netns_name[64]; /* as it was given; empty: the namespace of pathlab */
	pm_u32 handle_type; /* of name_to_handle_at(), which names the namespace while it lives */
	pm_u32 handle_size;
	pm_u8 handle[32];
	struct pm_settings settings;
	pm_u32 verified_instructions; /* of all its programs */
	pm_u32 reserved;
};

#endif
