/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of the kernel a path manager in BPF sees: the parts of its structs that are read here (by CO-RE: their places are
 * taken from the running kernel), the table of callbacks, and the functions that kernel-patches/ adds. Instead of a
 * vmlinux.h, which would be that of whatever machine this is compiled on.
 */
#ifndef PM_BPF_KERNEL_H
#define PM_BPF_KERNEL_H

#include <linux/bpf.h> /* first: the helpers need its types */
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

enum { AF_INET = 2, AF_INET6 = 10 };
enum { TCP_ESTABLISHED = 1, TCP_SYN_SENT = 2, TCP_CLOSE_WAIT = 8 };
enum { MPTCP_PM_ADDR_FLAG_BACKUP = 1 << 2 };
enum { EAGAIN = 11, EDQUOT = 122 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in_addr {
	__be32 s_addr;
};

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct net {
	__u64 net_cookie;
};

struct sock_common {
	union {
		struct {
			__be32 skc_daddr;
			__be32 skc_rcv_saddr;
		};
	};
	union {
		struct {
			__be16 skc_dport;
			__u16 skc_num;
		};
	};
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct {
		struct net *net;
	} skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
};

struct inet_connection_sock { /* begins with a struct sock */
	void *icsk_ulp_data;
};

struct mptcp_addr_info {
	__u8 id;
	unsigned short family;
	__be16 port;
	union {
		struct in_addr addr;
		struct in6_addr addr6;
	};
};

struct mptcp_pm_local {
	struct mptcp_addr_info addr;
	__u32 flags;
	int ifindex;
};

struct mptcp_pm_data {
	bool server_side;
	bool remote_deny_join_id0;
	__u8 extra_subflows;
};

struct mptcp_sock { /* begins with a struct sock */
	__u32 token;
	bool fully_established;
	struct mptcp_pm_data pm;
};

struct mptcp_subflow_context {
	__u32 request_bkup : 1, backup : 1;
	__s16 local_id; /* negative: none yet */
	__u8 remote_id;
	struct sock *tcp_sock;
};

struct module;
struct list_head {
	struct list_head *next, *prev;
};

struct mptcp_pm_ops {
	void (*created)(struct mptcp_sock *msk, struct sock *ssk);
	void (*established)(struct mptcp_sock *msk, struct sock *ssk);
	void (*closed)(struct mptcp_sock *msk);
	void (*add_addr_received)(struct mptcp_sock *msk, const struct mptcp_addr_info *addr);
	void (*rm_addr_received)(struct mptcp_sock *msk, __u8 id);
	void (*subflow_established)(struct mptcp_sock *msk, struct sock *ssk);
	void (*subflow_closed)(struct mptcp_sock *msk, struct sock *ssk);
	void (*priority_changed)(struct mptcp_sock *msk, struct sock *ssk);
	void (*listener_created)(struct mptcp_sock *msk, struct sock *ssk);
	void (*listener_closed)(struct mptcp_sock *msk, struct sock *ssk);
	void (*local_addr_added)(struct mptcp_sock *msk, const struct mptcp_pm_local *local);
	void (*local_addr_removed)(struct mptcp_sock *msk, const struct mptcp_pm_local *local);
	bool (*accept_new_subflow)(struct mptcp_sock *msk, struct sock *ssk);
	bool (*accept_new_address)(struct mptcp_sock *msk, const struct mptcp_addr_info *addr);
	int (*get_local_id)(struct mptcp_sock *msk, const struct mptcp_addr_info *local);
	bool (*get_priority)(struct mptcp_sock *msk, const struct mptcp_addr_info *local);
	void (*work)(struct mptcp_sock *msk);
	char name[16];
	struct module *owner;
	struct list_head list;
};

#pragma clang attribute pop

static __always_inline const struct mptcp_subflow_context *context_of(const struct sock *ssk)
{
	return BPF_CORE_READ((const struct inet_connection_sock *)ssk, icsk_ulp_data);
}

/* Iterators of the patched kernel, for bpf_for_each(). */
struct bpf_iter_mptcp_subflow {
	__u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_iter_mptcp_local_addr {
	__u64 opaque[8];
} __attribute__((aligned(8)));
struct bpf_iter_mptcp_remote_addr {
	__u64 opaque[6];
} __attribute__((aligned(8)));

#define PM_ITERATOR(what, yields)                                                                    \
	extern int bpf_iter_##what##_new(struct bpf_iter_##what *it, struct mptcp_sock *msk) __ksym; \
	extern yields *bpf_iter_##what##_next(struct bpf_iter_##what *it) __ksym;                    \
	extern void bpf_iter_##what##_destroy(struct bpf_iter_##what *it) __ksym;
PM_ITERATOR(mptcp_subflow, struct mptcp_subflow_context)
PM_ITERATOR(mptcp_local_addr, struct mptcp_pm_local)
PM_ITERATOR(mptcp_remote_addr, struct mptcp_addr_info)

/* Another number when the addresses of a namespace may have changed, of which there is a list from before. */
extern __u32 bpf_mptcp_local_addr_seq(void) __ksym;

/* Commands of the patched kernel: 0 or a negative errno. */
extern int bpf_mptcp_pm_request_work(struct mptcp_sock *msk, __u32 delay_ms) __ksym;
extern int bpf_mptcp_subflow_connect(struct mptcp_sock *msk, const struct mptcp_addr_info *local,
				     const struct mptcp_addr_info *remote, __u32 flags, int ifindex) __ksym;
extern int bpf_mptcp_subflow_close(struct mptcp_sock *msk, struct mptcp_subflow_context *subflow) __ksym;
extern int bpf_mptcp_subflow_set_backup(struct mptcp_sock *msk, struct mptcp_subflow_context *subflow,
					bool backup) __ksym;
extern int bpf_mptcp_pm_announce(struct mptcp_sock *msk, const struct mptcp_addr_info *addr) __ksym;
extern int bpf_mptcp_pm_withdraw(struct mptcp_sock *msk, __u8 id) __ksym;

#endif
