// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/attachment_status.hpp"

#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pm-netlink/policies.hpp"

namespace pm::bpf {

namespace {

using nlohmann::json;

constexpr const char *notification_names[] = {
#define PM_ENTRY(name) #name,
	PM_NOTIFICATIONS(PM_ENTRY)
#undef PM_ENTRY
};

struct named {
	const char *name;
	unsigned place;
};
constexpr named command_names[] = {{"open", PM_OPEN_SUBFLOW},
				   {"close", PM_CLOSE_SUBFLOW},
				   {"announce", PM_ANNOUNCE},
				   {"withdraw", PM_WITHDRAW},
				   {"set_backup", PM_SET_BACKUP}};
constexpr named refusal_names[] = {{"join_address", PM_REFUSED_JOIN_ADDRESS},
				   {"join_number", PM_REFUSED_JOIN_NUMBER},
				   {"announcement", PM_REFUSED_ANNOUNCEMENT},
				   {"own_number", PM_REFUSED_OWN}};

const char *name_of(attached::condition state)
{
	switch (state) {
	case attached::condition::active: return "active";
	case attached::condition::passed_over: return "passed over";
	case attached::condition::netns_gone: return "namespace gone";
	}
	return "";
}

json settings_of(const pm_attachment &what)
{
	json settings = json::object();
	for (const policy_info &policy : all_policies())
		if (policy.name == what.policy)
			for (std::size_t i = 0; i < policy.settings.size(); ++i)
				settings[policy.settings[i].name] = what.settings.value[i];
	return settings;
}

json errors_of(const pm_counters &counted)
{
	json errors = json::array();
	for (int code = 0; code < PM_COUNTED_ERRNOS; ++code)
		if (counted.errors[code])
			errors.push_back({{"errno", code},
					  {"error", code ? std::strerror(code) : "another error"},
					  {"count", counted.errors[code]}});
	return errors;
}

template <std::size_t N, std::size_t M>
json by_name(const named (&names)[N], const pm_u64 (&values)[M])
{
	json object = json::object();
	for (const named &each : names)
		object[each.name] = values[each.place];
	return object;
}

json describe(const attached &one)
{
	const pm_attachment &what = one.what;
	const pm_counters &counted = one.counted;
	json events = json::object();
	for (unsigned i = 0; i < PM_NOTIFICATION_COUNT; ++i)
		events[notification_names[i]] = counted.notified[i];
	const pm_u64 begun = counted.notified[PM_NOTIFIED_created], ended = counted.notified[PM_NOTIFIED_closed];
	return {{"name", what.name},
		{"policy", what.policy},
		{"settings", settings_of(what)},
		{"netns", what.netns_name},
		{"netns_inode", what.netns_inode},
		{"netns_cookie", what.netns_cookie},
		{"state", name_of(one.state)},
		{"path_manager", one.now},
		{"before", what.before},
		{"attached_ns", what.attached_ns},
		{"verified_instructions", what.verified_instructions},
		{"connections", {{"open", begun > ended ? begun - ended : 0}}},
		{"events", events},
		{"looks",
		 {{"done", counted.works},
		  {"needless", counted.works_skipped},
		  {"put_off_busy", counted.pool_exhausted},
		  {"put_off_memory", counted.storage_failed}}},
		{"commands", by_name(command_names, counted.commands)},
		{"errors", errors_of(counted)},
		{"no_room",
		 {{"local_address", counted.full_locals},
		  {"remote_address", counted.full_remotes},
		  {"subflow", counted.full_subflows},
		  {"removal", counted.removals_lost}}},
		{"exhausted_pairs", counted.exhausted},
		{"holds", counted.holds},
		{"retries", counted.retries},
		{"refused", by_name(refusal_names, counted.refused)}};
}

std::string listed(const json &object)
{
	std::string text;
	for (const auto &[name, value] : object.items())
		if (const auto number = value.get<std::uint64_t>())
			text += fmt::format("{}{} {}", text.empty() ? "" : ", ", number, name);
	return text.empty() ? "none" : text;
}

std::string place_text(const json &one)
{
	const auto name = one.at("netns").get<std::string>();
	return fmt::format("network namespace {} (inode {})", name.empty() ? "without a name" : name,
			   one.at("netns_inode").get<std::uint64_t>());
}

std::string describe(const json &one)
{
	std::string settings;
	for (const auto &[name, value] : one.at("settings").items())
		settings += fmt::format(" {}={}", name, value.get<std::uint64_t>());
	const auto state = one.at("state").get<std::string>();
	std::string text =
		fmt::format("attached     {}: policy {}{}, {}, {}{}\n"
			    "connections  {} open; before, '{}' was the path manager\n"
			    "events       {}\n"
			    "looks        {} at connections, {} needless, {} put off for want of room, {} of memory\n"
			    "commands     {}\n",
			    one.at("name").get<std::string>(), one.at("policy").get<std::string>(), settings,
			    place_text(one), state,
			    state == "passed over" ? fmt::format(" for '{}'", one.at("path_manager").get<std::string>())
						   : "",
			    one.at("connections").at("open").get<std::uint64_t>(), one.at("before").get<std::string>(),
			    listed(one.at("events")), one.at("looks").at("done").get<std::uint64_t>(),
			    one.at("looks").at("needless").get<std::uint64_t>(),
			    one.at("looks").at("put_off_busy").get<std::uint64_t>(),
			    one.at("looks").at("put_off_memory").get<std::uint64_t>(), listed(one.at("commands")));
	for (const json &error : one.at("errors"))
		text += fmt::format("  refused    {} times: {}\n", error.at("count").get<std::uint64_t>(),
				    error.at("error").get<std::string>());
	return text + fmt::format("no room for  {}\n"
				  "patience     {} holds of a busy connection, {} retries after failures\n"
				  "guard        refused: {}\n",
				  listed(one.at("no_room")), one.at("holds").get<std::uint64_t>(),
				  one.at("retries").get<std::uint64_t>(), listed(one.at("refused")));
}

// Names go into labels: those of attachments are words, errors have no quotes.
std::string label(std::string_view name, const std::string &value) { return fmt::format("{}=\"{}\"", name, value); }

struct metric {
	const char *name, *type, *help;
	const char *path; // in the JSON of an attachment: a number, or an object of numbers
	const char *by; // the label for the names in that object
};
constexpr metric metrics[] = {
	{"connections", "gauge", "MPTCP connections that the policy manages.", "/connections/open", nullptr},
	{"events", "counter", "What the kernel told of, by callback.", "/events", "event"},
	{"looks", "counter", "Connections read back and compared.", "/looks/done", nullptr},
	{"looks_put_off", "counter", "Looks put off because too many were under way.", "/looks/put_off_busy", nullptr},
	{"commands", "counter", "Commands to the kernel, by type.", "/commands", "command"},
	{"no_room", "counter", "What did not fit into a connection's tables.", "/no_room", "for"},
	{"holds", "counter", "Times that a connection was held for causing too many commands.", "/holds", nullptr},
	{"retries", "counter", "Connections looked at again after failures.", "/retries", nullptr},
	{"refused", "counter", "What the guard refused, by reason.", "/refused", "reason"},
};

void header(std::string &out, const char *name, const char *type, const char *help)
{
	out += fmt::format("# TYPE pathlab_attached_{0} {1}\n# HELP pathlab_attached_{0} {2}\n", name, type, help);
}

void sample(std::string &out, const char *name, bool counts, const std::string &labels, std::uint64_t value)
{
	out += fmt::format("pathlab_attached_{}{}{{{}}} {}\n", name, counts ? "_total" : "", labels, value);
}

} // namespace

json to_json(const std::vector<attached> &all)
{
	json array = json::array();
	for (const attached &one : all)
		array.push_back(describe(one));
	return array;
}

std::string to_text(const json &attachments)
{
	std::string text;
	for (const json &one : attachments)
		text += (text.empty() ? "" : "\n") + describe(one);
	return text;
}

std::string to_openmetrics(const json &attachments)
{
	std::string out;
	for (const metric &each : metrics) {
		const bool counts = std::string_view{each.type} == "counter";
		header(out, each.name, each.type, each.help);
		for (const json &one : attachments) {
			const std::string whose = label("attachment", one.at("name").get<std::string>());
			const json &value = one.at(json::json_pointer(each.path));
			if (!each.by) {
				sample(out, each.name, counts, whose, value.get<std::uint64_t>());
				continue;
			}
			for (const auto &[name, number] : value.items())
				sample(out, each.name, counts, whose + ',' + label(each.by, name),
				       number.get<std::uint64_t>());
		}
	}
	header(out, "commands_refused", "counter", "Commands that the kernel refused, by error.");
	for (const json &one : attachments)
		for (const json &error : one.at("errors"))
			sample(out, "commands_refused", true,
			       label("attachment", one.at("name").get<std::string>()) + ',' +
				       label("error", error.at("error").get<std::string>()),
			       error.at("count").get<std::uint64_t>());
	return out;
}

} // namespace pm::bpf
