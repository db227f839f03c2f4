// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The commander against the kernel: batches of commands to real connections of a laboratory, answers that are errors,
// are lost, are forged. What each command does is in command_test.cpp.
#include "pm-netlink/commander.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mptcp_info.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/wire.hpp"
#include "replay/lab.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;
using replay::lab;

constexpr std::uint16_t listen_port = 1000;

template <class T>
T value_of(expected<T> result)
{
	if (!result)
		throw std::runtime_error(result.error().text); // GoogleTest reports it
	return std::move(*result);
}

struct got_answer {
	pm_command command;
	int error;
	std::string text;
};

// Two namespaces under the userspace path manager, joined by two paths, and connections over the first of them.
class commander_live : public testing::Test {
protected:
	void SetUp() override
	{
		if (geteuid() != 0)
			GTEST_SKIP() << "network namespaces need root";
		world_.emplace(value_of(lab::create({.paths = 2, .endpoints = false})));
		for (const netns *side : {&world_->client, &world_->server})
			ASSERT_TRUE(side->set_sysctl("net.mptcp.pm_type", "1"));
		client_events_.emplace(open_events(world_->client));
		server_events_.emplace(open_events(world_->server)); // it accepts joins only while somebody listens
	}

	commander open_commander() const
	{
		return value_of(in_namespace(world_->client, [] { return commander::open(); }));
	}

	// Makes connections that take commands: bytes have gone both ways, and the server still listens, for joins.
	void connect(std::size_t count)
	{
		const auto address = replay::to_sockaddr(lab::server_address(0, false), listen_port);
		listener_ = mptcp_socket(world_->server);
		ASSERT_EQ(bind(listener_.get(), address.get(), address.length), 0) << strerror(errno);
		ASSERT_EQ(listen(listener_.get(), 100), 0);
		for (std::size_t i = 0; i < count; ++i) {
			descriptor client = mptcp_socket(world_->client);
			ASSERT_EQ(::connect(client.get(), address.get(), address.length), 0) << strerror(errno);
			descriptor server(accept(listener_.get(), nullptr, nullptr));
			char byte = 1;
			ASSERT_EQ(write(client.get(), &byte, 1), 1);
			ASSERT_EQ(read(server.get(), &byte, 1), 1);
			ASSERT_EQ(write(server.get(), &byte, 1), 1);
			ASSERT_EQ(read(client.get(), &byte, 1), 1);
			const auto info = read_mptcp_info(client.get());
			ASSERT_TRUE(info);
			tokens_.push_back(info->mptcpi_token);
			sockets_.push_back(std::move(client));
			sockets_.push_back(std::move(server));
		}
	}

	static pm_command make(pm_u8 type, std::uint32_t token)
	{
		pm_command command{};
		command.type = type;
		command.token = token;
		return command;
	}
	static pm_command open_of(std::uint32_t token, std::uint16_t local_port = 0)
	{
		pm_command command = make(PM_OPEN_SUBFLOW, token);
		command.local = lab::client_address(1, false);
		command.local_id = 1;
		command.local_port = local_port;
		command.remote = lab::server_address(0, false);
		command.remote_port = listen_port;
		return command;
	}
	static pm_command announcement_of(std::uint32_t token, pm_u8 id)
	{
		pm_command command = make(PM_ANNOUNCE, token);
		command.local = ipv4(10, 9, 9, id);
		command.local_id = id;
		return command;
	}

	// One exchange. The counters are to close at every moment, also while an answer is being handled.
	static std::vector<got_answer> exchange(commander &to)
	{
		std::vector<got_answer> answers;
		const std::size_t before = to.queued(), sent_before = to.counters().sent;
		const auto count = to.exchange([&](const command_answer &each) {
			answers.push_back({each.command, each.error, std::string(each.text)});
			expect_closed(to.counters());
		});
		if (!count)
			throw std::runtime_error(count.error().text);
		EXPECT_EQ(*count, answers.size());
		EXPECT_EQ(before - to.queued(), answers.size());
		EXPECT_EQ(to.counters().sent - sent_before, answers.size());
		return answers;
	}
	static void expect_closed(const command_counters &all)
	{
		std::uint64_t refused = 0;
		for (const auto &[error, kind] : all.refused) {
			EXPECT_GT(error, 0);
			refused += kind.count;
		}
		EXPECT_EQ(all.sent, all.accepted + refused + all.unanswered);
	}

