// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/results_file.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace pm::report {

namespace fs = std::filesystem;

namespace {

using pointer = json::json_pointer;

// number: 0 or more, and such that sums of it are exact enough; difference: may be below 0. name: goes into the pictures'
// scripts, the page's ids and commands for a shell, so it has no sign that means something there. counts: by stage.
enum class type { text, texts, name, number, difference, rate, flag, list, object, counts, pairs };

constexpr double largest_number = 1e18;

bool is_number(const json &value) { return value.is_number() && value.get<double>() <= largest_number; }
bool is_count(const json &value) { return is_number(value) && value.get<double>() >= 0; }
bool is_pair(const json &value)
{
	return value.is_array() && value.size() == 2 && is_count(value[0]) && is_count(value[1]);
}

bool is_text(const json &value) { return value.is_string(); }

bool is_word(const std::string &text)
{
	return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

bool is_name(const json &value) { return value.is_string() && is_word(value.get_ref<const std::string &>()); }

bool are_counts(const json &value)
{
	for (const auto &[stage, count] : value.items())
		if (!is_word(stage) || !is_count(count))
			return false;
	return value.is_object();
}

bool is(const json &value, type wanted)
{
	switch (wanted) {
	case type::text: return is_text(value);
	case type::texts: return value.is_array() && std::all_of(value.begin(), value.end(), is_text);
	case type::name: return is_name(value);
	case type::number: return is_count(value);
	case type::difference: return is_number(value) && value.get<double>() >= -largest_number;
	case type::rate: return is_count(value) || value == "max";
	case type::flag: return value.is_boolean();
	case type::list: return value.is_array();
	case type::object: return value.is_object();
	case type::counts: return are_counts(value);
	case type::pairs: return value.is_array() && std::all_of(value.begin(), value.end(), is_pair);
	}
	return false;
}

enum class presence { required, optional }; // optional: may be missing, or null

struct field {
	const char *where;
	type what;
	presence there = presence::required; // if the object that it is in is there
};

// Every field that a report looks at.
constexpr presence optional = presence::optional;
constexpr field of_results[] = {
	{"/machine", type::object},
	{"/machine/processor", type::text, optional},
	{"/versions", type::object},
	{"/versions/method", type::number, optional},
	{"/virtual_machine", type::object, optional},
	{"/virtual_machine/machine", type::object, optional},
	{"/virtual_machine/machine/processor", type::text, optional},
	{"/virtual_machine/probes", type::object, optional},
	{"/command", type::text, optional},
	{"/started", type::text, optional},
	{"/complete", type::flag, optional},
	{"/failure", type::text, optional},
	{"/probes", type::object, optional},
	{"/replay", type::list},
	{"/stress", type::list},
	{"/left_out", type::list},
};
constexpr field of_probes[] = {
	{"/rate_with", type::number},
	{"/rate_without", type::number},
	{"/cost_share", type::difference, optional},
	{"/repetitions", type::number, optional},
	{"/backend", type::name, optional},
	{"/ratio", type::object, optional},
	{"/ratio/median", type::number},
	{"/ratio/low", type::number, optional},
	{"/ratio/high", type::number, optional},
	{"/ratio/min", type::number},
	{"/ratio/max", type::number},
};
constexpr field of_latency[] = {
	{"/n", type::number},   {"/p50", type::number}, {"/p90", type::number},
	{"/p99", type::number}, {"/max", type::number}, {"/histogram", type::pairs},
};
constexpr field of_replay_run[] = {
	{"/backend", type::name},
	{"/policy", type::name},
	{"/place", type::name, optional},
	{"/trace", type::text},
	{"/excluded", type::text, optional},
	{"/pace", type::object},
	{"/pace/rate", type::rate, optional},
	{"/pace/speed", type::number, optional},
	{"/settings", type::texts, optional},
	{"/emitted", type::number},
	{"/delivered", type::number},
	{"/lost", type::counts},
	{"/decisions", type::object},
	{"/decisions/expected", type::number, optional},
	{"/decisions/missing", type::number, optional},
	{"/tail_delivered", type::number, optional},
	{"/cpu_ns_per_event", type::number, optional},
	{"/latency_ns", type::object},
	{"/offered_per_s", type::number},
};
constexpr field of_stress_run[] = {
	{"/scenario", type::name},
	{"/backend", type::name},
	{"/policy", type::name},
	{"/place", type::name},
	{"/settings", type::texts, optional},
	{"/load", type::object},
	{"/load/rate", type::rate},
	{"/load/families", type::name, optional},
	{"/load/connections", type::number, optional},
	{"/load/paths", type::number, optional},
	{"/load/buffer_bytes", type::number, optional},
	{"/load/announced", type::number, optional},
	{"/load/contention", type::number, optional},
	{"/load/priority", type::name, optional},
	{"/load/delay_us", type::number, optional},
	{"/load/megabits", type::number, optional},
	{"/repetition", type::number},
	{"/excluded", type::text, optional},
	{"/connections", type::object},
	{"/connections/asked", type::number},
	{"/connections/made", type::number},
	{"/connections/failed", type::number, optional},
	{"/events", type::object, optional},
	{"/events/emitted", type::number},
	{"/events/delivered", type::number},
	{"/events/acted_on", type::number, optional},
	{"/events/lost", type::counts},
	{"/commands", type::object, optional},
	{"/commands/sent", type::number},
	{"/commands/accepted", type::number},
	{"/commands/refused", type::number},
	{"/subflows", type::object},
	{"/subflows/expected", type::number, optional},
	{"/subflows/client", type::number, optional},
	{"/subflows/server", type::number, optional},
	{"/subflows/missing", type::number, optional},
	{"/missing", type::object},
	{"/missing/at_end", type::number, optional},
	{"/missing/path_seconds", type::number, optional},
	{"/missing/timeline_ms", type::pairs, optional},
	{"/join_latency_ns", type::object, optional},
	{"/rate", type::object, optional},
	{"/rate/made_per_s", type::number, optional},
	{"/cpu_ns_per_connection", type::object, optional},
	{"/cpu_ns_per_connection/path_manager", type::number, optional},
	{"/cpu_ns_per_connection/machine", type::number, optional},
	{"/memory_kib", type::number, optional},
	{"/recovery_ms", type::number, optional},
	{"/moving_ms", type::number, optional},
};
constexpr field of_left_out[] = {{"/backend", type::name},
				 {"/place", type::name},
				 {"/part", type::text, optional},
				 {"/reason", type::text}};

// What is there and not null.
const json *find(const json &in, const pointer &at)
{
	return in.contains(at) && !in.at(at).is_null() ? &in.at(at) : nullptr;
}

// What is wrong with the first field that is not as it should be, in words; empty if all are.
template <std::size_t N>
std::string first_wrong(const json &object, const std::string &where, const field (&fields)[N])
{
	if (!object.is_object())
		return where + " is no object";
	for (const field &each : fields) {
		const pointer at{each.where};
		const json *value = find(object, at);
		if (!value && (each.there == presence::optional || !find(object, at.parent_pointer())))
			continue;
		if (value && is(*value, each.what))
			continue;
		if (value && value->is_string() && each.what == type::name)
			return fmt::format("{}{} may only have a-z, 0-9 and - in it, and has {}", where, each.where,
					   value->dump(-1, ' ', true, json::error_handler_t::replace));
		return fmt::format("{}{} is {}", where, each.where,
				   value ? "of another type, or out of range" : "missing");
	}
	return {};
}

// The same, of what may be missing.
template <std::size_t N>
std::string first_wrong_at(const json &in, const char *at, const std::string &where, const field (&fields)[N])
{
	const json *there = find(in, pointer{at});
	return there ? first_wrong(*there, where + at, fields) : std::string{};
}

std::string first_wrong_run(const json &run, const std::string &where)
{
	const bool stress = where.starts_with("/stress");
	std::string wrong = stress ? first_wrong(run, where, of_stress_run) : first_wrong(run, where, of_replay_run);
	return wrong.empty() ? first_wrong_at(run, stress ? "/join_latency_ns" : "/latency_ns", where, of_latency)
			     : wrong;
}

std::string first_wrong_of(const json &data)
{
	std::string wrong = first_wrong(data, "", of_results);
	for (const char *probes : {"/probes", "/virtual_machine/probes"})
		if (wrong.empty())
			wrong = first_wrong_at(data, probes, "", of_probes);
	for (const char *list : {"replay", "stress", "left_out"})
		for (std::size_t i = 0; wrong.empty() && i < data.at(list).size(); ++i) {
			const json &each = data.at(list)[i];
			const std::string where = fmt::format("/{}/{}", list, i);
			wrong = list == std::string_view{"left_out"} ? first_wrong(each, where, of_left_out)
								     : first_wrong_run(each, where);
		}
	return wrong;
}

void exclude_what_does_not_add_up(json &run, const json &events)
{
	if (find(run, pointer{"/excluded"}))
		return;
	auto sum = events.at("delivered").get<std::uint64_t>();
	for (const auto &[stage, count] : events.at("lost").items())
		sum += count.get<std::uint64_t>();
	const auto emitted = events.at("emitted").get<std::uint64_t>();
	if (sum != emitted)
		run["excluded"] = fmt::format("its sum does not close: {} events emitted, {} delivered or lost",
					      emitted, sum);
}

} // namespace

expected<results> check_results(const std::string &name, json data)
{
	if (!data.is_object() || !data.contains("schema"))
		return fail(fmt::format("{} is no results.json of pathlab: it has no schema", name));
	if (data.at("schema") != results_schema)
		return fail(fmt::format(
			"{} has the schema {}, this pathlab reads {}: measure again, or use the pathlab that wrote it",
			name, data.at("schema").dump(), results_schema));
	// A replay has no stress, a stress no replay: these lists are empty then.
	for (const char *list : {"replay", "stress", "left_out"})
		if (!data.contains(list))
			data[list] = json::array();
	if (const std::string wrong = first_wrong_of(data); !wrong.empty())
		return fail(fmt::format("{} is not as its schema {} has it: {}", name, results_schema, wrong));
	for (json &run : data.at("stress"))
		if (find(run, pointer{"/events"}))
			exclude_what_does_not_add_up(run, run.at("events"));
	for (json &run : data.at("replay"))
		exclude_what_does_not_add_up(run, run);
	return results{name, std::move(data)};
}

expected<results> read_results(const std::string &path)
{
	std::error_code ignored;
	const std::string file = fs::is_directory(path, ignored) ? (fs::path{path} / "results.json").string() : path;
	errno = 0;
	std::ifstream stream{file};
	if (!stream)
		return fail_errno(fmt::format("cannot read the results {}", file));
	std::stringstream text;
	text << stream.rdbuf();
	if (stream.bad())
		return fail_errno(fmt::format("cannot read the results {}", file));
	constexpr int deepest = 64; // ours are 6 deep; what walks through them is recursive
	bool too_deep = false;
	json data = json::parse(
		text.str(), [&](int depth, json::parse_event_t, json &) { return !(too_deep |= depth > deepest); },
		false);
	if (too_deep)
		return fail(
			fmt::format("{} is no results.json of pathlab: it is nested more than {} deep", file, deepest));
	if (data.is_discarded())
		return fail(fmt::format("{} is no JSON, or was cut off", file));
	auto checked = check_results(file, std::move(data));
	if (checked)
		checked->name = path;
	return checked;
}

std::optional<double> number_at(const json &in, const char *where)
{
	const json *found = find(in, pointer{where});
	return found && found->is_number() ? std::optional{found->get<double>()} : std::nullopt;
}

bool is_of_all(const json &left_out) { return left_out.value("part", json{}).is_null(); }

std::vector<absence> absences_of(const results &all)
{
	std::vector<absence> absences;
	for (const json &each : all.data.at("left_out")) {
		const std::string place = each.at("place"),
				  part = is_of_all(each) ? "" : each.at("part").get<std::string>() + ": ",
				  reason = part + each.at("reason").get<std::string>();
		auto same = std::find_if(absences.begin(), absences.end(), [&](const absence &known) {
			return known.place == place && known.reason == reason;
		});
		if (same == absences.end())
			same = absences.insert(same, {{}, place, reason});
		same->backends.push_back(each.at("backend"));
	}
	return absences;
}

} // namespace pm::report
