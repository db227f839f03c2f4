// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The forms of a status. JSON comes first; text and OpenMetrics are made of it, by whoever asked.
#include "pm-netlink/status.hpp"

#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace pm::netlink {

namespace {

using nlohmann::json;

std::string text_of(const pm_addr &address)
{
	char text[INET6_ADDRSTRLEN] = "";
	if (is_ipv4(address))
		inet_ntop(AF_INET, address.bytes + 12, text, sizeof text);
	else
		inet_ntop(AF_INET6, address.bytes, text, sizeof text);
	return text;
}

json refused_commands(const command_counters &commands)
{
	json refused = json::array();
	for (const auto &[code, kind] : commands.refused)
		refused.push_back({{"errno", code},
				   {"error", std::strerror(code)},
				   {"kernel_said", kind.text},
				   {"count", kind.count}});
	return refused;
}

json malformed_events(const event_counters &events)
{
	json reasons = json::object();
	for (std::size_t i = 0; i < refusal_count; ++i)
		reasons[std::string{to_string(static_cast<refusal>(i))}] = events.refused[i];
	return reasons;
}

std::uint64_t total(const json &object)
{
	std::uint64_t sum = 0;
	for (const auto &value : object)
		sum += value.is_object() ? value.at("count").get<std::uint64_t>() : value.get<std::uint64_t>();
	return sum;
}

std::string duration(std::uint64_t ns)
{
	const std::uint64_t seconds = ns / 1'000'000'000;
	if (seconds < 60)
		return fmt::format("{:.1f} s", static_cast<double>(ns) / 1e9);
	if (seconds < 3600)
		return fmt::format("{} min {} s", seconds / 60, seconds % 60);
	return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
}

// One sample of an OpenMetrics metric, with `labels` as in `{error="x"}`.
struct sample {
	std::string labels;
	std::uint64_t value;
};

// A label's value, escaped as OpenMetrics demands.
std::string label(std::string_view name, std::string_view value)
{
	std::string escaped;
	for (const char c : value) {
		if (c == '\\' || c == '"')
			escaped += '\\';
		escaped += c == '\n' ? ' ' : c;
	}
	return fmt::format("{}=\"{}\"", name, escaped);
}

void metric(std::string &out, std::string_view name, std::string_view type, std::string_view help,
	    const std::vector<sample> &samples)
{
	fmt::format_to(std::back_inserter(out), "# TYPE pathlab_{} {}\n# HELP pathlab_{} {}\n", name, type, name, help);
	for (const sample &one : samples)
		fmt::format_to(std::back_inserter(out), "pathlab_{}{}{} {}\n", name, type == "counter" ? "_total" : "",
			       one.labels.empty() ? "" : "{" + one.labels + "}", one.value);
}

} // namespace

void service_status::describe(const manager &managed)
{
	policy = managed.policy().name;
	for (std::size_t i = 0; const setting &each : managed.policy().settings)
		settings[each.name] = managed.settings().value[i++];
	connections = managed.connections();
	most_connections = managed.most_connections();
	managed.for_each([this](const pm_connection &c) {
		for (unsigned i = 0; i < c.subflows; ++i) {
			subflows += c.subflow[i].state == PM_SUBFLOW_ESTABLISHED;
			subflows_opening += c.subflow[i].state == PM_SUBFLOW_OPENING;
			subflows_closing += c.subflow[i].state == PM_SUBFLOW_CLOSING;
		}
	});
	const pm_namespace &ns = managed.locals();
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
		if (ns.present & bit(l))
			local_addresses.push_back(text_of(ns.local[l]));
	handled = managed.counted();
}

