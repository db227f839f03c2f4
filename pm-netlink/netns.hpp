// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Network namespaces without names: held by a file descriptor, so that they are gone when this process is, however it
// ends. Makes no links and no addresses but loopback's; see lab.hpp.
#pragma once

#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "pm-netlink/error.hpp"

namespace pm {

// A file descriptor that closes itself.
class descriptor {
public:
	descriptor() = default;
	explicit descriptor(int fd) noexcept : fd_(fd) {}
	descriptor(descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
	descriptor &operator=(descriptor &&other) noexcept
	{
		std::swap(fd_, other.fd_);
		return *this;
	}
	~descriptor();
	[[nodiscard]] int get() const noexcept { return fd_; }
	explicit operator bool() const noexcept { return fd_ >= 0; }

private:
	int fd_ = -1;
};

// Writes, reads /proc/sys/NAME (dots or slashes, below net) of the calling thread's network namespace. CAP_NET_ADMIN in it
// is enough.
[[nodiscard]] expected<void> write_sysctl(const std::string &name, const std::string &value);
[[nodiscard]] expected<std::string> read_sysctl(const std::string &name);

// Needs CAP_SYS_ADMIN, except for current(); the errors say so.
class netns {
public:
	[[nodiscard]] static expected<netns> create(); // a new, empty one, loopback up
	[[nodiscard]] static expected<netns> open(const std::string &name); // one of `ip netns`
	[[nodiscard]] static expected<netns> current(); // the calling thread's
	[[nodiscard]] static netns of(descriptor fd) noexcept { return netns(std::move(fd)); } // one that was opened otherwise

	[[nodiscard]] int fd() const noexcept { return fd_.get(); }
	[[nodiscard]] expected<void> enter() const; // moves the calling thread there

	// The same of this namespace.
	[[nodiscard]] expected<void> set_sysctl(const std::string &name, const std::string &value) const;
	[[nodiscard]] expected<std::string> get_sysctl(const std::string &name) const;

private:
	descriptor fd_;
	explicit netns(descriptor fd) noexcept : fd_(std::move(fd)) {}
};

// Runs `work` to its end on a thread of its own, which then ends. Fails if there is no thread to be had, or with what
// an exception of `work` said.
[[nodiscard]] expected<void> on_own_thread(const std::function<void()> &work);

// Runs `work`, which yields an expected<T>, in namespace `where` on a thread of its own, so that the caller stays where
// it is; yields what `work` yielded. Sockets that `work` opens stay in `where` and may be used from any thread. A
// process that `work` starts with PR_SET_PDEATHSIG dies at once: that signal goes by the thread, not by the process.
template <class Work>
[[nodiscard]] std::invoke_result_t<Work &> in_namespace(const netns &where, Work &&work)
{
	std::invoke_result_t<Work &> result = fail("not run");
	auto ran = on_own_thread([&] {
		if (auto entered = where.enter(); !entered)
			result = tl::unexpected(std::move(entered.error()));
		else
			result = work();
	});
	if (!ran)
		return tl::unexpected(std::move(ran.error()));
	return result;
}

} // namespace pm
