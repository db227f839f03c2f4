// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// All connections of one namespace in userspace: looks the connection of an event up, lets the policy handle it, hands
// the result on. The twin of the shell around the BPF programs (pm-bpf/pm.bpf.c), which does the same with a map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "pm-core/engine.hpp"
#include "pm-netlink/policies.hpp"

namespace pm {

// What became of all events and what did not fit, added up over their results. The same for every place a policy runs in.
struct tally {
	std::uint64_t events = 0;
	std::uint64_t unknown = 0; // about connections that were never created, or are closed
	std::uint64_t ignored = 0; // of types that no policy needs
	std::uint64_t table_full = 0; // lost: no room for their connection
	std::uint64_t commands = 0;
	std::uint64_t full_locals = 0, full_remotes = 0, full_subflows = 0;
	std::uint64_t exhausted = 0; // address pairs left alone after PM_MAX_FAILURES, each time they were looked at

	void add(const pm_result &result) noexcept;
};

class manager {
public:
	manager(const policy_info &policy, const pm_settings &settings, std::size_t most_connections = 65536);

	// Handles an event and calls take(const pm_result &) with the result, and, when the event changed the namespace, once
	// more for each connection. The result is good until take returns.
	template <class Take>
	void handle(const pm_event &event, Take &&take);

	[[nodiscard]] const tally &counted() const noexcept { return tally_; }
	[[nodiscard]] std::size_t connections() const noexcept { return connections_.size(); }
	[[nodiscard]] const pm_connection *find(u32 token) const; // nullptr: unknown
	[[nodiscard]] pm_connection *find(u32 token);
	[[nodiscard]] const pm_namespace &locals() const noexcept { return namespace_; }
	[[nodiscard]] const policy_info &policy() const noexcept { return *policy_; }
	[[nodiscard]] const pm_settings &settings() const noexcept { return settings_; }
	[[nodiscard]] std::size_t most_connections() const noexcept { return most_; }
	template <class See>
	void for_each(See &&see) const // see(const pm_connection &)
	{
		for (const auto &[token, connection] : connections_)
			see(connection);
	}

	// From now on. Connections are looked at again when something is handled for them.
	void change(const policy_info &policy, const pm_settings &settings, std::size_t most_connections);
	// An interface that went and came back has another index under the same name: makes the settings anew from what they
	// were made of. Yields whether they are others now; not if an interface is not there.
	[[nodiscard]] bool name_interfaces(std::span<const std::string> assignments);
	// The events that make the policy look again at every connection: after a change of settings.
	[[nodiscard]] std::vector<pm_event> look_at_all() const;

private:
	// Yields the connection, or none when result_.status says what became of the event.
	pm_connection *connection_of(const pm_event &event);

	const policy_info *policy_;
	pm_settings settings_;
	std::size_t most_;
	pm_namespace namespace_{};
	std::unordered_map<u32, pm_connection> connections_;
	tally tally_;
	pm_result result_{};
};

template <class Take>
void manager::handle(const pm_event &event, Take &&take)
{
	if (pm_connection *connection = connection_of(event))
		policy_->handle(namespace_, *connection, event, settings_, result_);
	++tally_.events;
	tally_.add(result_);
	take(static_cast<const pm_result &>(result_));
	if (result_.status != PM_LOCALS_CHANGED)
		return;
	pm_event copy = event;
	copy.type = PM_LOCAL_ADDED; // which of the two does not matter: the namespace says what there is now
	for (auto &[token, connection] : connections_) {
		copy.token = token;
		policy_->handle(namespace_, connection, copy, settings_, result_);
		tally_.add(result_);
		take(static_cast<const pm_result &>(result_));
	}
}

} // namespace pm
