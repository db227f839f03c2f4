// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts path-manager events on both sides of the sockets that carry them: as the kernel sends them, and as a process reads
 * them.
 *
 * The first is the filter of a socket that listens to the events' group itself. It sees each event that is sent to the group,
 * whatever becomes of it at other sockets, and lets none in: its socket needs no buffer and cannot overrun. The second sees
 * what recvmsg() copies out of generic netlink sockets, so it needs nothing of the program that it watches.
 */
#include <linux/bpf.h> /* first: the helpers need its types */
#include <linux/netlink.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "pm-bpf/process.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before loading: the number of the generic netlink family. */
const volatile unsigned short pm_family = 0;

/* Each in a cache line of its own: one processor sends while another reads. */
#define ALONE __attribute__((aligned(64)))

unsigned int pm_process ALONE = 0; /* whose reads are counted; 0: nobody's */
unsigned long long pm_sent ALONE = 0, pm_read ALONE = 0;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock {
	unsigned short sk_protocol;
};
struct sk_buff {
	struct sock *sk;
	unsigned char *data;
};
#pragma clang attribute pop

/* Answers to commands have the number of a command, and are to somebody. */
static __always_inline int is_event(const struct nlmsghdr *message)
{
	return message->nlmsg_type == pm_family && message->nlmsg_seq == 0 && message->nlmsg_pid == 0;
}

SEC("socket")
int pm_count_sent(struct __sk_buff *skb)
{
	struct nlmsghdr message;

	if (bpf_skb_load_bytes(skb, 0, &message, sizeof(message)) == 0 && is_event(&message))
		__sync_fetch_and_add(&pm_sent, 1);
	return 0;
}

SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(pm_count_read, const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk;
	struct nlmsghdr message;

	/* Whatever is read comes by here, most of it TCP, which has no socket by now: asking who runs would cost more. */
	if (!pm_process || !sk || sk->sk_protocol != NETLINK_GENERIC || !is_running(pm_process))
		return 0;
	if (bpf_probe_read_kernel(&message, sizeof(message), skb->data) == 0 && is_event(&message))
		__sync_fetch_and_add(&pm_read, 1);
	return 0;
}
