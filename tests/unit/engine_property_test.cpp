// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What level-triggered means: however the events were mangled on their way, once the true state was read back and it is
// time to try again, the connection ends with the same paths as one whose events all arrived.
#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "pm-netlink/manager.hpp"
#include "tests/support/world.hpp"

using namespace pm;
using namespace pm::test;

namespace {

// A world and the policy that manages it, joined by a channel that may mangle events.
struct managed_world {
	managed_world(const policy_info &policy, u8 flags, std::uint32_t refused)
		: truth(flags, refused), host(policy, *make_settings(policy))
	{
	}

	// Lets an event reach the policy, carries out what it commands, and collects what comes of that.
	std::vector<pm_event> deliver(const pm_event &event)
	{
		std::vector<pm_event> consequences;
		host.handle(event, [&](const pm_result &result) {
			for (unsigned i = 0; i < result.commands; ++i)
				for (const pm_event &e : truth.carry_out(result.command[i]))
					consequences.push_back(e);
		});
		return consequences;
	}

	// Delivers until nothing more happens. `mangle` turns one event into those that arrive.
	template <class Mangle>
	void settle(std::vector<pm_event> events, Mangle &&mangle)
	{
		std::size_t bound = 0;
		while (!events.empty()) {
			RC_ASSERT(++bound < 1000u); // commands are bounded
			const pm_event first = events.front();
			events.erase(events.begin());
			for (const pm_event &arriving : mangle(first)) {
				const auto more = deliver(arriving);
				events.insert(events.end(), more.begin(), more.end());
			}
		}
	}
	void settle(const std::vector<pm_event> &events)
	{
		settle(events, [](const pm_event &e) { return std::vector<pm_event>{e}; });
	}

	world truth;
	manager host;
};

// Loses, repeats and swaps events, as a list of numbers says.
class mangler {
public:
	explicit mangler(std::vector<std::uint8_t> choices) : choices_(std::move(choices)) {}

	std::vector<pm_event> operator()(const pm_event &event)
	{
		const unsigned choice = choices_.empty() ? 7u : choices_[next_++ % choices_.size()] % 8;
		std::vector<pm_event> arriving;
		if (choice == 0 || choice == 1)
			arriving = {}; // lost
		else if (choice == 2)
			arriving = {event, event};
		else if (choice == 3 && !held_.empty())
			arriving = {held_.back(), event, event};
		else
			arriving = {event};
		if (!held_.empty() && choice != 4) {
			arriving.push_back(held_.back()); // what was held back comes after its successor
			held_.clear();
		}
		if (choice == 4 && held_.empty() && !arriving.empty()) {
			held_ = arriving;
			arriving.clear();
		}
		return arriving;
	}

private:
	std::vector<std::uint8_t> choices_;
	std::vector<pm_event> held_;
	std::size_t next_ = 0;
};

// What has the same outcome whether or not the policy heard of it in time. Deaths strike different subflows in the two
// worlds. What closed and cannot be opened again from here stays open where the reason was missed: subflows of the peer,
// seen from the server, and the initial one to a peer that denies joins to its address.
bool repeatable(std::uint32_t action, u8 flags)
{
	const unsigned kind = action % 8, which = 1 + action / 8 % world::addresses;
	const bool comes_back = kind == 0 || kind == 1 || kind == 4 || kind == 5;
	return kind != 6 && !((flags & PM_SERVER_SIDE) && comes_back) && !((flags & PM_DENY_JOIN_ID0) && which == 1);
}

// Which remote address a single subflow goes to depends on the order in which they were announced; that there is one does
// not. Nor does what a connection that has nothing else is left with count.
std::map<world::pair, int> what_counts(const policy_info &policy, const world &truth)
{
	auto paths = truth.paths(true);
	if (policy.name != "single-per-interface")
		return paths;
	std::map<world::pair, int> by_local;
	for (const auto &[where, count] : paths)
		by_local[{where.first, 0}] += count;
	return by_local;
}

RC_GTEST_PROP(engine_property, after_a_resync_the_paths_are_those_of_a_run_that_lost_nothing,
	      (std::vector<std::uint32_t> actions, std::vector<std::uint8_t> choices))
{
	const policy_info *policy = &all_policies()[*rc::gen::inRange<std::size_t>(0, all_policies().size())];
	const u8 flags = static_cast<u8>(
		*rc::gen::inRange(0, 4) | // PM_SERVER_SIDE, PM_DENY_JOIN_ID0
		(policy->name == "announce" ? PM_SERVER_SIDE : 0)); // as a client it opens nothing again
	std::uint32_t refused = *rc::gen::inRange<std::uint32_t>(0, 1u << 9) &
				*rc::gen::inRange<std::uint32_t>(0, 1u << 9);
	if (policy->name == "single-per-interface")
		refused = 0; // it tries one pair only, and which one depends on the order of announcements
	managed_world whole{*policy, flags, refused}, mangled{*policy, flags, refused};
	mangler mangle{std::move(choices)};

	whole.settle(whole.truth.begin());
	auto first = mangled.truth.begin();
	const auto connection = std::find_if(first.begin(), first.end(),
					     [](const pm_event &e) { return e.token != 0; });
	mangled.settle({first.begin(), connection}); // the namespace's addresses are dumped, and that is reliable
	mangled.settle({connection, first.end()}, mangle);
	for (const std::uint32_t action : actions) {
		if (!repeatable(action, flags))
			continue;
		whole.settle(whole.truth.act(action));
		mangled.settle(mangled.truth.act(action), mangle);
	}
	mangled.settle(mangled.truth.read_back());
	// Events that were repeated have counted as failures, and what was kept is kept until the clock around the engine says.
	for (managed_world *each : {&whole, &mangled})
		each->settle({event(PM_RETRY, world::token)});
	RC_ASSERT(what_counts(*policy, mangled.truth) == what_counts(*policy, whole.truth));
	for (const managed_world *each : {&whole, &mangled})
		RC_ASSERT(each->truth.paths(true).empty() || each->truth.paths(false).empty());
}

RC_GTEST_PROP(engine_property, no_connection_loses_its_last_subflow_by_a_command, (std::vector<std::uint32_t> actions))
{
	const policy_info *policy = &all_policies()[*rc::gen::inRange<std::size_t>(0, all_policies().size())];
	managed_world one{*policy, static_cast<u8>(*rc::gen::inRange(0, 4)), 0};
	one.settle(one.truth.begin());
	for (const std::uint32_t action : actions)
		if (action % 8 != 6) // it dies by itself
			one.settle(one.truth.act(action));
	RC_ASSERT(!one.truth.paths().empty());
}

RC_GTEST_PROP(engine_property, a_resync_of_what_is_known_already_changes_nothing, (std::vector<std::uint32_t> actions))
{
	const policy_info *policy = &all_policies()[*rc::gen::inRange<std::size_t>(0, all_policies().size())];
	managed_world one{*policy, static_cast<u8>(*rc::gen::inRange(0, 4)), 0};
	one.settle(one.truth.begin());
	for (const std::uint32_t action : actions)
		one.settle(one.truth.act(action));
	const auto before = one.truth.paths();
	const auto commands = one.host.counted().commands;
	// Nor does one that cannot list what the peer announces, as the kernel cannot.
	one.settle(one.truth.read_back(*rc::gen::arbitrary<bool>()));
	RC_ASSERT(one.truth.paths() == before);
	RC_ASSERT(one.host.counted().commands == commands);
}

} // namespace
