/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * What the path manager of probe_pm.bpf.c writes down, and what it is told to do. Shared with the tests in C++.
 */
#ifndef TESTS_VM_PROBE_PM_H
#define TESTS_VM_PROBE_PM_H

#include "pm-core/types.h"

/* Types of records beside those of enum pm_event_type. */
enum probe_type {
	PROBE_JOIN = 100, /* accept_new_subflow was asked about this subflow */
	PROBE_ADDRESS, /* accept_new_address about `remote` */
	PROBE_LOCAL_ID, /* get_local_id about `local` */
	PROBE_PRIORITY, /* get_priority, too */
	PROBE_SUBFLOW, /* what the iterators give: a subflow, */
	PROBE_LOCAL, /* ... a local address, */
	PROBE_REMOTE, /* ... an address that the peer announced */
	PROBE_DONE, /* an order was carried out, with `error` */
	PROBE_LIST = 120, /* an order: write down what the iterators give */
};

struct probe_record {
	struct pm_event what;
	int error; /* of an order, or of a socket option */
	int of_msk[2]; /* of setting, and getting, one of the connection's */
	pm_u32 number; /* of the order */
	pm_u32 state, srtt_us, snd_cwnd, retransmissions, mark; /* of the subflow */
};

enum probe_address { PROBE_NULL, PROBE_UNSPEC, PROBE_GIVEN };

struct probe_order {
	struct pm_command what;
	pm_u32 number; /* another one than before: carry it out. Written last */
	pm_u8 local, remote; /* enum probe_address, of PM_OPEN_SUBFLOW */
	pm_u16 reserved;
};

#endif
