// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/manager.hpp"

#include <algorithm>
#include <utility>

namespace pm {

void tally::add(const pm_result &result) noexcept
{
	unknown += result.status == PM_UNKNOWN;
	ignored += result.status == PM_IGNORED;
	table_full += result.status == PM_TABLE_FULL;
	commands += result.commands;
	full_locals += result.full_locals;
	full_remotes += result.full_remotes;
	full_subflows += result.full_subflows;
	exhausted += result.exhausted;
}

manager::manager(const policy_info &policy, const pm_settings &settings, std::size_t most_connections)
	: policy_(&policy), settings_(settings), most_(most_connections)
{
}

const pm_connection *manager::find(u32 token) const
{
	const auto at = connections_.find(token);
	return at == connections_.end() ? nullptr : &at->second;
}

pm_connection *manager::find(u32 token) { return const_cast<pm_connection *>(std::as_const(*this).find(token)); }

void manager::change(const policy_info &policy, const pm_settings &settings, std::size_t most_connections)
{
	policy_ = &policy;
	settings_ = settings;
	most_ = most_connections;
}

bool manager::name_interfaces(std::span<const std::string> assignments)
{
	const auto values = make_settings(*policy_, assignments);
	if (!values || std::ranges::equal(values->value, settings_.value))
		return false;
	settings_ = *values;
	return true;
}

std::vector<pm_event> manager::look_at_all() const
{
	std::vector<pm_event> again;
	pm_event event{};
	event.type = PM_RETRY;
	for_each([&](const pm_connection &connection) {
		event.token = connection.token;
		again.push_back(event);
	});
	return again;
}

pm_connection *manager::connection_of(const pm_event &event)
{
	begin(event, result_);
	if (event.token == 0) {
		if (PM_ABOUT_NAMESPACE(event.type))
			fold_namespace(namespace_, event, result_);
		else
			result_.status = PM_IGNORED;
		return nullptr;
	}
	const auto at = connections_.find(event.token);
	if (event.type == PM_CLOSED) {
		if (at == connections_.end())
			result_.status = PM_UNKNOWN;
		else
			connections_.erase(at);
		return nullptr;
	}
	if (at != connections_.end())
		return &at->second;
	if (!PM_ENTERS_TABLE(event.type)) {
		result_.status = PM_UNKNOWN;
		return nullptr;
	}
	if (connections_.size() >= most_) {
		result_.status = PM_TABLE_FULL;
		return nullptr;
	}
	return &connections_.try_emplace(event.token).first->second;
}

} // namespace pm
