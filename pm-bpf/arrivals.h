/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What arrivals.bpf.c leaves for arrivals.cpp in a map. */
#ifndef PM_BPF_ARRIVALS_H
#define PM_BPF_ARRIVALS_H

#include "pm-core/types.h"

/* Of the last connection that had the port. */
struct pm_confirmation {
	pm_u64 time; /* nanoseconds of CLOCK_MONOTONIC; 0: not yet */
	pm_u32 isn; /* the server's: a SYN/ACK that came again is none of a new connection */
	pm_u32 reserved;
};

/* One for each port of each family; where one in so many ports is looked at, one so many-th of that. */
enum { PM_CONFIRMATIONS = 1 << 17 };

static inline pm_u32 pm_place_of_confirmation(pm_u16 client_port, pm_u32 port_every, pm_u32 ipv6)
{
	return client_port / port_every << 1 | ipv6;
}

#endif
