// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/whole_file.hpp"

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

namespace pm::replay {

namespace {

tl::unexpected<error> fail_without_part(const std::string &path, int number)
{
	std::error_code ignored;
	std::filesystem::remove(path + ".part", ignored);
	errno = number;
	return fail_errno(fmt::format("cannot write {}", path));
}

} // namespace

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
		return fail_without_part(path, written ? errno : why);
	if (std::rename(part.c_str(), path.c_str()) != 0)
		return fail_without_part(path, errno);
	return {};
}

} // namespace pm::replay
