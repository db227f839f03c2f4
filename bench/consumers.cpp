// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Who reads in the benchmarks: the least that a reader can do, our reader, and our reader with the engine behind it.
#include <array>
#include <cerrno>

#include <benchmark/benchmark.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "bench/channel.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/manager.hpp"
#include "pm-netlink/socket_memory.hpp"

namespace pm::bench {

namespace {

// The same socket, batch and slots as event_source has; looks at nothing that it reads.
class bare : public consumer {
public:
	expected<void> open()
	{
		const auto family = netlink::ask_family();
		if (!family)
			return tl::unexpected(family.error());
		socket_ = descriptor{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC)};
		const int size = socket_buffer, on = 1;
		const int group = static_cast<int>(family->events_group);
		sockaddr_nl address{};
		address.nl_family = AF_NETLINK;
		if (!socket_ || setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 ||
		    setsockopt(fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) != 0 ||
		    bind(fd(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0 ||
		    setsockopt(fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
			return fail_errno(
				"cannot open the socket of the bare reader: run as root, or with CAP_NET_ADMIN");
		for (std::size_t i = 0; i < batch; ++i) {
			vector_[i] = {slot_[i].data(), slot_bytes};
			header_[i].msg_hdr.msg_iov = &vector_[i];
			header_[i].msg_hdr.msg_iovlen = 1;
		}
		return {};
	}

	int fd() const noexcept override { return socket_.get(); }

	expected<void> drain() override
	{
		for (;;) {
			const int n = recvmmsg(fd(), header_.data(), batch, MSG_DONTWAIT, nullptr);
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return fail_errno("the bare reader cannot receive");
			if (n > 0)
				read_ += static_cast<unsigned>(n);
			if (n < static_cast<int>(batch) && !(n < 0 && errno == EINTR))
				return {};
		}
	}

	heard count() override { return {read_, memory_of(fd()).drops, 0}; }

private:
	static constexpr std::size_t batch = 64, slot_bytes = 5 * 64;
	descriptor socket_;
	std::array<mmsghdr, batch> header_{};
	std::array<iovec, batch> vector_{};
	alignas(64) std::array<std::array<std::byte, slot_bytes>, batch> slot_;
	std::uint64_t read_ = 0;
};

class reading : public consumer {
public:
	explicit reading(netlink::event_source source) : source_(std::move(source)) {}

	int fd() const noexcept override { return source_.fd(); }

	expected<void> drain() override
	{
		return drain_into([](const pm_event &event) noexcept {
			auto at = &event;
			benchmark::DoNotOptimize(at);
			benchmark::ClobberMemory(); // all of it has to be there
		});
	}

	heard count() override
	{
		const netlink::event_counters &counters = source_.counters();
		return {counters.delivered, counters.lost, 0};
	}

protected:
	template <class Handle>
	expected<void> drain_into(Handle &&handle)
	{
		const auto read = source_.drain(handle);
		return read ? expected<void>{} : tl::unexpected(read.error());
	}

private:
	netlink::event_source source_;
};

class deciding : public reading {
public:
	deciding(netlink::event_source source, const policy_info &policy, const pm_settings &settings,
		 const std::vector<pm_event> &addresses)
		: reading(std::move(source)), manager_(policy, settings)
	{
		for (const pm_event &event : addresses)
			manager_.handle(event, [](const pm_result &) {});
	}

	expected<void> drain() override
	{
		return drain_into(
			[this](const pm_event &event) noexcept { manager_.handle(event, [](const pm_result &) {}); });
	}

private:
	manager manager_;
};

expected<netlink::event_source> open_source()
{
	return netlink::event_source::open({.buffer_bytes = socket_buffer, .accept_replay = true});
}

} // namespace

expected<std::unique_ptr<consumer>> bare_consumer()
{
	auto made = std::make_unique<bare>();
	if (auto opened = made->open(); !opened)
		return tl::unexpected(opened.error());
	return made;
}

expected<std::unique_ptr<consumer>> reading_consumer()
{
	auto source = open_source();
	if (!source)
		return tl::unexpected(source.error());
	return std::make_unique<reading>(std::move(*source));
}

expected<std::unique_ptr<consumer>> deciding_consumer(const std::vector<pm_event> &addresses)
{
	auto source = open_source();
	if (!source)
		return tl::unexpected(source.error());
	const auto policy = find_policy("fullmesh");
	if (!policy)
		return tl::unexpected(policy.error());
	const auto settings = make_settings(**policy);
	if (!settings)
		return tl::unexpected(settings.error());
	return std::make_unique<deciding>(std::move(*source), **policy, *settings, addresses);
}

} // namespace pm::bench
