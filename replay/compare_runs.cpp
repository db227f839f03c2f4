// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/compare_runs.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "replay/whole_file.hpp"

namespace pm::replay {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char *about_name = "about";

std::string file_of(const std::string &folder, const std::string &name) { return folder + '/' + name + ".json"; }

std::optional<json> read(const std::string &file)
{
	std::ifstream stream{file};
	if (!stream)
		return {};
	json data = json::parse(stream, nullptr, false);
	return data.is_discarded() ? std::nullopt : std::optional{std::move(data)};
}

expected<void> write(const std::string &file, const json &what) { return write_whole(file, what.dump() + '\n'); }

// Other files in there are not ours.
expected<void> forget(const std::string &runs)
{
	std::error_code error;
	if (!fs::exists(runs, error))
		return {};
	for (const auto &entry : fs::directory_iterator{runs, error})
		if (entry.path().extension() == ".json" && !fs::remove(entry.path(), error))
			break;
	if (error)
		return fail(fmt::format("cannot remove the earlier runs in {}: {}", runs, error.message()));
	return {};
}

} // namespace

expected<void> forget_kept(const std::string &folder) { return forget(folder + "/runs"); }

expected<kept_runs> kept_runs::open(const std::string &folder, const json &about, bool resume)
{
	kept_runs kept{folder + "/runs", about, resume};
	if (!resume)
		return kept;
	const auto before = read(file_of(kept.folder_, about_name));
	if (before && *before != about)
		return fail(fmt::format(
			"{} was measured with other options or by another kernel or pathlab ({}): resume with the "
			"same, or begin anew in another folder",
			folder, before->dump()));
	if (std::error_code error; !before && fs::exists(folder + "/results.json", error))
		return fail(
			fmt::format("there is nothing to resume in {}, whose results are of something else: measure in "
				    "another folder",
				    folder));
	kept.any_ = before.has_value();
	return kept;
}

expected<void> kept_runs::begin()
{
	std::error_code error;
	if (!resumes_)
		if (auto forgotten = forget(folder_); !forgotten)
			return forgotten;
	fs::create_directories(folder_, error);
	if (error)
		return fail(fmt::format("cannot make the folder {}: {}", folder_, error.message()));
	begun_ = true;
	return write(file_of(folder_, about_name), about_);
}

std::optional<json> kept_runs::find(const std::string &name) const
{
	return resumes_ ? read(file_of(folder_, name)) : std::nullopt;
}

expected<void> kept_runs::keep(const std::string &name, const json &what)
{
	if (!begun_)
		if (auto ready = begin(); !ready)
			return ready;
	any_ = true;
	return write(file_of(folder_, name), what);
}

std::vector<json> read_kept(const std::string &folder, const std::string &beginning)
{
	std::vector<std::pair<fs::file_time_type, fs::path>> files; // in the order in which they ran
	std::error_code error;
	for (const auto &entry : fs::directory_iterator{folder + "/runs", error})
		if (entry.path().extension() == ".json" && entry.path().filename().string().starts_with(beginning))
			files.emplace_back(entry.last_write_time(error), entry.path());
	std::sort(files.begin(), files.end());
	std::vector<json> all;
	for (const auto &[written, file] : files)
		if (auto data = read(file))
			all.push_back(std::move(*data));
	return all;
}

} // namespace pm::replay