	// The connections of which the client reports this event, until it is all of them or 5 s pass without another.
	std::multiset<std::uint32_t> heard(pm_u8 type, std::size_t count)
	{
		std::multiset<std::uint32_t> found;
		const auto look = [&](const pm_event &event) {
			if (event.type == type)
				found.insert(event.token);
		};
		while (found.size() < count) {
			pollfd ready{client_events_->fd(), POLLIN, 0};
			if (poll(&ready, 1, 5000) <= 0 || !client_events_->drain(look))
				break;
		}
		return found;
	}

	const lab &world() const { return *world_; }
	std::vector<std::uint32_t> tokens_; // of the client's ends

private:
	static event_source open_events(const netns &where)
	{
		return value_of(in_namespace(where, [] { return event_source::open({}); }));
	}
	static descriptor mptcp_socket(const netns &where)
	{
		return value_of(in_namespace(where, []() -> expected<descriptor> {
			descriptor made(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
			return made ? expected<descriptor>(std::move(made)) : fail_errno("an MPTCP socket");
		}));
	}

	std::optional<lab> world_;
	std::optional<event_source> client_events_, server_events_;
	descriptor listener_;
	std::vector<descriptor> sockets_;
};

// The descriptors of this process that are generic netlink sockets.
std::set<int> netlink_sockets()
{
	std::set<int> found;
	for (const auto &each : std::filesystem::directory_iterator("/proc/self/fd")) {
		const int fd = std::stoi(each.path().filename());
		int domain = 0, protocol = 0;
		socklen_t size = sizeof domain;
		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK &&
		    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == NETLINK_GENERIC)
			found.insert(fd);
	}
	return found;
}

// A commander's socket, which the kernel refuses to whoever is not the kernel until open_to_all().
class exposed_socket {
public:
	explicit exposed_socket(const std::set<int> &before)
	{
		for (const int fd : netlink_sockets())
			if (!before.contains(fd))
				fd_ = fd;
		socklen_t size = sizeof address_;
		if (fd_ < 0 || getsockname(fd_, reinterpret_cast<sockaddr *>(&address_), &size) != 0)
			throw std::runtime_error("the commander's socket was not found");
	}
	void open_to_all() const
	{
		const sockaddr nobody{AF_UNSPEC, {}};
		ASSERT_EQ(connect(fd_, &nobody, sizeof nobody), 0) << strerror(errno);
	}
	void set_buffer(int bytes) const { ASSERT_EQ(setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0); }
	[[nodiscard]] const sockaddr_nl &address() const { return address_; }

private:
	int fd_ = -1;
	sockaddr_nl address_{};
};

// Sends, from a socket of its own, an answer as the kernel would: the command of this number was refused. Yields 0, or
// why it could not.
int forge(const netns &where, const sockaddr_nl &to, std::uint32_t seq, int error)
{
	const auto sent = in_namespace(where, [&]() -> expected<int> {
		const descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
		std::array<std::byte, NLMSG_HDRLEN + sizeof(nlmsgerr)> message;
		wire::message_writer writer(message, NLMSG_ERROR, NLM_F_CAPPED, seq);
		nlmsgerr body{};
		body.error = -error;
		writer.append(&body, sizeof body);
		const ssize_t done = sendto(socket.get(), message.data(), writer.finish(), MSG_DONTWAIT,
					    reinterpret_cast<const sockaddr *>(&to), sizeof to);
		return done < 0 ? errno : 0;
	});
	return value_of(sent);
}

TEST_F(commander_live, a_batch_of_opens_is_accepted_and_the_subflows_come_up)
{
	connect(8);
	commander to = open_commander();
	for (const std::uint32_t token : tokens_)
		to.queue(open_of(token));
	const auto answers = exchange(to);
	ASSERT_EQ(answers.size(), tokens_.size());
	for (std::size_t i = 0; i < answers.size(); ++i) {
		EXPECT_EQ(answers[i].error, 0) << answers[i].text;
		EXPECT_EQ(answers[i].command.token, tokens_[i]);
	}
	EXPECT_EQ(to.counters().accepted, tokens_.size());
	EXPECT_EQ(heard(PM_SUB_ESTABLISHED, tokens_.size()),
		  (std::multiset<std::uint32_t>(tokens_.begin(), tokens_.end())));
}