json to_json(const service_status &s)
{
	return {
		{"policy", s.policy},
		{"settings", s.settings},
		{"pid", s.pid},
		{"uptime_ns", s.uptime_ns},
		{"connections", {{"open", s.connections}, {"most", s.most_connections}}},
		{"subflows",
		 {{"established", s.subflows}, {"opening", s.subflows_opening}, {"closing", s.subflows_closing}}},
		{"local_addresses", s.local_addresses},
		{"events",
		 {{"delivered", s.events.delivered},
		  {"lost", s.events.lost},
		  {"foreign_sender", s.events.foreign_sender},
		  {"malformed", malformed_events(s.events)},
		  {"buffer_bytes", s.events.buffer_bytes},
		  {"buffer_used", s.events.buffer_used}}},
		{"handled",
		 {{"events", s.handled.events},
		  {"unknown_connection", s.handled.unknown},
		  {"ignored", s.handled.ignored},
		  {"table_full", s.handled.table_full},
		  {"full_locals", s.handled.full_locals},
		  {"full_remotes", s.handled.full_remotes},
		  {"full_subflows", s.handled.full_subflows},
		  {"exhausted", s.handled.exhausted}}},
		{"address_overruns", s.address_overruns},
		{"resyncs",
		 {{"done", s.resyncs.done},
		  {"failed", s.resyncs.failed},
		  {"postponed", s.resyncs.postponed},
		  {"running", s.resyncs.running},
		  {"last_ns", s.resyncs.last_ns},
		  {"adopted", s.resyncs.adopted},
		  {"dropped", s.resyncs.dropped},
		  {"lost_while_running", s.resyncs.lost_while_running}}},
		{"announcements",
		 {{"heard", s.announcements.heard},
		  {"missed", s.announcements.missed},
		  {"recovered", s.announcements.recovered},
		  {"unrecovered_connections", s.announcements.unrecovered}}},
		{"commands",
		 {{"sent", s.commands.sent},
		  {"accepted", s.commands.accepted},
		  {"refused", refused_commands(s.commands)},
		  {"unanswered", s.commands.unanswered},
		  {"queued", s.commands_queued}}},
		{"holds", s.holds},
		{"retries", {{"done", s.retries}, {"waiting", s.retries_waiting}}},
	};
}

std::string to_text(const json &s)
{
	std::string settings;
	for (const auto &[name, value] : s.at("settings").items())
		settings += fmt::format(" {}={}", name, value.get<std::uint64_t>());
	const auto number = [&](const char *group, const char *name) {
		return s.at(group).at(name).get<std::uint64_t>();
	};
	const json &refused = s.at("commands").at("refused");
	std::string out = fmt::format(
		"policy       {}{}, for {} (process {})\n"
		"connections  {} open, room for {}; subflows: {} established, {} opening, {} closing\n"
		"addresses    {}\n"
		"events       {} delivered, {} lost, {} from a foreign sender, {} malformed; buffer {} of {} bytes "
		"used\n"
		"handled      {} events, {} about unknown connections, {} with no room for the connection\n"
		"no room for  {} local addresses, {} remote addresses, {} subflows\n"
		"resyncs      {} done{}, {} failed; {} connections adopted, {} dropped; the latest took {:.1f} ms\n"
		"announced    {} heard, {} missed, {} recovered; {} connections may lack one\n"
		"commands     {} sent, {} accepted, {} refused, {} unanswered, {} queued\n",
		s.at("policy").get<std::string>(), settings, duration(s.at("uptime_ns").get<std::uint64_t>()),
		s.at("pid").get<std::uint64_t>(), number("connections", "open"), number("connections", "most"),
		number("subflows", "established"), number("subflows", "opening"), number("subflows", "closing"),
		fmt::join(s.at("local_addresses").get<std::vector<std::string>>(), ", "), number("events", "delivered"),
		number("events", "lost"), number("events", "foreign_sender"), total(s.at("events").at("malformed")),
		number("events", "buffer_used"), number("events", "buffer_bytes"), number("handled", "events"),
		number("handled", "unknown_connection"), number("handled", "table_full"),
		number("handled", "full_locals"), number("handled", "full_remotes"), number("handled", "full_subflows"),
		number("resyncs", "done"), s.at("resyncs").at("running").get<bool>() ? " (and one running)" : "",
		number("resyncs", "failed"), number("resyncs", "adopted"), number("resyncs", "dropped"),
		static_cast<double>(number("resyncs", "last_ns")) / 1e6, number("announcements", "heard"),
		number("announcements", "missed"), number("announcements", "recovered"),
		number("announcements", "unrecovered_connections"), number("commands", "sent"),
		number("commands", "accepted"), total(refused), number("commands", "unanswered"),
		number("commands", "queued"));
	for (const json &kind : refused) {
		const auto said = kind.at("kernel_said").get<std::string>();
		out += fmt::format("  refused    {} times: {}{}\n", kind.at("count").get<std::uint64_t>(),
				   kind.at("error").get<std::string>(), said.empty() ? "" : " (" + said + ")");
	}
	return out + fmt::format("patience     {} holds of a busy connection, {} retries after failures, {} "
				 "connections waiting\n",
				 s.at("holds").get<std::uint64_t>(), number("retries", "done"),
				 number("retries", "waiting"));
}

