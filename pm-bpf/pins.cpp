// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/pins.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace pm::bpf {

namespace {

// Neither is in the name of an attachment. (A dot would do elsewhere, but the kernel reserves it in this file system.)
constexpr std::string_view being_made = "+new", being_removed = "+old";

bool ends_with_mark(const std::string &name) { return name.find('+') != name.npos; }

tl::unexpected<error> folder_error(const std::string &what)
{
	if (errno == EPERM || errno == EACCES)
		return fail(what + ": not permitted; run as root (the folder is root's)");
	return fail_errno(what);
}

bool is_of_type_bpf(const std::string &path)
{
	struct statfs of{};
	return ::statfs(path.c_str(), &of) == 0 && of.f_type == BPF_FS_MAGIC;
}

} // namespace

expected<pin_folder> pin_folder::open(const std::string &path)
{
	const std::string above = std::filesystem::path(path).parent_path();
	if (!is_of_type_bpf(above) && (errno == EACCES || errno == EPERM || ::access(above.c_str(), X_OK) == 0))
		return fail(fmt::format("{} is not a file system of type bpf, where attached policies are kept: "
					"`mount -t bpf bpf {}`",
					above, above));
	if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
		return folder_error(fmt::format("cannot make the folder {} for attached policies", path));
	descriptor lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!lock || ::flock(lock.get(), LOCK_EX) != 0)
		return folder_error(fmt::format("cannot open {}, where attached policies are kept", path));
	return pin_folder(std::move(lock), path);
}

bool pin_folder::has(const std::string &name) const
{
	struct stat of{};
	return ::stat(path_of(name).c_str(), &of) == 0;
}

std::vector<std::string> pin_folder::listed() const
{
	std::vector<std::string> names;
	std::error_code wrong;
	for (const auto &each : std::filesystem::directory_iterator(path_, wrong))
		names.push_back(each.path().filename());
	std::sort(names.begin(), names.end());
	return names;
}

std::vector<std::string> pin_folder::names() const
{
	auto all = listed();
	std::erase_if(all, ends_with_mark);
	return all;
}

std::vector<std::string> pin_folder::unfinished() const
{
	std::vector<std::string> names;
	for (const std::string &each : listed())
		if (each.ends_with(being_made))
			names.push_back(each.substr(0, each.size() - being_made.size()));
	return names;
}

void pin_folder::clear(const std::string &folder) const
{
	std::error_code wrong; // nobody could do more about it
	for (const auto &each : std::filesystem::directory_iterator(path_of(folder), wrong))
		::unlink(each.path().c_str());
	::rmdir(path_of(folder).c_str());
}

expected<void> pin_folder::begin(const std::string &name) const
{
	abandon(name);
	const std::string path = path_of(name + std::string{being_made});
	if (::mkdir(path.c_str(), 0700) != 0)
		return folder_error(fmt::format("cannot make the folder {}", path));
	return {};
}

expected<void> pin_folder::pin(const std::string &name, const std::string &what, int fd) const
{
	const std::string path = path_of(name + std::string{being_made}) + '/' + what;
	if (bpf_obj_pin(fd, path.c_str()) != 0)
		return folder_error(fmt::format("cannot pin {}", path));
	return {};
}

expected<void> pin_folder::finish(const std::string &name, const std::function<void()> &aside) const
{
	const std::string made = path_of(name + std::string{being_made});
	const bool replaces = has(name);
	if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, path_of(name).c_str(),
			replaces ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0)
		return folder_error(fmt::format("cannot rename {}", made));
	if (replaces) {
		if (aside)
			aside();
		abandon(name); // by now the old one
	}
	return {};
}

void pin_folder::abandon(const std::string &name) const { clear(name + std::string{being_made}); }

expected<void> pin_folder::make_room(const std::string &name) const
{
	const std::string leaving = name + std::string{being_removed};
	clear(leaving);
	if (has(leaving))
		return fail(fmt::format("{} is in the way, and is not of pathlab: `rm -r` it", path_of(leaving)));
	return {};
}

expected<void> pin_folder::remove(const std::string &name, const std::function<void()> &aside) const
{
	const std::string leaving = name + std::string{being_removed};
	if (auto made = make_room(name); !made)
		return made;
	if (::rename(path_of(name).c_str(), path_of(leaving).c_str()) != 0)
		return folder_error(fmt::format("cannot remove {}", path_of(name)));
	if (aside)
		aside();
	clear(leaving);
	return {};
}

void pin_folder::sweep() const
{
	for (const std::string &each : listed())
		if (each.ends_with(being_removed))
			clear(each);
}

descriptor pin_folder::open_pin(const std::string &name, const std::string &what) const
{
	return descriptor(bpf_obj_get((path_of(name) + '/' + what).c_str()));
}

descriptor pin_folder::open_unfinished(const std::string &name, const std::string &what) const
{
	return open_pin(name + std::string{being_made}, what);
}

} // namespace pm::bpf