TEST_F(commander_live, each_answer_is_that_of_its_command)
{
	connect(2);
	const std::uint32_t token = tokens_[0], other = tokens_[1];
	pm_command no_such_subflow = open_of(token, 4000);
	no_such_subflow.type = PM_CLOSE_SUBFLOW;
	pm_command without_token = open_of(0), of_no_type = open_of(token);
	of_no_type.type = PM_EVENT_NONE;
	pm_command unknown_id = make(PM_WITHDRAW, token);
	unknown_id.local_id = 77;
	const struct {
		pm_command command;
		int error;
		std::string text; // a part of it
	} cases[] = {
		{open_of(token), 0, ""},
		{open_of(0xdeadbeef), EINVAL, "invalid token"},
		{announcement_of(other, 7), 0, ""},
		{no_such_subflow, ESRCH, "not found"},
		{without_token, EINVAL, "not sent"},
		{announcement_of(token, 0), EINVAL, "invalid addr id"},
		{open_of(other), 0, ""},
		{of_no_type, EINVAL, "not sent"},
		{unknown_id, EINVAL, "not found"},
		{announcement_of(token, 8), 0, ""},
	};
	commander to = open_commander();
	for (const auto &each : cases)
		to.queue(each.command);
	const auto answers = exchange(to);
	ASSERT_EQ(answers.size(), std::size(cases));
	for (std::size_t i = 0; i < answers.size(); ++i) {
		EXPECT_EQ(std::memcmp(&answers[i].command, &cases[i].command, sizeof(pm_command)), 0) << i;
		EXPECT_EQ(answers[i].error, cases[i].error) << i << ": " << answers[i].text;
		EXPECT_NE(answers[i].text.find(cases[i].text), std::string::npos) << i << ": " << answers[i].text;
	}
	EXPECT_EQ(to.counters().accepted, 4u);
	EXPECT_EQ(to.counters().refused.at(EINVAL).count, 5u);
	EXPECT_EQ(to.counters().refused.at(ESRCH).count, 1u);
	EXPECT_EQ(to.counters().unanswered, 0u);
	EXPECT_EQ(heard(PM_SUB_ESTABLISHED, 2).size(), 2u);
}

TEST_F(commander_live, more_than_a_batch_takes_several_exchanges_and_keeps_its_order)
{
	commander to = open_commander();
	constexpr std::uint32_t all = 3 * commander::batch + 5;
	for (std::uint32_t token = 1; token <= all; ++token)
		to.queue(announcement_of(token, 7));
	std::uint32_t next = 1;
	for (const std::size_t expected : {commander::batch, commander::batch, commander::batch, std::size_t{5}}) {
		const auto answers = exchange(to);
		EXPECT_EQ(answers.size(), expected);
		for (const got_answer &each : answers) {
			EXPECT_EQ(each.command.token, next++);
			EXPECT_EQ(each.error, EINVAL);
			EXPECT_EQ(each.text, "invalid token");
		}
	}
	EXPECT_EQ(to.queued(), 0u);
	EXPECT_EQ(exchange(to).size(), 0u);
	EXPECT_EQ(to.counters().refused.at(EINVAL).count, all);
	EXPECT_EQ(to.counters().refused.at(EINVAL).text, "invalid token");
}

TEST_F(commander_live, what_a_handler_queues_waits_for_the_next_exchange)
{
	commander to = open_commander();
	for (std::uint32_t token = 1; token <= 3; ++token)
		to.queue(announcement_of(token, 7));
	std::vector<std::uint32_t> seen;
	const auto again = [&](const command_answer &each) {
		for (int copies = 0; copies < 20; ++copies) // the answer's command stays where it is
			to.queue(announcement_of(each.command.token + 10, 7));
		seen.push_back(each.command.token);
	};
	EXPECT_EQ(to.exchange(again).value(), 3u);
	EXPECT_EQ(seen, (std::vector<std::uint32_t>{1, 2, 3}));
	EXPECT_EQ(to.queued(), 60u);
	EXPECT_EQ(exchange(to).front().command.token, 11u);
	EXPECT_EQ(exchange(to).back().command.token, 13u);
}

