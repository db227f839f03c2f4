// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How long the second path took, against a capture of the same packets, read by the letter of the protocols.
#include "replay/join_times.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cmath>
#include <gtest/gtest.h>
#include <map>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <optional>
#include <pcap/pcap.h>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "pm-core/address.hpp"
#include "replay/lab.hpp"
#include "tests/support/daemon.hpp"

using namespace pm;
using namespace pm::replay;

namespace {

constexpr std::uint64_t connections = 400;

struct packet {
	double time; // seconds
	bool ipv6;
	std::vector<unsigned char> tcp; // from its header on
	std::uint16_t port_at(std::size_t place) const { return static_cast<std::uint16_t>(tcp[place] << 8 | tcp[place + 1]); }
	unsigned flags() const { return tcp[13]; }
};

// The token of an MP_JOIN in a SYN (RFC 8684, 3.2), by the lengths of the options before it.
std::optional<std::uint32_t> join_token(const packet &one)
{
	const std::size_t end = std::min<std::size_t>(one.tcp.size(), 4 * (one.tcp[12] >> 4));
	for (std::size_t at = 20; at + 1 < end && one.tcp[at] != TCPOPT_EOL;
	     at += one.tcp[at] == TCPOPT_NOP ? 1 : std::max<std::size_t>(one.tcp[at + 1], 2))
		if (one.tcp[at] == 30 && one.tcp[at + 1] == 12 && one.tcp[at + 2] >> 4 == 1)
			return std::uint32_t{one.tcp[at + 4]} << 24 | one.tcp[at + 5] << 16 | one.tcp[at + 6] << 8 |
			       one.tcp[at + 7];
	return std::nullopt;
}

// What comes in there.
class capture {
public:
	explicit capture(const char *interface)
	{
		char why[PCAP_ERRBUF_SIZE] = "";
		handle_.reset(pcap_create(interface, why));
		if (!handle_ || pcap_set_immediate_mode(handle_.get(), 1) != 0 ||
		    pcap_set_snaplen(handle_.get(), 160) != 0 || pcap_set_buffer_size(handle_.get(), 16 << 20) != 0 ||
		    pcap_set_tstamp_precision(handle_.get(), PCAP_TSTAMP_PRECISION_NANO) != 0 ||
		    pcap_activate(handle_.get()) < 0 || pcap_setdirection(handle_.get(), PCAP_D_IN) != 0 ||
		    pcap_setnonblock(handle_.get(), 1, why) != 0)
			throw std::runtime_error(std::string("cannot capture: ") + why);
	}

	std::vector<packet> packets()
	{
		std::vector<packet> all;
		pcap_pkthdr *header = nullptr;
		const unsigned char *data = nullptr;
		while (pcap_next_ex(handle_.get(), &header, &data) == 1) {
			const bool ipv6 = data[14] >> 4 == 6;
			const std::size_t tcp = 14 + (ipv6 ? sizeof(ip6_hdr) : 4u * (data[14] & 15));
			if (data[ipv6 ? 20 : 23] == IPPROTO_TCP && header->caplen >= tcp + sizeof(tcphdr))
				all.push_back({static_cast<double>(header->ts.tv_sec) +
						       static_cast<double>(header->ts.tv_usec) / 1e9,
					       ipv6,
					       {data + tcp, data + header->caplen}});
		}
		pcap_stat lost{};
		EXPECT_EQ(pcap_stats(handle_.get(), &lost), 0);
		EXPECT_EQ(lost.ps_drop, 0u);
		return all;
	}

private:
	struct closer {
		void operator()(pcap_t *handle) const { pcap_close(handle); }
	};
	std::unique_ptr<pcap_t, closer> handle_;
};

struct captures {
	std::vector<std::unique_ptr<capture>> client, server;

	explicit captures(const lab &between)
	{
		open(between.client, {"p0"}, client);
		open(between.server, {"p0", "p1"}, server);
	}

