// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notes when the packets arrive that tell how long a path manager took: at a client, the first that the server sends behind
 * the SYN/ACK of a connection; at a server, the first SYN with MP_JOIN. At an interface's entrance, as a packet socket is
 * handed every packet before its filter says no. Lets everything through.
 */
#include <linux/bpf.h> /* first: the helpers need its types */
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "pm-bpf/arrivals.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before loading: the server's port; one in so many client ports, and tokens, is looked at (powers of two). */
const volatile __u16 pm_port = 0;
const volatile __u32 pm_port_every = 1, pm_token_every = 1;

/* Joins that came when there was no room. */
__u64 pm_not_noted = 0;

/* Room is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pm_confirmation);
} pm_confirmed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32); /* the server's token */
	__type(value, __u64); /* nanoseconds of CLOCK_MONOTONIC */
} pm_joined SEC(".maps");

/* The TCP header; NULL: there is none. */
static __always_inline struct tcphdr *tcp_in(struct __sk_buff *skb, bool *ipv6)
{
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *ethernet = (void *)(long)skb->data;
	struct ipv6hdr *ip6 = (void *)(ethernet + 1);
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp;

	*ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	if (*ipv6) {
		if ((void *)(ip6 + 1) > end || ip6->nexthdr != IPPROTO_TCP)
			return NULL;
		tcp = (void *)(ip6 + 1);
	} else {
		if ((void *)(ip + 1) > end || skb->protocol != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP)
			return NULL;
		tcp = (void *)ip + 4 * ip->ihl;
	}
	return (void *)(tcp + 1) > end ? NULL : tcp;
}

/*
 * In a SYN or SYN/ACK, the MPTCP option of 12 bytes that has this subtype (RFC 8684, 3.1 and 3.2); NULL: there is none. Linux
 * writes options that have words in them at whole words, so there they are looked for: following the lengths would have the
 * verifier try them all.
 */
static __always_inline const __u8 *mptcp_option(const struct tcphdr *tcp, const void *end, __u8 subtype)
{
	const __u8 *option = (const __u8 *)(tcp + 1);
	__u32 word;

	for (word = 0; word < 8; ++word, option += 4) {
		if ((void *)(option + 12) > end)
			break;
		if (option[0] == 30 && option[1] == 12 && option[2] >> 4 == subtype)
			return option;
	}
	return NULL;
}

SEC("tcx/ingress")
int pm_note_confirmation(struct __sk_buff *skb)
{
	const void *end = (void *)(long)skb->data_end;
	struct pm_confirmation *last;
	struct tcphdr *tcp;
	__u32 place;
	bool ipv6;

	tcp = tcp_in(skb, &ipv6);
	if (!tcp || tcp->source != bpf_htons(pm_port) || bpf_ntohs(tcp->dest) & (pm_port_every - 1))
		return TC_ACT_OK;
	place = pm_place_of_confirmation(bpf_ntohs(tcp->dest), pm_port_every, ipv6);
	last = bpf_map_lookup_elem(&pm_confirmed, &place);
	if (!last)
		return TC_ACT_OK;
	if (!tcp->syn) {
		if (last->isn && !last->time)
			last->time = bpf_ktime_get_ns();
	} else if (last->isn != tcp->seq && mptcp_option(tcp, end, 0)) {
		last->time = 0;
		last->isn = tcp->seq;
	}
	return TC_ACT_OK;
}

SEC("tcx/ingress")
int pm_note_join(struct __sk_buff *skb)
{
	const void *end = (void *)(long)skb->data_end;
	const __u8 *option;
	struct tcphdr *tcp;
	__u32 token;
	__u64 now;
	long error;
	bool ipv6;

	tcp = tcp_in(skb, &ipv6);
	if (!tcp || !tcp->syn || tcp->ack || tcp->dest != bpf_htons(pm_port))
		return TC_ACT_OK;
	option = mptcp_option(tcp, end, 1);
	if (!option)
		return TC_ACT_OK;
	token = (__u32)option[4] << 24 | option[5] << 16 | option[6] << 8 | option[7];
	if (token & (pm_token_every - 1))
		return TC_ACT_OK;
	now = bpf_ktime_get_ns();
	error = bpf_map_update_elem(&pm_joined, &token, &now, BPF_NOEXIST);
	if (error && error != -EEXIST) /* it is the first that counts */
		__sync_fetch_and_add(&pm_not_noted, 1);
	return TC_ACT_OK;
}
