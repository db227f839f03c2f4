// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The generator: a client with two paths whose path manager builds a full mesh (2 × 2 addresses of the connection's
// family), as its kernel would tell of it. Which event follows which, and in what form, is what Linux 6.18 was seen
// to send (a short connection ends with CLOSED alone, without a SUB_CLOSED for each subflow); the times are made up.
//
// What is due next lies in a priority queue. Whether it then still happens depends on the state at that time, so a
// subflow whose local address has gone in the meantime is not established.
//
// All arithmetic that a time depends on is in integers, or one IEEE operation at a time: log() and fused multiply-add
// differ between machines, and a seed must mean one trace.
#include "replay/generate.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "pm-core/address.hpp"
#include "replay/chance.hpp"

namespace pm::replay {

namespace {

using std::uint16_t, std::uint32_t, std::uint64_t, std::uint8_t;

constexpr uint64_t microsecond = 1'000, millisecond = 1'000'000, second = 1'000'000'000;

constexpr uint64_t token_count = UINT32_MAX; // 32 bits, without 0
constexpr double longest_seconds = 1e8; // three years: what lies in a trace stays far below what its times can hold
constexpr uint16_t server_port = 443;
constexpr uint16_t first_local_port = 32768, local_ports = 28232; // net.ipv4.ip_local_port_range
constexpr uint8_t second_address_id = 1; // on either side
constexpr unsigned flaps = 8, moves = 10;

constexpr std::array<shape_description, 5> all_shapes{{
	{shape::poisson, "poisson", "short connections that arrive independently of each other"},
	{shape::burst, "burst", "half of the short connections all at once, then the rest evenly"},
	{shape::flash_crowd, "flash-crowd", "short connections whose rate rises to ten times as much and falls back"},
	{shape::flapping, "flapping",
	 "connections that stay, whose servers announce and remove an address again and again"},
	{shape::mobility, "mobility", "connections that stay, while the client's second addresses go and come back"},
}};

// ---- arrivals ----

// When connections arrive is counted in mean intervals, with 24 bits behind the point.
constexpr uint64_t interval = 1u << 24;

// Where an arrival of a steady stream falls if the stream swells: in hundredths of the trace, 40 are calm, in 10 the
// rate rises from 1 to 10 times as much, in 10 it falls back, 40 are calm. Together that is 190 shares of the
// connections.
uint64_t swell(uint64_t steady, uint64_t connections)
{
	using wide = unsigned __int128;
	const auto height = [](unsigned slice) {
		return slice < 40 || slice >= 60 ? 1u : slice < 50 ? slice - 39 : 60 - slice;
	};
	const wide position = static_cast<wide>(steady) * 190 / connections; // in shares
	wide before = 0;
	unsigned slice = 0;
	while (slice < 99 && position >= before + wide{height(slice)} * interval)
		before += wide{height(slice++)} * interval;
	const wide time = wide{slice} * interval +
			  (position - before) / height(slice); // in hundredths, and calm beyond the last
	return static_cast<uint64_t>(time * connections / 190);
}

// ---- connections ----

pm_addr address(bool ipv6, unsigned path, uint8_t host)
{
	if (!ipv6)
		return ipv4(10, 0, static_cast<uint8_t>(path + 1), host);
	pm_addr a{};
	a.bytes[0] = 0xfd;
	a.bytes[3] = static_cast<uint8_t>(path + 1);
	a.bytes[15] = host;
	return a;
}

// The number of a connection, 1 to 2^32 - 1, made to look like a token: a bijection that keeps 0 (lowbias32).
uint32_t token_of(uint64_t number)
{
	auto t = static_cast<uint32_t>(number);
	t = (t ^ t >> 16) * 0x7feb352du;
	t = (t ^ t >> 15) * 0x846ca68bu;
	return t ^ t >> 16;
}

// An address pair of the mesh: bit 0 is the path of the local address, bit 1 that of the remote one. Pair 0 is the
// initial subflow's.
constexpr unsigned pairs = 4;
constexpr unsigned local_path(unsigned pair) { return pair & 1; }
constexpr unsigned remote_path(unsigned pair) { return pair >> 1; }

struct connection {
	uint32_t token = 0; // 0: this place is free
	uint32_t place = 0; // its own
	bool ipv6 = false, instant = false, established = false, announced = false;
	uint8_t up = 0; // bit p: the subflow on pair p exists
	uint8_t flaps_left = 0;
	std::array<uint16_t, pairs> local_port{};
	std::array<uint64_t, 2> round_trip{}; // ns, by path of the local address
};

enum class step : uint8_t {
	create,
	establish,
	announce,
	withdraw,
	open_subflow,
	close_subflow,
	close,
	leave,
	come_back,
};

struct pending {
	uint64_t time, order; // what is due at the same time happens in the order in which it was planned
	uint32_t place, token;
	step what;
	uint8_t pair;
	bool operator>(const pending &other) const
	{
		return time != other.time ? time > other.time : order > other.order;
	}
};

class generator {
public:
	using taker = std::function<expected<void>(const pm_event &)>;
	generator(const generate_options &options, const taker &take)
		: options_(options), take_(take), chance_(options.seed), interval_ns_(1e9 / options.rate)
	{
	}
	[[nodiscard]] expected<void> run();

private:
	const generate_options &options_;
	const taker &take_;
	chance chance_;
	double interval_ns_;
	std::priority_queue<pending, std::vector<pending>, std::greater<>> queue_;
	std::vector<connection> connections_; // the open ones, and free places
	std::vector<uint32_t> free_;
	uint64_t now_ = 0, planned_ = 0, subflows_ = 0;
	uint64_t arrived_ = 0; // connections that have
	uint64_t steady_ = 0;  // when the next would in a steady stream, in intervals
	bool away_ = false; // the client's second addresses are

