// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/path_watch.hpp"

#include <algorithm>
#include <array>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "pm-netlink/mptcp_info.hpp"
#include "replay/clock.hpp"

namespace pm::replay {

namespace {

constexpr unsigned at_once = 16; // connections asked before others are opened again
constexpr int share = 20, share_of_sample = 400; // one part in so many of the time; where some stand for all
constexpr std::chrono::milliseconds shortest_round{1}, idle_round{5};
constexpr std::size_t most_points = 500;

// getsockopt(MPTCP_TCPINFO): a header, then the beginning of each subflow's struct tcp_info, whose first byte is the state.
struct subflow_states {
	std::uint32_t header_size = 16;
	std::uint32_t subflows = 0;
	std::uint32_t kernels_size = 0;
	std::uint32_t each_size = 8;
	std::array<std::array<std::uint8_t, 8>, 72> state{};
};

} // namespace

std::optional<unsigned> established_subflows(int fd, unsigned wanted) noexcept
{
	const auto info = read_mptcp_info(fd);
	if (!info)
		return std::nullopt;
	if (info->mptcpi_subflows == 0 || info->mptcpi_subflows < wanted) // counts those that are being opened, too
		return info->mptcpi_subflows;
	subflow_states states;
	socklen_t length = sizeof states;
	if (::getsockopt(fd, SOL_MPTCP, MPTCP_TCPINFO, &states, &length) != 0)
		return info->mptcpi_subflows;
	const auto end = states.state.begin() + std::min<std::size_t>(states.subflows, states.state.size());
	const auto established = std::count_if(states.state.begin(), end,
					       [](const auto &one) { return one[0] == TCP_ESTABLISHED; });
	return established > 0 ? static_cast<unsigned>(established - 1) : 0;
}

void path_watch::expect(unsigned ipv4, unsigned ipv6) noexcept
{
	const std::uint64_t before = told_.load();
	told_.store(((before >> 32) + 1) << 32 | std::uint64_t{ipv6} << 16 | ipv4);
}

void path_watch::begin(std::uint64_t connections, clock::time_point now)
{
	all_.assign(connections, {});
	unsettled_.clear();
	cursor_ = 0;
	closed_ = 0;
	begun_ = next_ = next_note_ = rested_ = now;
	result_ = {};
	take_over_expectation();
	exactly_ = false;
}

void path_watch::answered(std::uint64_t connection, int fd, bool ipv6)
{
	watched &one = all_[connection];
	if (connection / 2 % every_ != 0) // in pairs: where there are both families, every other connection is IPv6
		return;
	one.fd = fd;
	one.ipv6 = ipv6;
	one.looked = clock::now();
	if (wanted(one) > 0) {
		one.lacks = true;
		lacking_.fetch_add(1);
		one.place = static_cast<std::uint32_t>(unsettled_.size());
		unsettled_.push_back(connection);
		unsettled_count_.store(unsettled_.size());
		if (cursor_ == 0)
			next_ = std::max(rested_, std::min(next_, one.looked + shortest_round));
	}
	open_.fetch_add(1); // last: who sees it open sees it unsettled
}

// What a connection does not even have among those that are being opened, it lacks. How many of the others are only being
// opened takes looking closely: at those that are watched, which stand for the others.
void path_watch::closing(std::uint64_t connection, bool ipv6, unsigned subflows)
{
	watched &one = all_[connection];
	const unsigned want = wanted(ipv6), begun = std::min(subflows, want);
	++closed_;
	result_.expected += want;
	result_.missing += want - begun;
	result_.lacking_at_end += begun < want;
	if (one.fd < 0)
		return;
	if (one.lacks || exactly_)
		ask(connection, clock::now());
	const unsigned have = one.lacks ? std::min<unsigned>(one.have, begun) : begun;
	result_.missing += std::uint64_t{every_} * (begun - have);
	result_.lacking_at_end += begun == want && have < want ? every_ : 0;
	let_go(connection);
}

void path_watch::forget(std::uint64_t connection)
{
	let_go(connection);
	failed_.fetch_add(1);
}

void path_watch::let_go(std::uint64_t connection)
{
	watched &one = all_[connection];
	if (one.fd < 0)
		return;
	if (one.lacks)
		lacking_.fetch_sub(1);
	settle(connection);
	one.lacks = false;
	one.fd = -1;
	open_.fetch_sub(1);
}

// Until this moment it is taken to have had what it had when it was last asked.
void path_watch::ask(std::uint64_t connection, clock::time_point now)
{
	watched &one = all_[connection];
	const unsigned want = wanted(one);
	const auto found = want > 0 || exactly_ ? established_subflows(one.fd, want) : std::optional<unsigned>{0};
	if (one.have < want)
		result_.path_seconds += (want - one.have) * std::chrono::duration<double>(now - one.looked).count();
	one.looked = now;
	one.have = static_cast<std::uint8_t>(found.value_or(0));
	const bool lacks = one.have < want;
	if (lacks != one.lacks)
		lacking_.fetch_add(lacks ? 1 : UINT64_MAX);
	one.lacks = lacks;
	if (!lacks && !(exactly_ && one.have > want))
		settle(connection);
}

void path_watch::settle(std::uint64_t connection)
{
	const std::uint32_t place = all_[connection].place;
	if (place == nowhere)
		return;
	const std::uint64_t last = unsettled_.back();
	unsettled_[place] = last;
	all_[last].place = place;
	unsettled_.pop_back();
	all_[connection].place = nowhere;
	unsettled_count_.store(unsettled_.size());
}

void path_watch::take_over_expectation()
{
	const std::uint64_t told = told_.load();
	const auto generation = static_cast<unsigned>(told >> 32);
	if (generation == seen_.load(std::memory_order_relaxed))
		return;
	ipv4_ = told & 0xffff;
	ipv6_ = told >> 16 & 0xffff;
	exactly_ = true;
	for (std::uint64_t i = 0; i < all_.size(); ++i) {
		watched &one = all_[i];
		if (one.fd < 0)
			continue;
		if (one.place == nowhere) {
			one.place = static_cast<std::uint32_t>(unsettled_.size());
			unsettled_.push_back(i);
			one.looked = clock::now();
		}
		const bool lacks = one.have < wanted(one);
		if (lacks != one.lacks)
			lacking_.fetch_add(lacks ? 1 : UINT64_MAX);
		one.lacks = lacks;
	}
	cursor_ = 0;
	next_ = clock::now();
	unsettled_count_.store(unsettled_.size());
	seen_.store(generation); // last: who sees it sees what is unsettled by it
}

void path_watch::look(clock::time_point now)
{
	take_over_expectation();
	note(now);
	if (cursor_ == 0) {
		if (now < next_)
			return;
		cursor_ = unsettled_.size();
		round_began_ = now;
		round_cost_ = {};
	}
	const std::uint64_t used = thread_cpu_ns(); // not the time that it waits for a socket that the kernel is busy with
	for (unsigned n = 0; n < at_once && cursor_ > 0; ++n) {
		cursor_ = std::min(cursor_, unsettled_.size());
		if (cursor_ > 0)
			ask(unsettled_[--cursor_], now); // as they come directly one after the other
	}
	round_cost_ += std::chrono::nanoseconds(thread_cpu_ns() - used);
	if (cursor_ > 0) {
		next_ = now;
		return;
	}
	rested_ = round_began_ + (every_ > 1 ? share_of_sample : share) * round_cost_;
	next_ = std::max(rested_, round_began_ + (unsettled_.empty() ? idle_round : shortest_round));
}

// A point where the number has changed; half as many, twice as far from each other, when there are too many.
void path_watch::note(clock::time_point now)
{
	if (now < next_note_)
		return;
	next_note_ = now + step_;
	const std::uint64_t lacking = lacking_.load(std::memory_order_relaxed);
	result_.most_lacking = std::max(result_.most_lacking, lacking);
	auto &points = result_.timeline;
	if (!points.empty() && points.back().second == lacking)
		return;
	const auto at = std::chrono::duration_cast<std::chrono::milliseconds>(now - begun_).count();
	points.emplace_back(static_cast<std::uint64_t>(at), lacking);
	if (points.size() < most_points)
		return;
	for (std::size_t i = 0; 2 * i < points.size(); ++i)
		points[i] = points[2 * i];
	points.resize((points.size() + 1) / 2);
	step_ *= 2;
}

path_watch::result path_watch::take()
{
	note(next_note_);
	result_.path_seconds *= every_;
	// Those that are asked may stand for more than there are.
	result_.missing = std::min(result_.missing, result_.expected);
	result_.lacking_at_end = std::min(result_.lacking_at_end, closed_);
	result_.most_lacking = std::min<std::uint64_t>(result_.most_lacking * every_, all_.size());
	for (auto &point : result_.timeline)
		point.second = std::min<std::uint64_t>(point.second * every_, all_.size());
	return std::move(result_);
}

} // namespace pm::replay
