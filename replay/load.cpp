// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The load as a whole: starts its two ends, files what they found, waits for the kernel to be done.
#include "load.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <fstream>
#include <sstream>
#include <sys/resource.h>
#include <thread>

#include <fmt/format.h>

#include "load_ends.hpp"

namespace pm::replay {

using namespace load_ends;

namespace {

constexpr std::uint64_t most_connections = 10'000'000; // about 100 bytes each

std::vector<load_step> steps_of(const load_options &options)
{
	return options.steps.empty() ? std::vector<load_step>{{options.connections, options.rate}} : options.steps;
}

expected<load_schedule> check(const load_options &options)
{
	const auto steps = steps_of(options);
	for (const auto &[connections, rate] : steps) {
		if (connections < 1 || connections > most_connections)
			return fail(fmt::format("a load of {} connections was asked for; ask for 1 to {}", connections,
						most_connections));
		if (!(rate > 0) || !std::isfinite(rate))
			return fail(
				fmt::format("a load of {} connections a second was asked for; ask for a rate above 0",
					    rate));
		if (static_cast<double>(connections) / rate > 1e7)
			return fail(fmt::format(
				"a load of {} connections at {} a second would take months; ask for a higher rate",
				connections, rate));
	}
	if (!options.ipv4 && !options.ipv6)
		return fail(
			"a load of neither IPv4 nor IPv6 connections was asked for; ask for one of them or for both");
	return load_schedule(steps);
}

// How many connections may be open at once: both ends are ours, and others in this process need a few files, too.
std::size_t raise_file_limit()
{
	rlimit limit{};
	if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 400;
	if (limit.rlim_cur != limit.rlim_max) {
		const rlimit raised{limit.rlim_max, limit.rlim_max};
		if (::setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	const std::size_t files = std::min<rlim_t>(limit.rlim_cur, 1u << 20);
	return files > 256 ? (files - 128) / 2 : files / 4;
}

// How many MPTCP sockets the namespace has, those without a file descriptor included.
expected<std::uint64_t> mptcp_sockets(const netns &where)
{
	return in_namespace(where, []() -> expected<std::uint64_t> {
		std::ifstream file("/proc/thread-self/net/protocols");
		std::uint64_t total = 0;
		bool found = false;
		for (std::string line; std::getline(file, line);) {
			std::istringstream words(line);
			std::string name;
			std::uint64_t size = 0, sockets = 0;
			if (words >> name >> size >> sockets && (name == "MPTCP" || name == "MPTCPv6")) {
				total += sockets;
				found = true;
			}
		}
		if (!found)
			return fail("cannot count MPTCP sockets: /proc/net/protocols does not list them");
		return total;
	});
}

expected<std::uint64_t> mptcp_sockets(const lab &l)
{
	const auto client = mptcp_sockets(l.client);
	if (!client)
		return client;
	return mptcp_sockets(l.server).map([&](std::uint64_t server) { return *client + server; });
}

// The server's thread, which ends with this object: at once, or when all is closed, but no later than told.
class serving {
public:
	explicit serving(echo_server &server) : server_(server), thread_([&server] { server.serve(); }) {}
	serving(const serving &) = delete;
	serving &operator=(const serving &) = delete;
	~serving() { finish(clock::now()); }
	void finish(clock::time_point until)
	{
		if (!thread_.joinable())
			return;
		server_.finish(until);
		thread_.join();
	}

private:
	echo_server &server_;
	std::thread thread_;
};

// Closing a socket does not end the connection: the last messages are exchanged behind it. Yields what is left then.
expected<std::uint64_t> await_sockets(const lab &l, std::uint64_t before, clock::time_point until)
{
	for (;;) {
		const auto there = mptcp_sockets(l);
		if (!there || *there <= before)
			return there.map([](std::uint64_t) -> std::uint64_t { return 0; });
		if (clock::now() >= until)
			return *there - before;
		std::this_thread::sleep_for(std::chrono::milliseconds(2));
	}
}

} // namespace

expected<load_report> run_load(const lab &l, const load_options &options)
try {
	const auto schedule = check(options);
	if (!schedule)
		return tl::unexpected(schedule.error());
	const std::size_t most_open = raise_file_limit();
	const auto before = mptcp_sockets(l);
	if (!before)
		return tl::unexpected(before.error());
	auto server = in_namespace(l.server, [&] { return echo_server::listen(schedule->connections(), most_open); });
	if (!server)
		return tl::unexpected(server.error());

	load_report report;
	report.asked = schedule->connections();
	report.scheduled_seconds = std::chrono::duration<double>(schedule->length()).count();
	client_side clients(options, *schedule, server->open(), report);
	serving thread(*server);
	const auto ran = in_namespace(l.client, [&] { return clients.run(most_open); });
	const auto until = clock::now() +
			   (ran ? std::chrono::milliseconds(options.patience_ms) : std::chrono::milliseconds(0));
	thread.finish(until);
	if (!ran)
		return tl::unexpected(ran.error());
	for (auto &[i, connection] : clients.made()) {
		connection.server_token = server->accounts[i].token;
		connection.announced = server->accounts[i].announced;
		report.connections.push_back(connection);
	}
	const auto left = await_sockets(l, *before, until);
	if (!left)
		return tl::unexpected(left.error());
	report.left_open = *left;
	return report;
} catch (const std::exception &e) {
	return fail(fmt::format("cannot make {} connections: {}", load_schedule(steps_of(options)).connections(),
				e.what()));
}

} // namespace pm::replay
