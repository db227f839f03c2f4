// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pm-netlinkd: a policy as a daemon over generic netlink. One thread: what it waits for are a few file descriptors, what it
// does for each is bounded, and the kernel's own work on a command is the larger part of it.
//
// Exit codes: 0 told to end (SIGTERM, SIGINT), 1 failed (said on stderr), 2 the command line or the settings file makes no
// sense: to start it again would not help (RestartPreventExitStatus= in its unit).
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pm-bpf/event_ring.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/privileges.hpp"
#include "pm-netlink/service.hpp"
#include "pm-netlink/status_socket.hpp"
#include "pm-netlink/tenure.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

constexpr int failed = 1, usage = 2;

struct options {
	std::string policy, name, config, events = "netlink", run_folder = default_run_folder;
	std::vector<std::string> assignments;
};

// A line for the journal or the terminal.
void say(const std::string &text) noexcept { std::fprintf(stderr, "pm-netlinkd: %s\n", text.c_str()); }

// The service manager, if there is one. The protocol is one datagram (sd_notify(3)).
class service_manager {
public:
	// Before another network namespace is entered: the name of the socket may be one of this one.
	service_manager()
	{
		const char *path = std::getenv("NOTIFY_SOCKET");
		sockaddr_un address{};
		address.sun_family = AF_UNIX;
		const std::string name = path ? path : "";
		if (name.empty() || name.size() >= sizeof address.sun_path)
			return;
		name.copy(address.sun_path, name.size());
		if (name[0] == '@')
			address.sun_path[0] = '\0'; // an abstract one
		const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
		descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		if (::connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), length) == 0)
			socket_ = std::move(socket);
	}
	void tell(const std::string &state) const { ::send(socket_.get(), state.data(), state.size(), MSG_NOSIGNAL); }

private:
	descriptor socket_;
};

// The settings file, if there is one or one was asked for, and the command line on top.
expected<manager_settings> read_settings(const options &asked, const policy_info &policy)
{
	manager_settings settings;
	const std::string usual = fmt::format("/etc/pathlab/{}.conf", policy.name);
	if (!asked.config.empty() || ::access(usual.c_str(), F_OK) == 0 || errno != ENOENT) {
		auto read = read_settings_file(asked.config.empty() ? usual : asked.config, policy);
		if (!read)
			return read;
		settings = std::move(*read);
	}
	for (const std::string &assignment : asked.assignments)
		if (auto done = assign_setting(settings, assignment, policy); !done)
			return tl::unexpected(done.error());
	return settings;
}

// Hears of the end of a namespace that has a name: `ip netns delete` removes it from its folder, although the namespace
// itself lives for as long as somebody, such as this process, is in it.
class name_watch {
public:
	static expected<name_watch> on(const std::string &name, const netns &named)
	{
		descriptor fd(name.empty() ? -1 : ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
		if (!name.empty() &&
		    (!fd || ::inotify_add_watch(fd.get(), "/run/netns", IN_DELETE | IN_MOVED_FROM) < 0))
			return fail_errno(fmt::format("cannot watch the name of network namespace '{}'", name));
		struct stat held{};
		::fstat(named.fd(), &held);
		return name_watch(std::move(fd), name, held);
	}
	int fd() const noexcept { return fd_.get(); }
	bool is_gone() const
	{
		alignas(inotify_event) char events[4096];
		while (::read(fd_.get(), events, sizeof events) > 0)
			;
		struct stat now{}; // another one may have the name already
		return ::stat(("/run/netns/" + name_).c_str(), &now) != 0 || now.st_dev != held_.st_dev ||
		       now.st_ino != held_.st_ino;
	}

private:
	name_watch(descriptor fd, std::string name, const struct stat &held)
		: fd_(std::move(fd)), name_(std::move(name)), held_(held)
	{
	}
	descriptor fd_;
	std::string name_;
	struct stat held_;
};

expected<descriptor> catch_signals()
{
	sigset_t caught;
	sigemptyset(&caught);
	for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGUSR1})
		sigaddset(&caught, each);
	sigprocmask(SIG_BLOCK, &caught, nullptr);
	descriptor fd(::signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC));
	if (!fd)
		return fail_errno("cannot wait for signals (signalfd)");
	return fd;
}

void reload(const options &asked, const policy_info &policy, service &serving, const service_manager &told)
{
	told.tell("RELOADING=1");
	const auto settings = read_settings(asked, policy);
	const auto done = settings ? serving.change(policy, *settings) : tl::unexpected(settings.error());
	say(done ? "took over the settings" : done.error().text + "; the settings are what they were");
	told.tell("READY=1");
}

