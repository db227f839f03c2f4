// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/join_capture.hpp"

#include <algorithm>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include "pm-core/address.hpp"
#include "pm-netlink/wire.hpp"

namespace pm::replay {

namespace {

constexpr std::size_t packet_bytes = 160; // the headers, with all their options
constexpr int buffer_bytes = 16 << 20;

// pcap's words for TCP are for IPv4 only: `what` makes a filter from the place of a field in the header.
template <class What>
std::string in_both_families(What &&what)
{
	return "(ip and tcp and (" +
	       what([](unsigned at, const char *size) { return fmt::format("tcp[{}{}]", at, size); }) +
	       ")) or (ip6 and ip6[6] = 6 and (" +
	       what([](unsigned at, const char *size) { return fmt::format("ip6[{}{}]", 40 + at, size); }) + "))";
}

// What comes in at the client: behind its SYN/ACK, what the server sends to the ports that are looked at.
std::string confirmations(unsigned every)
{
	return in_both_families([&](auto &&field) {
		return fmt::format("{} & 2 = 0 and {} = {} and {} & {} = 0", field(13, ""), field(0, ":2"), load_port,
				   field(2, ":2"), every - 1);
	});
}

// What comes in at the server: the SYNs of clients.
std::string requests()
{
	return in_both_families([](auto &&field) {
		return fmt::format("{} & 18 = 2 and {} = {}", field(13, ""), field(2, ":2"), load_port);
	});
}

std::uint32_t place_of(std::uint16_t port, bool ipv6) { return std::uint32_t{port} << 1 | ipv6; }

// The token of an MP_JOIN in a SYN (RFC 8684, 3.2): option 30, subtype 1. 0: there is none.
std::uint32_t join_token(const unsigned char *options, std::size_t length)
{
	for (std::size_t at = 0; at + 1 < length && options[at] != TCPOPT_EOL;) {
		if (options[at] == TCPOPT_NOP) {
			++at;
			continue;
		}
		const std::size_t size = options[at + 1];
		if (size < 2 || at + size > length)
			return 0;
		if (options[at] == 30 && size == 12 && options[at + 2] >> 4 == 1)
			return ntohl(netlink::wire::load<std::uint32_t>(
				reinterpret_cast<const std::byte *>(options + at + 4)));
		at += size;
	}
	return 0;
}

} // namespace

expected<void> join_capture::listen(const std::vector<std::string> &interfaces, const std::string &wanted)
{
	for (const std::string &name : interfaces) {
		char why[PCAP_ERRBUF_SIZE] = "";
		std::unique_ptr<pcap_t, closer> handle(pcap_create(name.c_str(), why));
		if (!handle)
			return fail(fmt::format("cannot capture on {}: {}", name, why));
		pcap_set_snaplen(handle.get(), packet_bytes);
		pcap_set_buffer_size(handle.get(), buffer_bytes);
		pcap_set_immediate_mode(handle.get(), 1);
		pcap_set_tstamp_precision(handle.get(), PCAP_TSTAMP_PRECISION_NANO);
		bpf_program filter{};
		const int yes = 1;
		const bool going = pcap_activate(handle.get()) >= 0 && pcap_setnonblock(handle.get(), 1, why) == 0 &&
				   pcap_compile(handle.get(), &filter, wanted.c_str(), 1, PCAP_NETMASK_UNKNOWN) == 0 &&
				   pcap_setfilter(handle.get(), &filter) == 0;
		pcap_freecode(&filter);
		if (!going)
			return fail(fmt::format("cannot capture on {}: {}", name, pcap_geterr(handle.get())));
		// What goes out would be copied before the filter sees it.
		if (setsockopt(pcap_fileno(handle.get()), SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) != 0)
			return fail_errno(fmt::format("cannot capture only what comes in on {}", name));
		handles_.push_back(std::move(handle));
	}
	return {};
}

expected<join_capture> join_capture::start(const lab &between, unsigned paths, unsigned every)
{
	join_capture made;
	std::vector<std::string> links;
	for (unsigned path = 0; path < paths; ++path)
		links.push_back(fmt::format("p{}", path));
	auto listening = in_namespace(between.client, [&] { return made.listen({"p0"}, confirmations(every)); });
	if (listening)
		listening = in_namespace(between.server, [&] { return made.listen(links, requests()); });
	if (!listening)
		return tl::unexpected(listening.error());
	return made;
}

void join_capture::look(std::uint64_t time_ns, const unsigned char *packet, std::size_t length)
{
	using netlink::wire::load;
	const auto *bytes = reinterpret_cast<const std::byte *>(packet);
	if (length < sizeof(ether_header) + sizeof(iphdr) + sizeof(tcphdr))
		return;
	const auto ip = load<iphdr>(bytes + sizeof(ether_header));
	const bool ipv6 = ip.version == 6;
	const std::size_t tcp_at = sizeof(ether_header) + (ipv6 ? sizeof(ip6_hdr) : ip.ihl * 4u);
	if (length < tcp_at + sizeof(tcphdr))
		return;
	const auto tcp = load<tcphdr>(bytes + tcp_at);
	const std::size_t options_at = tcp_at + sizeof(tcphdr);
	const std::size_t end = std::min(length, tcp_at + tcp.doff * 4u);
	if (tcp.syn && !tcp.ack && end > options_at) {
		if (const std::uint32_t token = join_token(packet + options_at, end - options_at))
			joined_.try_emplace(token, time_ns);
	} else if (!tcp.syn && ntohs(tcp.source) == load_port) {
		confirmed_.try_emplace(place_of(ntohs(tcp.dest), ipv6), time_ns);
	}
}

expected<std::vector<double>> join_capture::delays(const std::vector<made_connection> &connections)
{
	for (const auto &handle : handles_) {
		pcap_pkthdr *header = nullptr;
		const unsigned char *packet = nullptr;
		int got = 0;
		while ((got = pcap_next_ex(handle.get(), &header, &packet)) == 1)
			look(static_cast<std::uint64_t>(header->ts.tv_sec) * 1'000'000'000 +
				     static_cast<std::uint64_t>(header->ts.tv_usec),
			     packet, header->caplen);
		pcap_stat statistics{};
		if (got < 0 || pcap_stats(handle.get(), &statistics) != 0)
			return fail(fmt::format("cannot read what was captured: {}", pcap_geterr(handle.get())));
		if (statistics.ps_drop != 0)
			return fail(fmt::format("the capture lost {} packets: its figures would be wrong",
						statistics.ps_drop));
	}
	std::unordered_map<std::uint32_t, unsigned> used;
	for (const made_connection &c : connections)
		++used[place_of(c.local_port, !is_ipv4(c.local))];
	std::vector<double> result;
	for (const made_connection &c : connections) {
		const std::uint32_t place = place_of(c.local_port, !is_ipv4(c.local));
		if (used[place] > 1)
			continue;
		const auto confirmed = confirmed_.find(place);
		const auto joined = joined_.find(c.server_token);
		if (confirmed != confirmed_.end() && joined != joined_.end() && joined->second > confirmed->second)
			result.push_back(static_cast<double>(joined->second - confirmed->second));
	}
	return result;
}

} // namespace pm::replay