	[[nodiscard]] uint64_t at_once() const
	{
		return options_.what == shape::burst ? (options_.connections + 1) / 2 : 0;
	}
	[[nodiscard]] uint64_t to_ns(uint64_t intervals) const;
	[[nodiscard]] uint64_t next_arrival();
	[[nodiscard]] uint64_t stay() const { return to_ns(options_.connections * interval) + 10 * second; }
	[[nodiscard]] uint16_t new_port()
	{
		return static_cast<uint16_t>(first_local_port + subflows_++ % local_ports);
	}
	void arrive();
	void plan(uint64_t delay, const connection &c, step what, unsigned pair = 0);
	void plan_moves();
	void plan_subflow(const connection &c, unsigned pair);

	[[nodiscard]] expected<void> happen(const pending &due);
	[[nodiscard]] expected<void> create(connection &c);
	[[nodiscard]] expected<void> establish(connection &c);
	[[nodiscard]] expected<void> announce(connection &c);
	[[nodiscard]] expected<void> withdraw(connection &c);
	[[nodiscard]] expected<void> open_subflow(connection &c, unsigned pair);
	[[nodiscard]] expected<void> close_subflow(connection &c, unsigned pair);
	[[nodiscard]] expected<void> close(connection &c);
	[[nodiscard]] expected<void> move(bool away);

