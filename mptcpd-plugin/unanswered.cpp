// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "mptcpd-plugin/unanswered.hpp"

#include <algorithm>

#include "pm-core/address.hpp"

namespace pm::plugin {

namespace {

bool is_pending(const pm_subflow &s) { return s.state == PM_SUBFLOW_OPENING || s.state == PM_SUBFLOW_CLOSING; }

pm_event refusal_of(const pm_connection &c, const pm_subflow &s)
{
	pm_event event{};
	event.type = PM_COMMAND_FAILED;
	event.command = s.state == PM_SUBFLOW_OPENING ? PM_OPEN_SUBFLOW : PM_CLOSE_SUBFLOW;
	event.token = c.token;
	event.local = c.local[s.local];
	event.remote = c.remote[s.remote];
	event.local_port = s.local_port;
	event.remote_port = s.remote_port;
	event.has_local = event.has_remote = 1;
	return event;
}

bool names(const pm_connection &c, const pm_subflow &s, const netlink::snapshot_subflow &listed)
{
	return listed.remote_port == s.remote_port && same(listed.local, c.local[s.local]) &&
	       same(listed.remote, c.remote[s.remote]);
}

} // namespace

std::vector<u32> unanswered::overdue(const manager &known, std::uint64_t now)
{
	std::vector<u32> tokens;
	for (auto at = last_.begin(); at != last_.end();) {
		auto &[token, asked] = *at;
		if (now - asked < patience_ns) {
			++at;
			continue;
		}
		const pm_connection *c = known.find(token);
		if (!c || std::none_of(c->subflow, c->subflow + c->subflows, is_pending)) {
			at = last_.erase(at);
			continue;
		}
		asked = now;
		tokens.push_back(token);
		++at;
	}
	return tokens;
}

std::vector<pm_event> refusals(const pm_connection &c, const netlink::snapshot &listed)
{
	std::vector<netlink::snapshot_subflow> here;
	std::ranges::copy(std::ranges::equal_range(listed.subflows, c.token, {}, &netlink::snapshot_subflow::token),
			  std::back_inserter(here));
	// Takes one that fits out of `here`, so that it answers for no other.
	const auto take = [&](const pm_subflow &s, bool any_port) {
		const auto at = std::ranges::find_if(here, [&](const auto &candidate) {
			return names(c, s, candidate) && (any_port || candidate.local_port == s.local_port);
		});
		if (at == here.end())
			return false;
		here.erase(at);
		return true;
	};
	std::vector<pm_event> events;
	// First those whose local port is known: what is left may be what is being opened.
	for (unsigned i = 0; i < c.subflows; ++i) {
		const pm_subflow &s = c.subflow[i];
		if ((s.state == PM_SUBFLOW_ESTABLISHED || s.state == PM_SUBFLOW_CLOSING) && !take(s, false) &&
		    s.state == PM_SUBFLOW_CLOSING)
			events.push_back(refusal_of(c, s));
	}
	for (unsigned i = 0; i < c.subflows; ++i)
		if (c.subflow[i].state == PM_SUBFLOW_OPENING && !take(c.subflow[i], true))
			events.push_back(refusal_of(c, c.subflow[i]));
	return events;
}

} // namespace pm::plugin
