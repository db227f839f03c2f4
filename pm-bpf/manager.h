/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps of an attached policy, and what the parts of its shell have in common. Included once, by manager.bpf.c.
 */
#ifndef PM_BPF_MANAGER_H
#define PM_BPF_MANAGER_H

#include "pm-bpf/addresses.h"

#include "pm-bpf/attached.h"

const volatile struct pm_attached_constants pm_constants = {};

/* What is remembered of a connection; freed with its socket. */
struct pm_remembered {
	struct pm_connection connection;
	struct pm_namespace locals;
	pm_u64 retry_at; /* on the clock of bpf_ktime_get_ns(); 0: nothing to retry */
	pm_u32 listed_at; /* the number of bpf_mptcp_local_addr_seq() that `locals` are good for */
	struct pm_addr removed[PM_MAX_REMOVED]; /* local addresses that went, in turn */
	pm_u32 removed_from[PM_MAX_REMOVED]; /* their interfaces */
	pm_u32 removals; /* how many so far */
	pm_u32 unseen_removals; /* places of removed[] that no look has seen yet; bits are set when the place is written */
	pm_u64 remote_removed[4]; /* a bit for each address id that the peer has removed since the last look */
	pm_u8 look_again; /* a subflow is waited for: one that was not asked for now, or one in the place of the only one */
	pm_u8 listed; /* `locals` were listed */
	pm_u8 over; /* the connection was closed: the socket may have another one by now */
	pm_u8 reserved[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pm_remembered);
} pm_remember SEC(".maps");

/*
 * What one look at a connection needs beside it. From a pool, not one for each processor: a look may sleep while a
 * subflow connects, and another one begin on the same processor.
 */
struct pm_look {
	pm_u32 taken;
	pm_u32 commands; /* of result.command[] when the plan was compared */
	pm_u32 again_ms; /* look again so soon; 0: need not be */
	pm_u8 seen; /* places of the namespace's addresses that are listed */
	pm_u8 unknown; /* an address is listed that the namespace has not, or elsewhere */
	pm_u8 opening; /* there are subflows amid their handshake */
	pm_u8 unopened; /* the kernel would not open one */
	pm_u8 refused; /* ... or refused something else */
	pm_u8 exhausted; /* address pairs left alone after failures */
	pm_u8 beyond; /* commands not given: the connection has as many subflows as it may */
	pm_u8 renamed; /* places of remote addresses on which a subflow stands under another address id */
	pm_u8 reserved[4];
	pm_u64 removed[4]; /* a bit for each address id that the peer has removed */
	struct pm_addr address;
	struct mptcp_addr_info local, remote; /* as the kernel takes them */
	struct pm_event event;
	struct pm_result result;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PM_POOL);
	__type(key, pm_u32);
	__type(value, struct pm_look);
} pm_pool SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_settings);
} pm_chosen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_address_filter);
} pm_filter SEC(".maps");

/*
 * The addresses of a namespace as the last look that found a change has listed them. While the kernel says that there was
 * none, a new connection need not list them one by one.
 */
struct pm_known {
	struct bpf_spin_lock lock;
	pm_u32 listed_at; /* the number of bpf_mptcp_local_addr_seq(), before */
	pm_u64 netns; /* the cookie of the namespace: several may have named this path manager */
	struct pm_namespace locals;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_known);
} pm_known_locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PM_MAX_ALLOWED);
	__type(key, struct pm_prefix);
	__type(value, pm_u32); /* the length of the prefix */
} pm_allowed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_counters);
} pm_counted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, pm_u32);
	__type(value, struct pm_attachment);
} pm_meta SEC(".maps");

/* Added to in one step: on the same processor, a softirq may come between load and store, and its count be lost. */
static __always_inline struct pm_counters *counters(void)
{
	pm_u32 zero = 0;

	return bpf_map_lookup_elem(&pm_counted, &zero);
}

#define COUNT_MANY(what, number)                          \
	do {                                              \
		struct pm_counters *counted = counters(); \
		if (counted)                              \
			__sync_fetch_and_add(&counted->what, (number)); \
	} while (0)
#define COUNT(what) COUNT_MANY(what, 1)

static __always_inline const struct sock *sock_of(struct mptcp_sock *msk) { return (const struct sock *)msk; }

/* The guard alone is interested in none. */
static __always_inline bool has_policy(void) { return pm_constants.client || pm_constants.server; }

/* The interest of the policy in connections of this one's side. */
static __always_inline pm_u32 interest_in(struct mptcp_sock *msk)
{
	return msk->pm.server_side ? pm_constants.server : pm_constants.client;
}

static __always_inline bool is_open(struct mptcp_sock *msk)
{
	return sock_of(msk)->__sk_common.skc_state == TCP_ESTABLISHED && msk->fully_established;
}

static __always_inline struct pm_remembered *remembered(struct mptcp_sock *msk, pm_u64 flags)
{
	return bpf_sk_storage_get(&pm_remember, (struct sock *)msk, 0, flags);
}

static __always_inline pm_u8 remote_id_of(const struct sock *ssk) { return BPF_CORE_READ(context_of(ssk), remote_id); }

static __always_inline struct pm_known *known_locals(void)
{
	pm_u32 zero = 0;

	return bpf_map_lookup_elem(&pm_known_locals, &zero);
}

static __always_inline pm_u64 netns_of(struct mptcp_sock *msk)
{
	return sock_of(msk)->__sk_common.skc_net.net->net_cookie;
}

/* Without its lock: when it is used, that is looked at again. */
static __always_inline bool is_good(const struct pm_known *known, struct mptcp_sock *msk)
{
	return known->netns == netns_of(msk) && known->listed_at == bpf_mptcp_local_addr_seq();
}

#endif
