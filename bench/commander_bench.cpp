// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Commands to real connections of a laboratory: through the commander, which sends a batch at a time, against the least
// that a program can do, one send and one receive for each. The same commands, on the same connections, in turn. What
// the kernel does for a command (a packet with MP_PRIO, a handshake) is in both figures, on the same processor.
#include <array>
#include <cerrno>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/topics.hpp"
#include "pathlab/terminal.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/commander.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mptcp_info.hpp"
#include "pm-netlink/wire.hpp"
#include "replay/clock.hpp"
#include "replay/interrupt.hpp"
#include "replay/lab.hpp"

namespace pm::bench {

namespace {

using replay::lab;

constexpr std::size_t connection_count = netlink::commander::batch;
constexpr std::size_t backup_commands = 12'800, subflow_commands = 640, refused_commands = 32'000;
constexpr std::uint16_t server_port = 1000, first_client_port = 2000;

enum kind : std::size_t { backup, open_subflow, close_subflow, refused, everything };
constexpr const char *names[everything] = {"set backup", "open subflow", "close subflow", "unknown token"};
enum who : std::size_t { bare, batched, everybody };

// Connections on path 0, held open; the server listens on, because the subflows join there.
struct connections {
	netlink::event_source server_events; // without a listener to its events the server accepts no join
	descriptor listener;
	std::vector<descriptor> sockets;
	struct end {
		std::uint32_t token;
		std::uint16_t port;
	};
	std::vector<end> clients;
};

expected<descriptor> mptcp_socket(const netns &where)
{
	return in_namespace(where, []() -> expected<descriptor> {
		descriptor made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
		if (!made)
			return fail_errno("cannot open an MPTCP socket");
		return made;
	});
}

// Bytes have gone both ways when it returns: only then does a connection take subflows.
expected<void> connect_one(const lab &where, connections &to)
{
	const auto address = replay::to_sockaddr(lab::server_address(0, false), server_port);
	auto client = mptcp_socket(where.client);
	if (!client)
		return tl::unexpected(client.error());
	char byte = 1;
	sockaddr_in own{};
	socklen_t own_length = sizeof own;
	if (::connect(client->get(), address.get(), address.length) != 0)
		return fail_errno("cannot connect");
	descriptor server(::accept(to.listener.get(), nullptr, nullptr));
	if (!server || ::write(client->get(), &byte, 1) != 1 || ::read(server.get(), &byte, 1) != 1 ||
	    ::write(server.get(), &byte, 1) != 1 || ::read(client->get(), &byte, 1) != 1 ||
	    ::getsockname(client->get(), reinterpret_cast<sockaddr *>(&own), &own_length) != 0)
		return fail_errno("cannot make an MPTCP connection");
	const auto info = read_mptcp_info(client->get());
	if (!info)
		return fail_errno("cannot make an MPTCP connection");
	to.clients.push_back({info->mptcpi_token, ntohs(own.sin_port)});
	to.sockets.push_back(std::move(*client));
	to.sockets.push_back(std::move(server));
	return {};
}

expected<connections> connect_all(const lab &where)
{
	for (const netns *side : {&where.client, &where.server})
		if (auto set = side->set_sysctl("net.mptcp.pm_type", "1"); !set)
			return tl::unexpected(set.error());
	// Nobody reads them: with a small buffer that does not change anything halfway.
	auto events = in_namespace(where.server, [] { return netlink::event_source::open({.buffer_bytes = 1}); });
	if (!events)
		return tl::unexpected(events.error());
	auto listener = mptcp_socket(where.server);
	if (!listener)
		return tl::unexpected(listener.error());
	connections made{std::move(*events), std::move(*listener), {}, {}};
	const auto address = replay::to_sockaddr(lab::server_address(0, false), server_port);
	if (::bind(made.listener.get(), address.get(), address.length) != 0 ||
	    ::listen(made.listener.get(), connection_count) != 0)
		return fail_errno("cannot listen");
	for (std::size_t i = 0; i < connection_count; ++i)
		if (auto done = connect_one(where, made); !done)
			return tl::unexpected(done.error());
	return made;
}

// One message sent, one answer received, for each command.
class bare_loop {
public:
	[[nodiscard]] static expected<bare_loop> open()
	{
		const auto family = netlink::ask_family();
		if (!family)
			return tl::unexpected(family.error());
		descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
		if (!socket)
			return fail_errno("cannot open a netlink socket");
		return bare_loop(std::move(socket), family->id);
	}
	expected<void> run(std::span<const pm_command> commands, int expected_error)
	{
		std::array<std::byte, netlink::max_message> out;
		std::array<std::byte, 512> in;
		for (const pm_command &command : commands) {
			const std::size_t length = netlink::encode_command(command, family_, ++seq_, out);
			if (::send(socket_.get(), out.data(), length, 0) < 0)
				return fail_errno("cannot send to the netlink socket");
			if (::recv(socket_.get(), in.data(), in.size(), 0) < 0)
				return fail_errno("cannot receive from the netlink socket");
			const int error = -netlink::wire::load<nlmsgerr>(in.data() + NLMSG_HDRLEN).error;
			if (error != expected_error)
				return fail(fmt::format("a command yielded errno {}, not {}", error, expected_error));
		}
		return {};
	}

private:
	bare_loop(descriptor socket, std::uint16_t family) noexcept : socket_(std::move(socket)), family_(family) {}
	descriptor socket_;
	std::uint16_t family_;
	std::uint32_t seq_ = 0;
};

expected<void> run_batched(netlink::commander &to, std::span<const pm_command> commands, int expected_error)
{
	std::size_t wrong = 0;
	std::string first;
	for (const pm_command &command : commands)
		to.queue(command);
	while (to.queued() > 0) {
		const auto done = to.exchange([&](const netlink::command_answer &each) {
			if (each.error != expected_error && wrong++ == 0)
				first = fmt::format("a command yielded errno {} ({}), not {}", each.error, each.text,
						    expected_error);
		});
		if (!done)
			return tl::unexpected(done.error());
	}
	return wrong == 0 ? expected<void>() : fail(first);
}

class bench_run {
public:
	bench_run(job &work, const connections &to, bare_loop loop, netlink::commander sender)
		: work_(work), to_(to), loop_(std::move(loop)), sender_(std::move(sender))
	{
	}

