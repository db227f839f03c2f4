// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/join_times.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "pm-core/address.hpp"

namespace pm::replay {

namespace {

constexpr std::uint64_t most_joins_noted = 1u << 17; // of more connections, a sample by their tokens

std::uint32_t one_in(std::uint64_t all, std::uint64_t most)
{
	return static_cast<std::uint32_t>(std::bit_ceil(all / most + (all % most != 0)));
}

} // namespace

expected<join_times> join_times::start(const lab &between, unsigned paths, std::uint64_t connections, std::uint64_t most)
{
	const std::uint64_t room = 2 * connections + 1024; // twice as much, for an uneven sample
	const std::uint64_t told = std::clamp<std::uint64_t>(connections, 1, last_client_port - first_client_port + 1);
	const std::uint32_t every = one_in(told, most), // of each port the last connection is told
			    token_every = one_in(room, most_joins_noted),
			    port_every = std::max<std::uint32_t>(every / token_every, 1);
	auto arrivals = bpf::arrivals::load({.server_port = load_port,
					     .port_every = port_every,
					     .token_every = token_every,
					     .joins = static_cast<std::uint32_t>(room / token_every)});
	if (!arrivals)
		return tl::unexpected(arrivals.error());
	join_times made(std::move(*arrivals));
	auto attached = made.attach(between.client, 0, &bpf::arrivals::attach_client);
	for (unsigned path = 0; path < paths && attached; ++path)
		attached = made.attach(between.server, path, &bpf::arrivals::attach_server);
	if (!attached)
		return tl::unexpected(attached.error());
	return made;
}

template <class Attach>
expected<void> join_times::attach(const netns &where, unsigned path, Attach &&how)
{
	std::string link = lab::link_name(path);
	auto done = in_namespace(where, [&] { return (arrivals_.*how)(link); });
	if (done)
		attached_.push_back({&where, std::move(link)});
	return done;
}

join_times::~join_times()
{
	for (const entrance &each : attached_)
		(void)in_namespace(*each.where, [&]() -> expected<void> {
			bpf::arrivals::detach(each.link);
			return {};
		});
}

expected<std::vector<double>> join_times::delays(const std::vector<made_connection> &connections) const
{
	if (const auto lost = arrivals_.not_noted())
		return fail(fmt::format("of {} packets it was not noted when they arrived, for want of room: the figures "
					"would be wrong",
					lost));
	std::vector<double> result;
	for (const made_connection &c : connections) {
		const auto confirmed = arrivals_.confirmed(c.local_port, !is_ipv4(c.local));
		const auto joined = confirmed ? arrivals_.joined(c.server_token) : std::nullopt;
		if (joined && *joined > *confirmed) // else a later connection had the port
			result.push_back(static_cast<double>(*joined - *confirmed));
	}
	return result;
}

} // namespace pm::replay