	[[nodiscard]] expected<void> tell(pm_event event) const;
	[[nodiscard]] expected<void> tell_announced(const connection &c) const;
	[[nodiscard]] expected<void> tell_pair(pm_event_type type, const connection &c, unsigned pair) const;
	[[nodiscard]] expected<void> tell_local(pm_event_type type, unsigned path) const;
};

// ---- planning ----

uint64_t generator::to_ns(uint64_t intervals) const
{
	return static_cast<uint64_t>(static_cast<double>(intervals) * (interval_ns_ / interval));
}

// When the connection numbered `arrived_`, counted from 0, arrives.
uint64_t generator::next_arrival()
{
	switch (options_.what) {
	case shape::burst: return arrived_ < at_once() ? 0 : to_ns((arrived_ - at_once() + 1) * interval);
	case shape::mobility: return to_ns(arrived_ * interval);
	case shape::flash_crowd:
		steady_ += chance_.exponential(interval);
		return to_ns(swell(steady_, options_.connections));
	default: steady_ += chance_.exponential(interval); return to_ns(steady_);
	}
}

void generator::arrive()
{
	uint32_t place = static_cast<uint32_t>(connections_.size());
	if (free_.empty()) {
		connections_.emplace_back();
	} else {
		place = free_.back();
		free_.pop_back();
	}
	connection &c = connections_[place] = {};
	c.token = token_of((options_.first_token % token_count + arrived_) % token_count + 1);
	c.place = place;
	c.ipv6 = arrived_ % 2 != 0;
	c.instant = arrived_ < at_once();
	c.flaps_left = options_.what == shape::flapping ? flaps : 0;
	c.round_trip = {chance_.between(5 * millisecond, 25 * millisecond),
			chance_.between(10 * millisecond, 50 * millisecond)};
	++arrived_;
	plan(0, c, step::create);
}

// What belongs to the burst happens at once, all of it: connection by connection, as the packets of each would be
// worked off in one softirq, because a reader that falls behind then loses whole connections, which is the hard case.
void generator::plan(uint64_t delay, const connection &c, step what, unsigned pair)
{
	queue_.push({now_ + (c.instant ? 0 : delay), planned_++, c.place, c.token, what, static_cast<uint8_t>(pair)});
}

// The path manager asks for a subflow, a little later than it might, and it is there a round trip later.
void generator::plan_subflow(const connection &c, unsigned pair)
{
	plan(c.round_trip[local_path(pair)] + chance_.between(50 * microsecond, millisecond), c, step::open_subflow,
	     pair);
}

void generator::plan_moves()
{
	const uint64_t period = stay() / moves;
	for (uint64_t start = 0; start < period * moves; start += period) {
		const uint64_t left = start + period / 4 + chance_.between(0, period / 4);
		const uint64_t back = start + period / 4 * 3 + chance_.between(0, period / 10);
		queue_.push({left, planned_++, 0, 0, step::leave, 0});
		queue_.push({back, planned_++, 0, 0, step::come_back, 0});
	}
}

// ---- happening ----

expected<void> generator::run()
{
	for (const unsigned path : {0u, 1u})
		if (auto told = tell_local(PM_LOCAL_ADDED, path); !told)
			return told;
	if (options_.what == shape::mobility)
		plan_moves();
	uint64_t next = next_arrival();
	while (arrived_ < options_.connections || !queue_.empty()) {
		// Of two at the same time, what is open goes first: a burst is one connection after the other.
		if (arrived_ < options_.connections && (queue_.empty() || next < queue_.top().time)) {
			now_ = next;
			arrive();
			next = next_arrival();
			continue;
		}
		const pending due = queue_.top();
		queue_.pop();
		now_ = due.time;
		if (auto happened = happen(due); !happened)
			return happened;
	}
	return {};
}

expected<void> generator::happen(const pending &due)
{
	if (due.what == step::leave || due.what == step::come_back)
		return move(due.what == step::leave);
	connection &c = connections_[due.place];
	if (c.token != due.token)
		return {}; // it has closed
	switch (due.what) {
	case step::create: return create(c);
	case step::establish: return establish(c);
	case step::announce: return announce(c);
	case step::withdraw: return withdraw(c);
	case step::open_subflow: return open_subflow(c, due.pair);
	case step::close_subflow: return close_subflow(c, due.pair);
	default: return close(c);
	}
}

expected<void> generator::create(connection &c)
{
	c.up = 1;
	c.local_port[0] = new_port();
	plan(c.round_trip[0], c, step::establish);
	if (options_.what == shape::mobility)
		plan(stay() - now_ + chance_.between(0, second), c, step::close);
	return tell_pair(PM_CREATED, c, 0);
}

expected<void> generator::establish(connection &c)
{
	c.established = true;
	plan_subflow(c, 1);
	plan(chance_.between(20 * microsecond, 2 * millisecond), c, step::announce);
	return tell_pair(PM_ESTABLISHED, c, 0);
}

expected<void> generator::announce(connection &c)
{
	c.announced = true;
	plan_subflow(c, 2);
	plan_subflow(c, 3);
	const uint64_t settled = std::max(c.round_trip[0], c.round_trip[1]) + 2 * millisecond;
	if (c.flaps_left > 0)
		plan(settled + chance_.exponential(second / 2), c, step::withdraw);
	else if (options_.what != shape::mobility)
		plan(settled + chance_.exponential(second / 10), c, step::close);
	return tell_announced(c);
}

expected<void> generator::withdraw(connection &c)
{
	c.announced = false;
	--c.flaps_left;
	for (const unsigned pair : {2u, 3u})
		plan(chance_.between(50 * microsecond, 5 * millisecond), c, step::close_subflow, pair);
	plan(100 * millisecond + chance_.exponential(second / 2), c, step::announce);
	return tell_announced(c);
}

expected<void> generator::open_subflow(connection &c, unsigned pair)
{
	const bool possible = !(away_ && local_path(pair) == 1) && (c.announced || remote_path(pair) == 0);
	if (!possible || (c.up >> pair & 1))
		return {};
	c.up = static_cast<uint8_t>(c.up | 1u << pair);
	c.local_port[pair] = new_port();
	return tell_pair(PM_SUB_ESTABLISHED, c, pair);
}

expected<void> generator::close_subflow(connection &c, unsigned pair)
{
	if (!(c.up >> pair & 1))
		return {};
	c.up = static_cast<uint8_t>(c.up & ~(1u << pair));
	return tell_pair(PM_SUB_CLOSED, c, pair);
}

expected<void> generator::close(connection &c)
{
	pm_event event{};
	event.type = PM_CLOSED;
	event.token = std::exchange(c.token, 0);
	free_.push_back(c.place);
	return tell(event);
}

expected<void> generator::move(bool away)
{
	away_ = away;
	if (auto told = tell_local(away ? PM_LOCAL_REMOVED : PM_LOCAL_ADDED, 1); !told)
		return told;
	for (const connection &c : connections_) {
		if (c.token == 0 || !c.established)
			continue;
		for (const unsigned pair : {1u, 3u}) {
			if (away)
				plan(chance_.between(50 * microsecond, 10 * millisecond), c, step::close_subflow, pair);
			else
				plan_subflow(c, pair);
		}
	}
	return {};
}

// ---- telling ----

expected<void> generator::tell(pm_event event) const
{
	event.time_ns = now_;
	return take_(event);
}

expected<void> generator::tell_pair(pm_event_type type, const connection &c, unsigned pair) const
{
	pm_event event{};
	event.type = static_cast<uint8_t>(type);
	event.token = c.token;
	event.local = address(c.ipv6, local_path(pair), 1);
	event.remote = address(c.ipv6, remote_path(pair), 2);
	event.has_local = event.has_remote = 1;
	event.local_id = local_path(pair) ? second_address_id : 0;
	event.remote_id = remote_path(pair) ? second_address_id : 0;
	event.local_port = c.local_port[pair];
	event.remote_port = server_port;
	if (!c.ipv6 && type != PM_SUB_CLOSED)
		event.flags = PM_IPV4_SOCKET;
	return tell(event);
}

// ANNOUNCED, or REMOVED, of the server's second address. An announcement without a port carries the connection's.
expected<void> generator::tell_announced(const connection &c) const
{
	pm_event event{};
	event.type = c.announced ? PM_ANNOUNCED : PM_REMOVED;
	event.token = c.token;
	event.remote_id = second_address_id;
	if (c.announced) {
		event.remote = address(c.ipv6, 1, 2);
		event.has_remote = 1;
		event.remote_port = server_port;
	}
	return tell(event);
}

expected<void> generator::tell_local(pm_event_type type, unsigned path) const
{
	for (const bool ipv6 : {false, true}) {
		pm_event event{};
		event.type = static_cast<uint8_t>(type);
		event.ifindex = path + 2; // 1 is loopback's
		event.local = address(ipv6, path, 1);
		event.has_local = 1;
		if (auto told = tell(event); !told)
			return told;
	}
	return {};
}

} // namespace

std::span<const shape_description> shapes() noexcept { return all_shapes; }

expected<shape> find_shape(std::string_view name)
{
	std::string known;
	for (const auto &s : all_shapes) {
		if (s.name == name)
			return s.value;
		known += fmt::format("{}{}", known.empty() ? "" : ", ", s.name);
	}
	return fail_usage(fmt::format("there is no shape '{}'; there are: {}", name, known));
}

expected<void> generate(const generate_options &options, const std::function<expected<void>(const pm_event &)> &take)
{
	if (options.connections == 0 || options.connections > token_count)
		return fail_usage(
			fmt::format("cannot generate {} connections: give 1 to {}, as many as there are tokens",
				    options.connections, token_count));
	if (!std::isfinite(options.rate) || options.rate <= 0)
		return fail_usage(
			fmt::format("cannot generate connections at a rate of {} per second: give one above 0",
				    options.rate));
	if (static_cast<double>(options.connections) / options.rate > longest_seconds)
		return fail_usage(fmt::format(
			"cannot generate {} connections at a rate of {} per second: that takes more than three "
			"years; give a higher rate",
			options.connections, options.rate));
	try {
		return generator(options, take).run();
	} catch (const std::bad_alloc &) {
		return fail("cannot generate a trace: no memory for the connections that are open at a time");
	}
}

} // namespace pm::replay
