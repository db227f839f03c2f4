// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Where a comparison writes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "pm-netlink/error.hpp"

namespace pm::replay {

// The folder for the results. A comparison that fails before its first run has ended leaves nothing in it.
class output_folder {
public:
	explicit output_folder(const std::string &path) : path_(path) {}
	output_folder(const output_folder &) = delete;
	~output_folder()
	{
		std::error_code ignored;
		if (kept_)
			return;
		for (const std::string &file : files_)
			std::filesystem::remove(file, ignored);
		for (const std::filesystem::path &folder : made_)
			std::filesystem::remove(folder, ignored); // unless something else is in it
	}

	[[nodiscard]] expected<void> make()
	{
		std::error_code error;
		for (std::filesystem::path folder = path_; !folder.empty() && !std::filesystem::exists(folder, error);
		     folder = folder.parent_path())
			made_.push_back(folder);
		std::filesystem::create_directories(path_, error);
		if (error || access(path_.c_str(), W_OK | X_OK) != 0)
			return fail(fmt::format("cannot write into the output folder {}: {}", path_,
						error ? error.message() : "no permission"));
		return {};
	}
	// The path of a file that is about to be written; one of an earlier comparison is not this one's to remove.
	[[nodiscard]] std::string add(const std::string &name)
	{
		const std::string file = path_ + '/' + name;
		std::error_code ignored;
		if (!std::filesystem::exists(file, ignored))
			files_.push_back(file);
		return file;
	}
	void keep() { kept_ = true; }

private:
	std::string path_;
	std::vector<std::string> files_;
	std::vector<std::filesystem::path> made_;
	bool kept_ = false;
};

} // namespace pm::replay
