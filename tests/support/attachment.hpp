// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The real `pathlab attach`, in a network namespace, and what it leaves attached until a test ends. On a kernel with
// kernel-patches/.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/daemon.hpp"

namespace pm::test {

struct said {
	int status = -1; // the exit code, or 128 + the signal that ended it
	std::string out, err;
};

// pathlab with these arguments, in a network namespace, to its end. `as`: a command before it, such as setpriv(1).
[[nodiscard]] said pathlab(const netns &where, const words &arguments, const words &as = {});

// It was refused for this reason: in one sentence, and nothing else was said.
void expect_refused(const said &answer, const std::string &words, int status = 1);

// Where attached policies are kept: mounts the file system if it is not there.
void mount_bpf();
// What there is, whole or half made.
[[nodiscard]] std::vector<std::string> kept();
// Nothing attached, nothing half attached: what an earlier test has left is taken off.
void detach_all();

// How many BPF objects the kernel has.
struct in_the_kernel {
	in_the_kernel();
	[[nodiscard]] bool within(const in_the_kernel &other) const;
	friend void PrintTo(const in_the_kernel &it, std::ostream *out);
	unsigned programs, maps, links;
};
// What is freed is freed later; what there was before may be freed too.
void expect_no_more_than(const in_the_kernel &before);

class attachment {
public:
	// Throws, with what it said, unless it is attached.
	attachment(const netns &where, const words &arguments);
	attachment(const attachment &) = delete;
	attachment &operator=(const attachment &) = delete;
	~attachment(); // detaches it

	[[nodiscard]] const std::string &name() const noexcept { return name_; }
	[[nodiscard]] nlohmann::json status() const; // null: it is not there any more
	[[nodiscard]] std::uint64_t figure(const std::string &name) const; // one number of it, say "/looks/done"

private:
	const netns &where_;
	std::string name_;
};

// Of which policy the table is that the kernel calls.
[[nodiscard]] std::string policy_of_table(const std::string &name);

// All that `pathlab status` lists.
[[nodiscard]] nlohmann::json attachments(const netns &where);

} // namespace pm::test
