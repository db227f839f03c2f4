// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/daemon.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pm-netlink/clock.hpp"
#include "pm-netlink/status_socket.hpp"

namespace pm::replay {

namespace fs = std::filesystem;

namespace {
constexpr int patience_ms = 10'000;
}

std::string daemon_program()
{
	std::error_code ignored;
	const fs::path built = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "../pm-netlink/pm-netlinkd";
	return fs::exists(built, ignored) ? built.string() : PATHLAB_DAEMON_INSTALLED;
}

// Its descriptor, which daemons inherit under the same number, is the only name that it has.
daemon_folder::daemon_folder(descriptor root)
	: root_(std::move(root)), path_(fmt::format("/proc/self/fd/{}", root_.get()))
{
}

expected<daemon_folder> daemon_folder::make()
{
	const descriptor settings(::fsopen("tmpfs", FSOPEN_CLOEXEC));
	if (!settings || ::fsconfig(settings.get(), FSCONFIG_SET_STRING, "mode", "700", 0) != 0 ||
	    ::fsconfig(settings.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
		return fail_errno("cannot make a file system in memory (tmpfs) for a daemon's files");
	descriptor root(::fsmount(settings.get(), 0, 0));
	if (!root)
		return fail_errno("cannot open the file system in memory for a daemon's files (fsmount)");
	return daemon_folder(std::move(root));
}

expected<running_daemon> running_daemon::start(const std::vector<std::string> &arguments, const std::string &program)
{
	auto folder = daemon_folder::make();
	if (!folder)
		return tl::unexpected(folder.error());
	running_daemon made(std::move(*folder));
	const std::string &run_folder = made.folder_.path();
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "{}/notify", run_folder);
	const descriptor notify(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	if (!notify || ::bind(notify.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
		return fail_errno("cannot make a socket on which pm-netlinkd says that it is ready");
	std::vector<std::string> command{program};
	command.insert(command.end(), arguments.begin(), arguments.end());
	const std::string to_try = fmt::format("{}", fmt::join(command, " ")); // by hand, where that folder is not
	command.insert(command.end(), {"--run-dir", run_folder});
	::setenv("NOTIFY_SOCKET", address.sun_path, 1);
	const std::uint64_t begun = now_ns();
	auto started = child::start(command);
	::unsetenv("NOTIFY_SOCKET");
	if (!started)
		return tl::unexpected(started.error());
	made.process_ = std::make_unique<child>(std::move(*started));
	for (int waited = 0;; waited += 10) {
		pollfd ready{notify.get(), POLLIN, 0};
		if (::poll(&ready, 1, 10) == 1)
			break;
		if (!made.process_->alive())
			return fail(fmt::format("pm-netlinkd ended at once; `{}` may say why", to_try));
		if (waited >= patience_ms)
			return fail("pm-netlinkd was not ready within 10 seconds");
	}
	made.startup_ns_ = now_ns() - begun;
	return made;
}

expected<nlohmann::json> running_daemon::status() const { return netlink::ask_status(folder_.path()); }
void running_daemon::resync() const noexcept { ::kill(process_->pid(), SIGUSR1); }

} // namespace pm::replay
