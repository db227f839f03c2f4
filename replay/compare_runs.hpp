// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The runs of a comparison as they are finished: one file each, so that whatever ends it costs one run at most, and a
// later one can go on.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "pm-netlink/error.hpp"

namespace pm::replay {

class kept_runs {
public:
	// In FOLDER/runs. `about` says what was asked for: to go on, it has to be the same as before. Not to go on: the files
	// of an earlier comparison go when the first of this one is kept.
	[[nodiscard]] static expected<kept_runs> open(const std::string &folder, const nlohmann::json &about,
						      bool resume);

	[[nodiscard]] std::optional<nlohmann::json> find(const std::string &name) const;
	[[nodiscard]] expected<void> keep(const std::string &name, const nlohmann::json &what);
	[[nodiscard]] bool any() const noexcept { return any_; } // kept by us, or found

private:
	kept_runs(std::string folder, nlohmann::json about, bool resume)
		: folder_(std::move(folder)), about_(std::move(about)), resumes_(resume)
	{
	}
	expected<void> begin();

	std::string folder_;
	nlohmann::json about_;
	bool resumes_, begun_ = false, any_ = false;
};

// Nothing is kept in FOLDER/runs any more.
[[nodiscard]] expected<void> forget_kept(const std::string &folder);
// All that is kept in FOLDER/runs and whose name begins so, in the order of names.
[[nodiscard]] std::vector<nlohmann::json> read_kept(const std::string &folder, const std::string &beginning);

} // namespace pm::replay