	expected<void> measure()
	{
		const unsigned repetitions = work_.quick ? 3 : 15;
		for (unsigned i = 0; i < repetitions && !replay::interrupted(); ++i) {
			work_.tell(static_cast<double>(i) / repetitions, "commands to real connections");
			for (std::size_t turn = 0; turn < everybody; ++turn)
				if (auto ran = measure_once(static_cast<who>((turn + i) % everybody)); !ran)
					return ran;
		}
		for (std::size_t what = 0; what < everything; ++what)
			work_.figures.push_back({fmt::format("{}, in batches", names[what]), unit::per_second,
						 replay::summarize(rates_[what][batched]), "one by one",
						 replay::summarize(rates_[what][bare]),
						 target{0.9, target::at_least, true}});
		return {};
	}

private:
	expected<void> measure_once(who by)
	{
		const auto opens = subflows(PM_OPEN_SUBFLOW), closes = subflows(PM_CLOSE_SUBFLOW);
		for (std::size_t at = 0; at < subflow_commands; at += connection_count) {
			const auto some = [&](const auto &of) { return std::span(of).subspan(at, connection_count); };
			if (auto ran = timed(open_subflow, by, some(opens), 0); !ran)
				return ran;
			if (auto ran = timed(close_subflow, by, some(closes), 0); !ran)
				return ran;
		}
		next_port_ = static_cast<std::uint16_t>(next_port_ + subflow_commands);
		if (auto ran = timed(backup, by, backups(), 0); !ran)
			return ran;
		if (auto ran = timed(refused, by, refusals(), EINVAL); !ran)
			return ran;
		for (std::size_t what = 0; what < everything; ++what) {
			const auto [commands, ns] = std::exchange(spent_[what], {});
			rates_[what][by].push_back(static_cast<double>(commands) * 1e9 / static_cast<double>(ns));
		}
		return {};
	}

	expected<void> timed(kind what, who by, std::span<const pm_command> commands, int expected_error)
	{
		const std::uint64_t start = now_ns();
		auto ran = by == bare ? loop_.run(commands, expected_error)
				      : run_batched(sender_, commands, expected_error);
		spent_[what].ns += now_ns() - start;
		spent_[what].commands += commands.size();
		return ran ? std::move(ran) : fail(fmt::format("{}: {}", names[what], ran.error().text));
	}

	// Each from a port of its own: one that was used is taken for a minute (TIME_WAIT).
	std::vector<pm_command> subflows(pm_u8 type) const
	{
		std::vector<pm_command> made(subflow_commands);
		for (std::size_t i = 0; i < made.size(); ++i) {
			pm_command &command = made[i];
			command.type = type;
			command.token = to_.clients[i % connection_count].token;
			command.local = lab::client_address(1, false);
			command.local_id = 1;
			command.local_port = static_cast<std::uint16_t>(next_port_ + i);
			command.remote = lab::server_address(0, false);
			command.remote_port = server_port;
		}
		return made;
	}
	std::vector<pm_command> backups() const
	{
		std::vector<pm_command> made(backup_commands);
		for (std::size_t i = 0; i < made.size(); ++i) {
			const auto &[token, port] = to_.clients[i % connection_count];
			pm_command &command = made[i];
			command.type = PM_SET_BACKUP;
			command.token = token;
			command.flags = i / connection_count % 2 ? 0 : PM_BACKUP;
			command.local = lab::client_address(0, false);
			command.local_port = port;
			command.remote = lab::server_address(0, false);
			command.remote_port = server_port;
		}
		return made;
	}
	std::vector<pm_command> refusals() const
	{
		pm_command command = subflows(PM_OPEN_SUBFLOW).front();
		command.token = 1; // the kernel's are random: that it exists is as likely as 32 in 4 billion
		return std::vector<pm_command>(refused_commands, command);
	}

	struct spent {
		std::uint64_t commands = 0, ns = 0;
	};
	job &work_;
	const connections &to_;
	bare_loop loop_;
	netlink::commander sender_;
	std::uint16_t next_port_ = first_client_port;
	std::array<spent, everything> spent_{};
	std::array<std::array<std::vector<double>, everybody>, everything> rates_;
};

} // namespace

expected<void> measure_commands(job &work)
{
	const auto where = lab::create({.paths = 2, .endpoints = false});
	if (!where)
		return tl::unexpected(where.error());
	const auto to = connect_all(*where);
	if (!to)
		return tl::unexpected(to.error());
	return in_namespace(where->client, [&]() -> expected<void> {
		replay::stay_on_cpu(replay::sending_cpu);
		auto loop = bare_loop::open();
		if (!loop)
			return tl::unexpected(loop.error());
		auto sender = netlink::commander::open();
		if (!sender)
			return tl::unexpected(sender.error());
		return bench_run(work, *to, std::move(*loop), std::move(*sender)).measure();
	});
}

} // namespace pm::bench
