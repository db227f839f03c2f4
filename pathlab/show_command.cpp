// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab show: the events of a trace, a line each (JSON: an object each, one per line, since traces may be long).
#include <arpa/inet.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pm-core/address.hpp"
#include "replay/interrupt.hpp"
#include "replay/trace.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::string file;
};

std::string_view name_of(u8 type)
{
	switch (type) {
	case PM_CREATED: return "created";
	case PM_ESTABLISHED: return "established";
	case PM_CLOSED: return "closed";
	case PM_ANNOUNCED: return "announced";
	case PM_REMOVED: return "removed";
	case PM_SUB_ESTABLISHED: return "sub_established";
	case PM_SUB_CLOSED: return "sub_closed";
	case PM_SUB_PRIORITY: return "sub_priority";
	case PM_LISTENER_CREATED: return "listener_created";
	case PM_LISTENER_CLOSED: return "listener_closed";
	case PM_LOCAL_ADDED: return "local_added";
	case PM_LOCAL_REMOVED: return "local_removed";
	default: return "unknown";
	}
}

std::string to_text(const pm_addr &address)
{
	char text[INET6_ADDRSTRLEN] = {};
	if (is_ipv4(address))
		inet_ntop(AF_INET, address.bytes + 12, text, sizeof text);
	else
		inet_ntop(AF_INET6, address.bytes, text, sizeof text);
	return text;
}

std::string with_port(const pm_addr &address, u16 port)
{
	if (port == 0)
		return to_text(address);
	return is_ipv4(address) ? fmt::format("{}:{}", to_text(address), port)
				: fmt::format("[{}]:{}", to_text(address), port);
}

// What a line says besides time, type and token, as pairs of a name and a value.
nlohmann::ordered_json details(const pm_event &event)
{
	nlohmann::ordered_json all = nlohmann::ordered_json::object();
	const bool connection = event.type == PM_CREATED || event.type == PM_ESTABLISHED;
	const bool subflow = event.type >= PM_SUB_ESTABLISHED && event.type <= PM_SUB_PRIORITY;
	if (event.has_local)
		all["local"] = with_port(event.local, event.local_port);
	if (event.has_remote)
		all["remote"] = with_port(event.remote, event.remote_port);
	if (subflow)
		all["local_id"] = event.local_id;
	if (subflow || event.type == PM_ANNOUNCED || event.type == PM_REMOVED)
		all["remote_id"] = event.remote_id;
	if (connection)
		all["side"] = event.flags & PM_SERVER_SIDE ? "server" : "client";
	if (event.flags & PM_DENY_JOIN_ID0)
		all["deny_join_id0"] = true;
	if (event.flags & PM_BACKUP)
		all["backup"] = true;
	if (event.ifindex)
		all["ifindex"] = event.ifindex;
	if (event.error)
		all["error"] = event.error;
	return all;
}

void print_text(const pm_event &event)
{
	std::string line = fmt::format("{:>14.6f}  {:<16}", static_cast<double>(event.time_ns) / 1e9,
				       name_of(event.type));
	if (event.token)
		line += fmt::format("  {:08x}", event.token);
	const nlohmann::ordered_json rest = details(event);
	for (const auto &[name, value] : rest.items())
		line += fmt::format("  {} {}", name, value.is_string() ? value.get<std::string>() : value.dump());
	fmt::print("{}\n", line);
}

void print_json(const pm_event &event)
{
	nlohmann::ordered_json object = {{"seq", event.seq},
					 {"time_ns", event.time_ns},
					 {"event", name_of(event.type)}};
	if (event.token)
		object["token"] = event.token;
	object.update(details(event));
	fmt::print("{}\n", object.dump());
}

expected<void> run(const options &asked, context &all)
{
	auto reader = replay::trace_reader::open(asked.file);
	if (!reader)
		return tl::unexpected(reader.error());
	for (;;) {
		const auto record = reader->next();
		if (!record)
			return tl::unexpected(record.error());
		if (!*record)
			return {};
		if (replay::interrupted())
			return replay::fail_interrupted();
		all.json ? print_json((*record)->event) : print_text((*record)->event);
		if (std::ferror(stdout))
			return fail_errno("cannot write to standard output");
	}
}

} // namespace

void add_show(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "show", "Print the events of a trace",
		[](CLI::App &command, options &o) { command.add_option("FILE", o.file, "The trace")->required(); },
		&run);
}

} // namespace pm::pathlab