TEST_F(commander_live, a_commander_may_move_while_commands_are_queued)
{
	commander first = open_commander();
	first.queue(announcement_of(1, 7));
	commander second = std::move(first);
	EXPECT_EQ(exchange(second).size(), 1u);
	first = std::move(second);
	first.queue(announcement_of(2, 7));
	EXPECT_EQ(exchange(first).size(), 1u);
	EXPECT_EQ(first.counters().refused.at(EINVAL).count, 2u);
}

TEST_F(commander_live, the_kernel_turns_away_who_sends_answers_and_is_not_the_kernel)
{
	const std::set<int> before = netlink_sockets();
	commander to = open_commander();
	const exposed_socket socket(before);
	EXPECT_EQ(forge(world().client, socket.address(), 1, ENOTTY), ECONNREFUSED);
}

TEST_F(commander_live, an_answer_that_came_from_elsewhere_is_ignored)
{
	connect(1);
	const std::set<int> before = netlink_sockets();
	commander to = open_commander();
	const exposed_socket socket(before);
	// As before the commander had connected its socket. Its numbers start somewhere around 0.
	socket.open_to_all();
	for (std::uint32_t seq = 0u - 24; seq != 24; ++seq)
		ASSERT_EQ(forge(world().client, socket.address(), seq, ENOTTY), 0);
	to.queue(open_of(tokens_[0]));
	to.queue(open_of(0xdeadbeef));
	const auto answers = exchange(to);
	ASSERT_EQ(answers.size(), 2u);
	EXPECT_EQ(answers[0].error, 0) << answers[0].text;
	EXPECT_EQ(answers[1].error, EINVAL);
	EXPECT_EQ(to.counters().accepted, 1u);
	EXPECT_EQ(to.counters().unanswered, 0u);
}

TEST_F(commander_live, a_lost_answer_is_counted_and_the_next_ones_are_heard)
{
	connect(1);
	const std::set<int> before = netlink_sockets();
	commander to = open_commander();
	const exposed_socket socket(before);
	socket.set_buffer(1); // the least there is: a few answers
	for (std::size_t i = 0; i < commander::batch; ++i)
		to.queue(announcement_of(0xdeadbeef, 7));
	const auto answers = exchange(to);
	ASSERT_EQ(answers.size(), commander::batch);
	const std::uint64_t lost = to.counters().unanswered;
	EXPECT_GT(lost, 0u);
	EXPECT_LT(lost, commander::batch);
	for (std::size_t i = 0; i < answers.size(); ++i) { // the first answers had room
		const bool unheard = i >= commander::batch - lost;
		EXPECT_EQ(answers[i].error, unheard ? ENOBUFS : EINVAL) << i;
		EXPECT_EQ(answers[i].text, unheard ? "" : "invalid token") << i;
	}
	to.queue(open_of(tokens_[0]));
	const auto after = exchange(to);
	ASSERT_EQ(after.size(), 1u);
	EXPECT_EQ(after[0].error, 0) << after[0].text;
	EXPECT_EQ(to.counters().unanswered, lost);
}

TEST_F(commander_live, without_the_capability_every_command_is_refused)
{
	connect(1);
	const auto counters = in_namespace(world().client, [&]() -> expected<command_counters> {
		// Of this thread alone, which ends here.
		__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
		std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
		if (syscall(SYS_capget, &header, sets.data()) != 0)
			return fail_errno("capget");
		sets[CAP_TO_INDEX(CAP_NET_ADMIN)].effective &= ~CAP_TO_MASK(CAP_NET_ADMIN);
		if (syscall(SYS_capset, &header, sets.data()) != 0)
			return fail_errno("capset");
		commander to = value_of(commander::open());
		for (std::size_t i = 0; i < commander::batch + 1; ++i)
			to.queue(open_of(tokens_[0]));
		for (const std::size_t expected : {commander::batch, std::size_t{1}}) {
			const auto answers = exchange(to);
			EXPECT_EQ(answers.size(), expected);
			for (const got_answer &each : answers)
				EXPECT_EQ(each.error, EPERM) << each.text;
		}
		return to.counters();
	});
	ASSERT_TRUE(counters) << counters.error().text;
	EXPECT_EQ(counters->sent, commander::batch + 1);
	EXPECT_EQ(counters->refused.at(EPERM).count, commander::batch + 1);
}

} // namespace