// Until told to end. An error is what it could not go on after.
expected<void> serve(const options &asked, const policy_info &policy, service &serving, const status_socket &status,
		     const descriptor &signals, const name_watch &name, const service_manager &told)
{
	pollfd waiting[] = {{serving.fd(), POLLIN, 0},
			    {signals.get(), POLLIN, 0},
			    {status.fd(), POLLIN, 0},
			    {name.fd(), POLLIN, 0}};
	for (;;) {
		if (::poll(waiting, std::size(waiting), -1) < 0 && errno != EINTR)
			return fail_errno("cannot wait for events (poll)");
		if (waiting[0].revents)
			if (auto done = serving.dispatch(); !done)
				return done;
		if (waiting[2].revents)
			status.answer([&] { return serving.status(); });
		if (waiting[3].revents && name.is_gone())
			return fail(fmt::format("network namespace '{}' was deleted: there is nothing left to manage",
						asked.name));
		signalfd_siginfo signal{};
		if (!waiting[1].revents || ::read(signals.get(), &signal, sizeof signal) != sizeof signal)
			continue;
		if (signal.ssi_signo == SIGUSR1)
			serving.ask_for_resync();
		else if (signal.ssi_signo == SIGHUP)
			reload(asked, policy, serving, told);
		else
			return {};
	}
}

expected<void> run(const options &asked)
{
	const auto policy = find_policy(asked.policy);
	if (!policy)
		return tl::unexpected(policy.error());
	std::signal(SIGPIPE, SIG_IGN); // who reads what we say may go away
	const auto signals = catch_signals(); // from here on an end is an orderly one
	if (!signals)
		return tl::unexpected(signals.error());
	const service_manager told;
	const auto where = asked.name.empty() ? netns::current() : netns::open(asked.name);
	if (!where)
		return tl::unexpected(where.error());
	const auto name = name_watch::on(asked.name, *where);
	if (!name)
		return tl::unexpected(name.error());
	if (!asked.name.empty())
		if (auto entered = where->enter(); !entered)
			return entered;
	const auto settings = read_settings(asked, **policy); // an interface's name means one of this namespace
	if (!settings)
		return tl::unexpected(settings.error());
	std::unique_ptr<event_channel> events; // none: netlink
	if (asked.events == "ringbuf") {
		auto opened = bpf::event_ring::open(settings->buffer_bytes);
		if (!opened)
			return tl::unexpected(opened.error());
		events = std::move(*opened);
	}
	auto serving = service::start(**policy, *settings, say, std::move(events));
	if (!serving)
		return tl::unexpected(serving.error());
	auto held = tenure::begin(asked.run_folder);
	if (!held)
		return tl::unexpected(held.error());
	std::optional<status_socket> status;
	const auto leave = [&](expected<void> result) -> expected<void> {
		status.reset(); // while the lock is held: later it would be the next one's that it removes
		const auto set = held->end();
		if (!set && result)
			return tl::unexpected(set.error());
		if (set && *set != held->before())
			say(fmt::format("the path manager '{}', which was set before, is gone: '{}' is set now",
					held->before(), *set));
		return result;
	};
	auto listening = status_socket::listen(asked.run_folder);
	if (!listening)
		return leave(tl::unexpected(listening.error()));
	status.emplace(std::move(*listening));
	if (auto dropped = keep_only_net_admin(); !dropped)
		return leave(std::move(dropped));
	told.tell("READY=1\nSTATUS=managing paths: " + asked.policy);
	expected<void> served;
	try {
		served = serve(asked, **policy, **serving, *status, *signals, *name, told);
	} catch (const std::exception &unexpected) { // out of memory: the namespace is given back all the same
		served = fail(unexpected.what());
	}
	told.tell("STOPPING=1");
	return leave(std::move(served));
}

int parse_and_run(int argc, char **argv)
{
	options asked;
	CLI::App app{"Manages the paths of MPTCP connections over generic netlink.", "pm-netlinkd"};
	app.set_help_flag("-h,--help", "Print this help");
	app.set_version_flag("-V,--version", "pm-netlinkd " PACKAGE_VERSION);
	app.add_option("policy", asked.policy, "Which paths a connection should have (`pathlab policies` lists them)")
		->required();
	app.add_option("-n,--netns", asked.name, "Name of the network namespace (default: this one)")
		->check([](const std::string &name) { return std::string{name.empty() ? "a name is needed" : ""}; });
	app.add_option("--set", asked.assignments, "NAME=VALUE: a setting, on top of those of the file")
		->allow_extra_args(false);
	app.add_option("--config", asked.config,
		       "The settings file (default: /etc/pathlab/POLICY.conf, if there is one)");
	app.add_option("--events", asked.events,
		       "How events come: netlink, or ringbuf (a BPF ring buffer, for comparison; default: netlink)")
		->check(CLI::IsMember({"netlink", "ringbuf"}));
	app.add_option("--run-dir", asked.run_folder,
		       "Where the lock and the status socket are (default: /run/pathlab)");
	try {
		app.parse(argc, argv);
	} catch (const CLI::Success &said) { // for help, or the version
		return app.exit(said);
	} catch (const CLI::ParseError &wrong) {
		say(fmt::format("{} (`pm-netlinkd -h` helps)", wrong.what()));
		return usage;
	}
	const auto done = run(asked);
	if (done)
		return 0;
	say(done.error().text);
	return done.error().is_usage ? usage : failed;
}

} // namespace

int main(int argc, char **argv)
{
	try {
		return parse_and_run(argc, argv);
	} catch (const std::exception &unexpected) { // out of memory, and the like
		say(unexpected.what());
		return failed;
	}
}