std::string to_openmetrics(const json &s)
{
	std::string out;
	const auto one = [&](const char *group, const char *name) {
		return std::vector<sample>{{"", s.at(group).at(name).get<std::uint64_t>()}};
	};
	const auto several = [](const json &object, std::string_view name) {
		std::vector<sample> samples;
		for (const auto &[key, value] : object.items())
			samples.push_back({label(name, key), value.get<std::uint64_t>()});
		return samples;
	};
	metric(out, "connections", "gauge", "MPTCP connections that are managed.", one("connections", "open"));
	metric(out, "subflows", "gauge", "Their subflows, by state.", several(s.at("subflows"), "state"));
	metric(out, "events", "counter", "Path-manager events that were read.", one("events", "delivered"));
	metric(out, "events_lost", "counter", "Events that the kernel dropped for want of buffer.",
	       one("events", "lost"));
	metric(out, "events_foreign", "counter", "Messages whose sender was not the kernel.",
	       one("events", "foreign_sender"));
	metric(out, "events_malformed", "counter", "Messages that could not be read, by reason.",
	       several(s.at("events").at("malformed"), "reason"));
	metric(out, "event_buffer_bytes", "gauge", "Size of the event socket's buffer.", one("events", "buffer_bytes"));
	metric(out, "event_buffer_used_bytes", "gauge", "What of it is in use.", one("events", "buffer_used"));
	metric(out, "table_full", "counter", "Connections that were not managed for want of room.",
	       one("handled", "table_full"));
	metric(out, "no_room", "counter", "What did not fit into a connection's tables.",
	       {{label("for", "local_address"), s.at("handled").at("full_locals").get<std::uint64_t>()},
		{label("for", "remote_address"), s.at("handled").at("full_remotes").get<std::uint64_t>()},
		{label("for", "subflow"), s.at("handled").at("full_subflows").get<std::uint64_t>()}});
	metric(out, "resyncs", "counter", "Times that the state was read back.", one("resyncs", "done"));
	metric(out, "resyncs_failed", "counter", "Times that it could not be.", one("resyncs", "failed"));
	metric(out, "announcements_heard", "counter", "Addresses that peers announced.", one("announcements", "heard"));
	metric(out, "announcements_missed", "gauge", "Announcements that no event told of.",
	       one("announcements", "missed"));
	metric(out, "announcements_recovered", "counter", "Announcements learnt from other connections.",
	       one("announcements", "recovered"));
	metric(out, "connections_unrecovered", "gauge", "Connections whose peer may have announced what was missed.",
	       one("announcements", "unrecovered_connections"));
	metric(out, "commands", "counter", "Commands sent to the kernel.", one("commands", "sent"));
	std::vector<sample> refused;
	for (const json &kind : s.at("commands").at("refused"))
		refused.push_back(
			{label("error", kind.at("error").get<std::string>()), kind.at("count").get<std::uint64_t>()});
	metric(out, "commands_refused", "counter", "Commands that it refused, by error.", refused);
	metric(out, "commands_unanswered", "counter", "Commands whose answer was lost.", one("commands", "unanswered"));
	metric(out, "commands_queued", "gauge", "Commands that wait to be sent.", one("commands", "queued"));
	metric(out, "holds", "counter", "Times that a connection was held for causing too many commands.",
	       {{"", s.at("holds").get<std::uint64_t>()}});
	metric(out, "retries", "counter", "Connections looked at again after failures.", one("retries", "done"));
	metric(out, "retries_waiting", "gauge", "Connections that wait to be looked at again.",
	       one("retries", "waiting"));
	return out + "# EOF\n";
}

} // namespace pm::netlink
