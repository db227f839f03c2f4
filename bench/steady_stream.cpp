// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "bench/steady_stream.hpp"

#include <numeric>

#include "pm-core/address.hpp"

namespace pm::bench {

namespace {

constexpr std::uint16_t server_port = 443, first_local_port = 32768;
constexpr unsigned ndiffports_preset = 2;

pm_addr local_address(unsigned path) { return ipv4(10, 0, static_cast<u8>(path + 1), 1); }
pm_addr remote_address(unsigned path) { return ipv4(10, 0, static_cast<u8>(path + 1), 2); }

// The number of a connection, made to look like a token, all of them different (lowbias32).
u32 token_of(unsigned connection)
{
	u32 t = connection + 1;
	t = (t ^ t >> 16) * 0x7feb352du;
	t = (t ^ t >> 15) * 0x846ca68bu;
	return t ^ t >> 16;
}

pm_event about_remote(pm_event_type type, unsigned remote)
{
	pm_event e{};
	e.type = static_cast<u8>(type);
	e.remote_id = static_cast<u8>(remote);
	if (type == PM_REMOVED)
		return e;
	e.remote = remote_address(remote);
	e.has_remote = 1;
	e.remote_port = server_port;
	return e;
}

template <class Subflow>
pm_event about_subflow(pm_event_type type, const Subflow &s)
{
	pm_event e = about_remote(type, s.remote);
	e.local = local_address(s.local);
	e.has_local = 1;
	e.local_id = static_cast<u8>(s.local); // as the engine gives them: in the order of the addresses
	e.local_port = s.local_port;
	return e;
}

} // namespace

steady_stream::steady_stream(const shape &wanted) : shape_(wanted)
{
	if (shape_.mesh)
		for (unsigned r = 1; r < shape_.remotes; ++r)
			add_round(r);
	else
		add_round(0);
	// Next to the golden ratio, so that neighbours in time are far apart in the table.
	stride_ = static_cast<std::uint64_t>(shape_.connections * 0.618) | 1;
	while (std::gcd(stride_, std::uint64_t{shape_.connections}) != 1)
		stride_ += 2;
}

std::vector<steady_stream::subflow> steady_stream::subflows_to(unsigned remote) const
{
	std::vector<subflow> all;
	const unsigned n = shape_.mesh ? shape_.locals : remote == 0 ? ndiffports_preset : 0;
	for (unsigned i = 0; i < n; ++i)
		all.push_back(
			{shape_.mesh ? i : 0, remote, static_cast<std::uint16_t>(first_local_port + remote * 64 + i)});
	return all;
}

void steady_stream::add_round(unsigned remote)
{
	const std::vector<subflow> all = subflows_to(remote);
	const auto n = static_cast<std::uint8_t>(all.size());
	const std::size_t before = steps_.size();
	for (std::size_t i = 1; i < all.size(); ++i) {
		steps_.push_back({about_subflow(PM_SUB_CLOSED, all[i]), 1});
		steps_.push_back({about_subflow(PM_SUB_ESTABLISHED, all[i]), 0});
	}
	steps_.push_back({about_remote(PM_REMOVED, remote), n});
	for (const subflow &s : all)
		steps_.push_back({about_subflow(PM_SUB_CLOSED, s), 0});
	steps_.push_back({about_remote(PM_ANNOUNCED, remote), n});
	for (const subflow &s : all)
		steps_.push_back({about_subflow(PM_SUB_ESTABLISHED, s), 0});
	round_ = static_cast<unsigned>(steps_.size() - before);
}

std::vector<pm_event> steady_stream::addresses() const
{
	std::vector<pm_event> events;
	for (unsigned l = 0; l < shape_.locals; ++l) {
		pm_event e{};
		e.type = PM_LOCAL_ADDED;
		e.local = local_address(l);
		e.has_local = 1;
		e.ifindex = l + 2;
		events.push_back(e);
	}
	return events;
}

std::vector<pm_event> steady_stream::opening(unsigned connection) const
{
	std::vector<pm_event> events;
	const subflow initial = subflows_to(0).front();
	events.push_back(about_subflow(PM_CREATED, initial));
	events.push_back(about_subflow(PM_ESTABLISHED, initial));
	for (unsigned r = 1; r < shape_.remotes; ++r)
		events.push_back(about_remote(PM_ANNOUNCED, r));
	for (unsigned r = 0; r < shape_.remotes; ++r)
		for (const subflow &s : subflows_to(r))
			if (s.local_port != initial.local_port)
				events.push_back(about_subflow(PM_SUB_ESTABLISHED, s));
	for (pm_event &e : events)
		e.token = token_of(connection);
	return events;
}

std::uint64_t steady_stream::next(std::span<pm_event> out) noexcept
{
	std::uint64_t commands = 0;
	for (pm_event &e : out) {
		const std::uint64_t turn = position_ / shape_.connections, place = position_ % shape_.connections;
		const step &now = steps_[turn % steps_.size()];
		e = now.event;
		e.token = token_of(static_cast<unsigned>(place * stride_ % shape_.connections));
		commands += now.commands;
		++position_;
	}
	return commands;
}

} // namespace pm::bench
