// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Attachments as folders below /sys/fs/bpf/pathlab/: each holds what is pinned of one. A folder is filled under another name
// and renamed when it is whole, so that whoever is killed leaves either nothing, or a whole one, or one whose name says that
// it is to be swept away. All commands take turns by a lock on the folder, which goes with the process that has it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pm-netlink/error.hpp"
#include "pm-netlink/netns.hpp"

namespace pm::bpf {

class pin_folder {
public:
	static constexpr const char *usual = "/sys/fs/bpf/pathlab";

	// Makes the folder if there is none; waits for its lock. Fails where there is no file system of type bpf.
	[[nodiscard]] static expected<pin_folder> open(const std::string &path = usual);

	[[nodiscard]] std::string path_of(const std::string &name) const { return path_ + '/' + name; }
	[[nodiscard]] bool has(const std::string &name) const;
	[[nodiscard]] std::vector<std::string> names() const; // of whole attachments
	[[nodiscard]] std::vector<std::string> unfinished() const; // names of attachments whose making has begun

	// Empty, for a new attachment.
	[[nodiscard]] expected<void> begin(const std::string &name) const;
	[[nodiscard]] expected<void> pin(const std::string &name, const std::string &what, int fd) const; // in that
	// It is whole; takes the place of one there was. `aside` (may be empty) is called when what goes has lost its name and is
	// still to be cleared.
	[[nodiscard]] expected<void> finish(const std::string &name, const std::function<void()> &aside = {}) const;
	void abandon(const std::string &name) const;
	[[nodiscard]] expected<void> make_room(const std::string &name) const; // to remove it: what can fail of that
	[[nodiscard]] expected<void> remove(const std::string &name,
					    const std::function<void()> &aside = {}) const; // a whole one
	void sweep() const; // what an interrupted remove() has left

	// A pinned object of a whole attachment, or of an unfinished one.
	[[nodiscard]] descriptor open_pin(const std::string &name, const std::string &what) const;
	[[nodiscard]] descriptor open_unfinished(const std::string &name, const std::string &what) const;

private:
	pin_folder(descriptor lock, std::string path) noexcept : lock_(std::move(lock)), path_(std::move(path)) {}
	[[nodiscard]] std::vector<std::string> listed() const;
	void clear(const std::string &folder) const;

	descriptor lock_;
	std::string path_;
};

} // namespace pm::bpf
