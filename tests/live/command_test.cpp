// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The commands that the codec writes, given to the kernel: their layout is never what it complains about, and on a real
// connection of a namespace under the userspace path manager each does what it says.
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/wire.hpp"
#include "tests/support/own_netns.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

class command_live : public test::own_netns {
protected:
	void SetUp() override
	{
		own_netns::SetUp();
		test::must(write_sysctl("net.mptcp.pm_type", "1")); // the userspace path manager
	}
};

struct reply {
	int error; // 0 or a positive errno
	std::string text; // of the extended acknowledgement
};

// Sends commands and reads what the kernel answers.
class commander {
public:
	explicit commander(std::uint16_t family) : family_(family)
	{
		const int on = 1;
		sockaddr_nl own{};
		own.nl_family = AF_NETLINK;
		setsockopt(socket_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
		setsockopt(socket_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
		if (bind(socket_.get(), reinterpret_cast<sockaddr *>(&own), sizeof own) != 0)
			throw std::runtime_error("cannot bind a netlink socket");
	}
	reply operator()(const pm_command &command)
	{
		std::array<std::byte, max_message> out;
		const std::size_t length = encode_command(command, family_, ++seq_, out);
		EXPECT_GT(length, 0u);
		EXPECT_EQ(send(socket_.get(), out.data(), length, 0), static_cast<ssize_t>(length));
		std::vector<std::byte> in(4096);
		const ssize_t got = recv(socket_.get(), in.data(), in.size(), 0);
		EXPECT_GE(got, static_cast<ssize_t>(NLMSG_HDRLEN + sizeof(int) + sizeof(nlmsghdr)));
		const auto header = wire::load<nlmsghdr>(in.data());
		EXPECT_EQ(header.nlmsg_type, NLMSG_ERROR);
		EXPECT_EQ(header.nlmsg_seq, seq_);
		reply result{-wire::load<int>(in.data() + NLMSG_HDRLEN), {}};
		constexpr std::size_t skip = NLMSG_HDRLEN + sizeof(int) + sizeof(nlmsghdr);
		wire::attribute_reader each(bytes(in).subspan(skip, static_cast<std::size_t>(got) - skip));
		while (each.next())
			if (each.type() == NLMSGERR_ATTR_MSG)
				result.text = reinterpret_cast<const char *>(each.payload().data());
		return result;
	}

private:
	descriptor socket_{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC)};
	std::uint16_t family_;
	std::uint32_t seq_ = 0;
};

// The next event of this type and token; one of type 0 after 5 s without it.
pm_event next_event(event_source &source, pm_u8 type, std::uint32_t token)
{
	pm_event found{};
	for (;;) {
		const auto look = [&](const pm_event &event) {
			if (event.type == type && (token == 0 || event.token == token))
				found = event;
		};
		pollfd ready{source.fd(), POLLIN, 0};
		if (poll(&ready, 1, 5000) <= 0) {
			ADD_FAILURE() << "no event of type " << int{type} << " came";
			return found;
		}
		while (found.type == 0 && source.drain(look, 1).value_or(0) == 1)
			;
		if (found.type != 0)
			return found;
	}
}

sockaddr_in at(std::uint32_t address, std::uint16_t port)
{
	sockaddr_in made{};
	made.sin_family = AF_INET;
	made.sin_addr.s_addr = htonl(address);
	made.sin_port = htons(port);
	return made;
}

pm_command command_of(pm_u8 type, std::uint32_t token)
{
	pm_command command{};
	command.type = type;
	command.token = token;
	return command;
}

TEST_F(command_live, the_kernel_complains_of_an_unknown_token_and_of_nothing_else)
{
	const auto family = ask_family();
	ASSERT_TRUE(family) << family.error().text;
	commander run(family->id);
	pm_addr six{};
	six.bytes[0] = 0x20;
	six.bytes[15] = 1;
	for (const pm_u8 type : {PM_SET_BACKUP, PM_ANNOUNCE, PM_WITHDRAW, PM_OPEN_SUBFLOW, PM_CLOSE_SUBFLOW}) {
		for (const pm_addr &address : {ipv4(10, 0, 0, 1), six}) {
			pm_command command = command_of(type, 0xdeadbeef);
			command.local = command.remote = address;
			command.local_id = command.remote_id = 3;
			command.local_port = command.remote_port = 4000;
			command.ifindex = 1;
			command.flags = PM_BACKUP;
			const reply got = run(command);
			EXPECT_EQ(got.error, EINVAL) << "command " << int{type};
			// For SET_FLAGS, older kernels say no more than EINVAL.
			EXPECT_TRUE(got.text == "invalid token" || (type == PM_SET_BACKUP && got.text.empty()))
				<< "command " << int{type} << ": " << got.text;
		}
	}
}

TEST_F(command_live, each_command_does_what_it_says)
{
	event_source source = test::must(event_source::open({}));
	commander run(source.family().id);

	auto address = at(INADDR_LOOPBACK, 0);
	auto *any = reinterpret_cast<sockaddr *>(&address);
	socklen_t size = sizeof address;
	const descriptor listener{socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)};
	ASSERT_EQ(bind(listener.get(), any, size), 0);
	ASSERT_EQ(listen(listener.get(), 1), 0);
	ASSERT_EQ(getsockname(listener.get(), any, &size), 0);
	const descriptor client{socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)};
	ASSERT_EQ(connect(client.get(), any, size), 0) << strerror(errno);
	const descriptor server{accept(listener.get(), nullptr, nullptr)};
	char byte = 1;
	ASSERT_EQ(write(client.get(), &byte, 1), 1);
	ASSERT_EQ(read(server.get(), &byte, 1), 1);
	ASSERT_EQ(write(server.get(), &byte, 1), 1);
	ASSERT_EQ(read(client.get(), &byte, 1), 1);

	// Of the two ends, the client's comes first with CREATED.
	const std::uint32_t token = next_event(source, PM_CREATED, 0).token;
	const pm_event peer = next_event(source, PM_CREATED, 0);
	ASSERT_TRUE(peer.flags & PM_SERVER_SIDE);
	next_event(source, PM_ESTABLISHED, peer.token);

	pm_command open = command_of(PM_OPEN_SUBFLOW, token);
	open.local = ipv4(127, 0, 0, 2);
	open.local_id = 2;
	open.remote = ipv4(127, 0, 0, 1);
	open.remote_port = ntohs(address.sin_port);
	reply got = run(open);
	ASSERT_EQ(got.error, 0) << got.text;
	const pm_event subflow = next_event(source, PM_SUB_ESTABLISHED, token);
	EXPECT_TRUE(same(subflow.local, open.local) && same(subflow.remote, open.remote));
	EXPECT_EQ(subflow.local_id, 2);
	EXPECT_EQ(subflow.remote_port, open.remote_port);
	EXPECT_FALSE(subflow.flags & PM_BACKUP);

	pm_command backup = open;
	backup.type = PM_SET_BACKUP;
	backup.flags = PM_BACKUP;
	backup.local_port = subflow.local_port;
	got = run(backup);
	EXPECT_EQ(got.error, 0) << got.text;
	EXPECT_TRUE(next_event(source, PM_SUB_PRIORITY, peer.token).flags & PM_BACKUP);

	pm_command announce = command_of(PM_ANNOUNCE, token);
	announce.local = ipv4(127, 0, 0, 3);
	announce.local_id = 3;
	announce.local_port = 4321;
	got = run(announce);
	EXPECT_EQ(got.error, 0) << got.text;
	const pm_event announced = next_event(source, PM_ANNOUNCED, peer.token);
	EXPECT_TRUE(same(announced.remote, announce.local));
	EXPECT_EQ(announced.remote_id, 3);
	EXPECT_EQ(announced.remote_port, 4321);

	pm_command withdraw = command_of(PM_WITHDRAW, token);
	withdraw.local_id = 3;
	got = run(withdraw);
	EXPECT_EQ(got.error, 0) << got.text;
	EXPECT_EQ(next_event(source, PM_REMOVED, peer.token).remote_id, 3);

	pm_command destroy = open;
	destroy.type = PM_CLOSE_SUBFLOW;
	destroy.local_port = subflow.local_port;
	got = run(destroy);
	EXPECT_EQ(got.error, 0) << got.text;
	EXPECT_EQ(next_event(source, PM_SUB_CLOSED, token).local_port, subflow.local_port);
}

} // namespace