	// In the order of the connections, nanoseconds.
	std::vector<double> delays(const std::vector<made_connection> &all)
	{
		std::map<std::pair<std::uint16_t, bool>, double> confirmed;
		std::map<std::uint32_t, double> joined;
		for (auto &each : client)
			for (const packet &one : each->packets())
				if (!(one.flags() & TH_SYN) && one.port_at(0) == load_port)
					confirmed.try_emplace({one.port_at(2), one.ipv6}, one.time);
		for (auto &each : server)
			for (const packet &one : each->packets())
				if (const auto token = join_token(one); token && (one.flags() & (TH_SYN | TH_ACK)) == TH_SYN)
					joined[*token] = joined.contains(*token) ? std::min(joined[*token], one.time) : one.time;
		std::vector<double> found;
		for (const made_connection &each : all) {
			const auto from = confirmed.find({each.local_port, !is_ipv4(each.local)});
			const auto to = joined.find(each.server_token);
			if (from != confirmed.end() && to != joined.end())
				found.push_back(1e9 * (to->second - from->second));
		}
		return found;
	}

private:
	static void open(const netns &where, const std::vector<const char *> &links,
			 std::vector<std::unique_ptr<capture>> &into)
	{
		test::must(in_namespace(where, [&]() -> expected<void> {
			for (const char *link : links)
				into.push_back(std::make_unique<capture>(link));
			return {};
		}));
	}
};

TEST(join_times, are_those_of_a_capture)
{
	const lab between = test::must(lab::create({.paths = 2}));
	captures captured(between);
	const auto times = test::must(join_times::start(between, 2, connections));
	const auto load = test::must(run_load(between, {.connections = connections, .rate = 400, .hold_ms = 50}));
	ASSERT_EQ(load.made, connections) << load.first_failure;
	const auto seen = captured.delays(load.connections), told = test::must(times.delays(load.connections));
	ASSERT_EQ(seen.size(), connections);
	ASSERT_EQ(told.size(), connections);
	std::vector<double> difference;
	for (std::size_t i = 0; i < connections; ++i)
		difference.push_back(std::abs(seen[i] - told[i]) / seen[i]);
	std::nth_element(difference.begin(), difference.begin() + connections / 2, difference.end());
	EXPECT_LT(difference[connections / 2], 0.3) << "in the median";
}

TEST(join_times, are_of_the_last_connection_of_each_port)
{
	constexpr std::size_t ports = 500, rate = 400;
	const lab between = test::must(lab::create({.paths = 2}));
	test::must(between.client.set_sysctl("net.ipv4.ip_local_port_range", fmt::format("2000 {}", 2000 + ports - 1)));
	const auto times = test::must(join_times::start(between, 2, 3 * ports));
	const auto load = test::must(run_load(
		between, {.connections = 3 * ports, .rate = rate, .ipv6 = false, .hold_ms = 50}));
	ASSERT_EQ(load.made, 3 * ports) << load.first_failure;
	std::map<std::uint16_t, made_connection> last;
	std::vector<made_connection> earlier, late;
	for (const made_connection &each : load.connections)
		if (const auto [place, is_new] = last.try_emplace(each.local_port, each); !is_new)
			earlier.push_back(std::exchange(place->second, each));
	for (const auto &[port, each] : last)
		late.push_back(each);
	ASSERT_GE(earlier.size(), 2 * ports);
	EXPECT_EQ(test::must(times.delays(earlier)).size(), 0u);
	auto told = test::must(times.delays(late));
	ASSERT_EQ(told.size(), late.size());
	std::sort(told.begin(), told.end());
	// Taken for that of the one before on the port, most would be as long as it takes until the ports come round again.
	EXPECT_LT(told[told.size() / 2], 1e8);
}

TEST(join_times, of_a_sample_are_of_about_as_many_as_asked_for_and_leave_nothing_behind)
{
	const lab between = test::must(lab::create({.paths = 2}));
	for (const bool again : {false, true}) {
		const auto times = test::must(join_times::start(between, 2, connections, 100));
		const auto load = test::must(run_load(between, {.connections = connections, .rate = 400, .hold_ms = 50}));
		const auto told = test::must(times.delays(load.connections));
		EXPECT_GT(told.size(), 40u) << again;
		EXPECT_LT(told.size(), 200u) << again;
	}
}

} // namespace
