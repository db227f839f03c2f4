// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/results_file.hpp"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <unistd.h>

namespace pm::report {

namespace fs = std::filesystem;

namespace {

using pointer = json::json_pointer;

enum class type { text, number, number_or_text, list, object, text_or_null };

bool is(const json &value, type wanted)
{
	switch (wanted) {
	case type::text: return value.is_string();
	case type::number: return value.is_number();
	case type::number_or_text: return value.is_number() || value.is_string();
	case type::list: return value.is_array();
	case type::object: return value.is_object();
	case type::text_or_null: return value.is_string() || value.is_null();
	}
	return false;
}

struct field {
	const char *where;
	type what;
};

// What the reports look at without asking first.
constexpr field of_results[] = {{"/machine", type::object},
				{"/versions", type::object},
				{"/replay", type::list},
				{"/stress", type::list},
				{"/left_out", type::list}};
constexpr field of_replay_run[] = {{"/backend", type::text},        {"/policy", type::text},
				   {"/trace", type::text},          {"/pace", type::object},
				   {"/emitted", type::number},      {"/lost", type::object},
				   {"/decisions", type::object},    {"/latency_ns", type::object},
				   {"/offered_per_s", type::number}};
constexpr field of_stress_run[] = {{"/scenario", type::text},
				   {"/backend", type::text},
				   {"/policy", type::text},
				   {"/place", type::text},
				   {"/load", type::object},
				   {"/load/rate", type::number_or_text},
				   {"/repetition", type::number},
				   {"/excluded", type::text_or_null},
				   {"/connections/asked", type::number},
				   {"/connections/made", type::number},
				   {"/subflows", type::object},
				   {"/missing", type::object}};
constexpr field of_left_out[] = {{"/backend", type::text}, {"/place", type::text}, {"/reason", type::text}};

// Where an object is not as it should be; empty if it is.
template <std::size_t N>
std::string first_wrong(const json &object, const field (&fields)[N])
{
	if (!object.is_object())
		return "(it is no object)";
	for (const field &each : fields) {
		const pointer at{each.where};
		if (!object.contains(at) || !is(object.at(at), each.what))
			return each.where;
	}
	return {};
}

template <std::size_t N>
std::string first_wrong_in(const json &list, const char *name, const field (&fields)[N])
{
	for (std::size_t i = 0; i < list.size(); ++i)
		if (const std::string wrong = first_wrong(list[i], fields); !wrong.empty())
			return fmt::format("/{}/{}{}", name, i, wrong);
	return {};
}

void exclude_what_does_not_add_up(json &run)
{
	const json &events = run.value("events", json{});
	if (!run.at("excluded").is_null() || !events.is_object())
		return;
	std::uint64_t sum = events.value("delivered", std::uint64_t{0});
	for (const auto &[stage, count] : events.at("lost").items())
		sum += count.get<std::uint64_t>();
	const auto emitted = events.value("emitted", std::uint64_t{0});
	if (sum != emitted)
		run["excluded"] = fmt::format("its sum does not close: {} events emitted, {} delivered or lost",
					      emitted, sum);
}

tl::unexpected<error> fail_with_errno(const std::string &what, const std::string &path, int number)
{
	std::error_code ignored;
	fs::remove(path + ".part", ignored);
	errno = number;
	return fail_errno(fmt::format("cannot {} {}", what, path));
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
	std::string wrong = first_wrong(data, of_results);
	if (wrong.empty())
		wrong = first_wrong_in(data.at("replay"), "replay", of_replay_run);
	if (wrong.empty())
		wrong = first_wrong_in(data.at("stress"), "stress", of_stress_run);
	if (wrong.empty())
		wrong = first_wrong_in(data.at("left_out"), "left_out", of_left_out);
	if (!wrong.empty())
		return fail(fmt::format("{} is not as its schema {} has it: {} is missing or of another type", name,
					results_schema, wrong));
	for (json &run : data.at("stress")) {
		try {
			exclude_what_does_not_add_up(run);
		} catch (const json::exception &) {
			return fail(fmt::format(
				"{} is not as its schema {} has it: the events of a stress run are no numbers", name,
				results_schema));
		}
	}
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
	json data = json::parse(text.str(), nullptr, false);
	if (data.is_discarded())
		return fail(fmt::format("{} is no JSON, or was cut off", file));
	auto checked = check_results(file, std::move(data));
	if (checked)
		checked->name = path;
	return checked;
}

expected<void> write_whole(const std::string &path, const std::string &text)
{
	const std::string part = path + ".part";
	std::FILE *file = std::fopen(part.c_str(), "we");
	if (!file)
		return fail_errno(fmt::format("cannot write {}", path));
	const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0 &&
			     fsync(fileno(file)) == 0;
	const int why = errno;
	if (std::fclose(file) != 0 || !written)
		return fail_with_errno("write", path, written ? errno : why);
	if (std::rename(part.c_str(), path.c_str()) != 0)
		return fail_with_errno("write", path, errno);
	return {};
}

} // namespace pm::report
