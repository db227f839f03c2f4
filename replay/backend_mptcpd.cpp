// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The backends `mptcpd-stock` and `mptcpd`: the packaged mptcpd, unmodified, with its own plugin `sspi` or with ours, takes
// the events for the kernel's. What it has read is seen from outside, on a copy of its socket: the kernel says after each
// event whether it was dropped, and how much of what was not is still in the queue. What it does with an event cannot be
// seen; that it commands something can, because the kernel refuses commands about connections that do not exist.
//
// Our plugin takes over once mptcpd's socket has overrun: it opens a socket of its own, then leaves the group with
// mptcpd's. What became of an event is then told by the one socket for those sent before, by the other one, whose reader
// counts, for all since; together they are what was sent.
#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-bpf/refusals.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/socket_memory.hpp"
#include "pm-netlink/status_socket.hpp"
#include "replay/backend.hpp"
#include "replay/child.hpp"
#include "replay/clock.hpp"
#include "replay/group_sender.hpp"
#include "replay/links.hpp"
#include "replay/mptcpd_setup.hpp"

namespace pm::replay {

namespace {

// What the kernel charges a receive queue for an event, by the length of its message: measured on a socket of our own.
class charges {
public:
	expected<void> measure(group_sender &sender)
	{
		auto source = netlink::event_source::open({.buffer_bytes = 1 << 20, .accept_replay = true});
		if (!source)
			return tl::unexpected(source.error());
		for (std::size_t length = 28; length <= netlink::max_message; length += 4) {
			due_event probe;
			pm_event closed{};
			closed.type = PM_CLOSED;
			closed.token = 1;
			probe.message.fill(std::byte{});
			(void)netlink::encode_event(closed, 0, probe.message);
			probe.length = length;
			if (auto sent = sender.send({&probe, 1}); !sent)
				return sent;
			by_length_[length / 4] = memory_of(source->fd()).queued_bytes;
			if (auto read = source->drain([](const pm_event &) noexcept {}); !read)
				return tl::unexpected(read.error());
		}
		return {};
	}
	std::uint32_t of(std::size_t length) const noexcept { return by_length_[(length + 3) / 4]; }

private:
	std::array<std::uint32_t, netlink::max_message / 4 + 1> by_length_{};
};

class mptcpd_backend : public backend {
public:
	// Without options: the plugin that comes with mptcpd.
	explicit mptcpd_backend(std::optional<backend_options> ours) : ours_(std::move(ours)) {}

	expected<void> start() override
	{
		if (auto there = check_mptcpd(); !there)
			return there;
		auto sender = group_sender::open();
		if (!sender)
			return tl::unexpected(sender.error());
		sender_.emplace(std::move(*sender));
		if (auto measured = charges_.measure(*sender_); !measured)
			return measured;
		auto daemon = ours_ ? start_with_ours() : start_mptcpd(nullptr, nullptr, receiving_cpu);
		if (!daemon)
			return tl::unexpected(daemon.error());
		daemon_.emplace(std::move(*daemon));
		auto refusals = bpf::refusal_counter::attach(daemon_->pid());
		if (!refusals)
			return tl::unexpected(refusals.error());
		refusals_.emplace(std::move(*refusals));
		return await_subscription();
	}

	// For real: mptcpd hears of addresses from the kernel. A trace may come from anywhere, so there is a bound.
	expected<void> change_local(const pm_event &event) override
	{
		auto here = links::open();
		if (!here)
			return tl::unexpected(here.error());
		const std::string key{reinterpret_cast<const char *>(event.local.bytes), sizeof event.local.bytes};
		const auto known = address_link_.find(key);
		if (event.type == PM_LOCAL_REMOVED) {
			if (known == address_link_.end())
				return {};
			const std::string link = known->second;
			address_link_.erase(known);
			return here->remove_address(link, event.local, links::prefix::host);
		}
		if (known != address_link_.end() || address_link_.size() == PM_MAX_LOCALS)
			return {};
		const auto link = link_of(event.ifindex, *here);
		if (!link)
			return tl::unexpected(link.error());
		address_link_[key] = *link;
		return here->add_address(*link, event.local, links::prefix::host);
	}

	// Several at once are due when they come faster than they can be sent. The drop counter says how many of them did not
	// get in; those that came last, since a full queue does not empty in that time.
	expected<void> offer(std::span<due_event> events) override
	{
		for (due_event &event : events)
			if (event.due_ns == 0)
				event.due_ns = now_ns();
		if (auto sent = sender_->send(events); !sent)
			return sent;
		const socket_memory memory = memory_of(socket_.get());
		if (ours_ && !taken_over_ && !netlink::is_member(socket_.get(), sender_->family().events_group))
			return note_takeover(events);
		const std::size_t dropped = std::min<std::size_t>(memory.drops - drops_, events.size());
		drops_ = memory.drops;
		dropped_ += dropped;
		emitted_ += events.size();
		for (std::size_t i = 0; i < events.size(); ++i) {
			const due_event &event = events[i];
			tail_emitted_ += event.tail;
			if (i >= events.size() - dropped) {
				tail_dropped_ += event.tail;
				continue;
			}
			const std::uint32_t charge = charges_.of(event.length);
			queue_.push_back({event.due_ns, charge, event.tail});
			queued_bytes_ += charge;
		}
		note_what_was_read(memory.queued_bytes);
		return {};
	}

	// When an event was read only a look at the socket tells. Who reads nothing for a fifth of a second is not waited for.
	bool look_around() override
	{
		const std::size_t before = queue_.size();
		note_what_was_read(memory_of(socket_.get()).queued_bytes);
		if (queue_.size() != before || queue_.size() != looked_at_)
			moved_ = now_ns();
		looked_at_ = queue_.size();
		return !queue_.empty() && now_ns() - moved_ < patience_ns;
	}

	// Its socket runs empty, or it reads nothing for a fifth of a second. After an overrun our plugin takes over first,
	// within a second.
	expected<void> settle() override
	{
		for (const std::uint64_t begun = now_ns();
		     ours_ && dropped_ > 0 && !taken_over_ && now_ns() - begun < 2'000'000'000; usleep(1000))
			if (!netlink::is_member(socket_.get(), sender_->family().events_group))
				if (auto noted = note_takeover({}); !noted)
					return noted;
		std::uint64_t moved = now_ns();
		for (std::size_t last = SIZE_MAX; now_ns() - moved < patience_ns;) {
			(void)look_around();
			if (queue_.empty())
				return {};
			if (queue_.size() != last)
				moved = now_ns();
			last = queue_.size();
			usleep(50);
		}
		return {};
	}

	void end_load() override { report_.cpu_ns = daemon_->cpu_ns() - cpu_before_; }

	expected<backend_report> finish() override
	{
		if (!daemon_->alive())
			return fail(
				"mptcpd ended during the replay; its own log may say why (run it in the foreground)");
		report_.uncompared_decisions = refusals_->count() - refused_before_;
		std::optional<nlohmann::json> status;
		if (taken_over_) {
			auto asked = netlink::ask_status(settings_->folder());
			if (!asked)
				return tl::unexpected(asked.error());
			status = std::move(*asked);
		}
		daemon_->pause();
		usleep(1000); // a stopped process may still be inside its last system call
		(void)look_around();
		auto unread = count_unread();
		if (!unread)
			return tl::unexpected(unread.error());
		const auto [all, of_tail, answers] = *unread;
		report_.lost["unread"] = all;
		report_.tail_delivered = tail_emitted_ - tail_dropped_ - of_tail;
		if (status)
			return account_for_both(status->at("events"), all);
		// Two accounts of the same: what the kernel charges the queue for, and what is in it. Answers to mptcpd's own
		// commands are charged too, at most like an event or two.
		if (queue_.size() < all || queue_.size() > all + 2 * answers)
			return fail(fmt::format("the sums of the run do not close: {} events and {} answers are left "
						"in mptcpd's socket, "
						"but the kernel charges it for {} events",
						all, answers, queue_.size()));
		report_.lost["socket"] = dropped_;
		report_.delivered = emitted_ - dropped_ - all;
		return std::move(report_);
	}

private:
	static constexpr std::uint64_t patience_ns = 200'000'000;

	struct waiting {
		std::uint64_t due_ns;
		std::uint32_t charge;
		bool tail;
	};

	expected<child> start_with_ours()
	{
		auto settings = plugin_settings::write({.policy = ours_->policy,
							.settings = ours_->settings,
							.buffer_bytes = ours_->buffer_bytes,
							.most_connections = ours_->most_connections,
							.accept_replay = true});
		if (!settings)
			return tl::unexpected(settings.error());
		settings_.emplace(std::move(*settings));
		return start_mptcpd(ours_->policy, &*settings_, receiving_cpu);
	}

	// mptcpd's socket has left the group, somewhere among the `latest` events that were sent. None of them got into it: it
	// was full, and nobody read it. What is in it stays unread.
	expected<void> note_takeover(std::span<due_event> latest)
	{
		taken_over_ = true;
		const auto unread = count_unread();
		if (!unread)
			return tl::unexpected(unread.error());
		read_before_ = emitted_ - dropped_ - unread->events;
		tail_dropped_ += unread->of_tail;
		queue_.clear();
		auto found = daemon_->socket_in_group(sender_->family().events_group);
		if (!found || !*found)
			return found ? fail("our plugin has left mptcpd's socket, but has none of its own")
				     : tl::unexpected(found.error());
		socket_ = std::move(*found);
		const socket_memory memory = memory_of(socket_.get());
		drops_ = memory.drops;
		queued_bytes_ = memory.queued_bytes;
		queue_.push_back({0, memory.queued_bytes, true}); // how much of `latest` that is, its reader will say
		emitted_ += latest.size();
		for (const due_event &event : latest)
			tail_emitted_ += event.tail;
		return {};
	}

	// `events`: what our reader counted. All that reached the group since it joined, it has counted or left unread.
	expected<backend_report> account_for_both(const nlohmann::json &events, std::uint64_t unread)
	{
		const auto heard = events.at("delivered").get<std::uint64_t>(),
			   lost = events.at("lost").get<std::uint64_t>();
		std::uint64_t malformed = 0;
		for (const auto &count : events.at("malformed"))
			malformed += count.get<std::uint64_t>();
		const std::uint64_t after = heard + lost + malformed + unread;
		if (after + read_before_ > emitted_)
			return fail(fmt::format(
				"the sums of the run do not close: {} events were sent, but {} were read before "
				"the plugin took over and {} reached it afterwards",
				emitted_, read_before_, after));
		report_.lost["overrun"] = emitted_ - after - read_before_;
		report_.lost["socket"] = lost;
		report_.lost["refused"] = malformed;
		report_.delivered = read_before_ + heard;
		return std::move(report_);
	}

	// A link that stands for interface number `ifindex` of the trace.
	expected<std::string> link_of(std::uint32_t ifindex, links &here)
	{
		const auto [at, is_new] = link_.try_emplace(ifindex, fmt::format("p{}", link_.size()));
		if (!is_new)
			return at->second;
		const std::string peer = "peer-" + at->second;
		if (auto made = here.add_veth(at->second, peer); !made)
			return tl::unexpected(made.error());
		for (const std::string &end : {at->second, peer})
			if (auto up = here.bring_up(end); !up)
				return tl::unexpected(up.error());
		return at->second;
	}

	expected<void> await_subscription()
	{
		for (const std::uint64_t begun = now_ns(); now_ns() - begun < 5'000'000'000; usleep(1000)) {
			if (!daemon_->alive())
				return fail("mptcpd ended at once; its own log may say why (run it in the foreground)");
			auto found = daemon_->socket_in_group(sender_->family().events_group);
			if (!found)
				return tl::unexpected(found.error());
			if (!*found)
				continue;
			socket_ = std::move(*found);
			usleep(20000); // it still asks for addresses and limits after that
			const socket_memory memory = memory_of(socket_.get());
			drops_ = memory.drops;
			cpu_before_ = daemon_->cpu_ns();
			refused_before_ = refusals_->count();
			return {};
		}
		return fail("mptcpd did not subscribe to the path manager's events within 5 seconds");
	}

	// The queue is read in order: what it has more than the kernel charges for is gone.
	void note_what_was_read(std::uint32_t queued_bytes) noexcept
	{
		if (queued_bytes_ <= queued_bytes)
			return;
		const std::uint64_t now = now_ns();
		while (!queue_.empty() && queued_bytes_ > queued_bytes) {
			if (!queue_.front().tail)
				report_.latency.record(now > queue_.front().due_ns ? now - queue_.front().due_ns : 0);
			queued_bytes_ -= queue_.front().charge;
			queue_.pop_front();
		}
	}

	struct leftovers {
		std::uint64_t events = 0, of_tail = 0, answers = 0;
	};

	// Takes what it has not read out of its socket.
	expected<leftovers> count_unread()
	{
		leftovers left;
		std::array<std::byte, 4096> message;
		for (;;) {
			const ssize_t size = recv(socket_.get(), message.data(), message.size(), MSG_DONTWAIT);
			if (size < 0 && errno == ENOBUFS)
				continue; // said once, before what is in the queue
			if (size < 0 && errno == EAGAIN)
				break;
			if (size < 0)
				return fail_errno("cannot read what mptcpd left in its socket");
			const netlink::bytes whole{message.data(), static_cast<std::size_t>(size)};
			++(netlink::decode_event(whole, sender_->family().id) ? left.events : left.answers);
		}
		// What is unread is the youngest of what got in.
		std::uint64_t younger = left.events;
		for (auto at = queue_.rbegin(); at != queue_.rend() && younger > 0; ++at, --younger)
			left.of_tail += at->tail;
		return left;
	}

	std::optional<backend_options> ours_;
	std::optional<plugin_settings> settings_;
	bool taken_over_ = false;
	std::uint64_t read_before_ = 0; // by mptcpd's own reader, before our plugin took over
	charges charges_;
	std::optional<group_sender> sender_;
	std::optional<child> daemon_;
	std::optional<bpf::refusal_counter> refusals_;
	std::map<std::uint32_t, std::string> link_; // by the trace's number of the interface
	std::map<std::string, std::string> address_link_; // by the address's bytes
	descriptor socket_;
	std::deque<waiting> queue_;
	std::uint64_t queued_bytes_ = 0;
	std::uint32_t drops_ = 0;
	std::uint64_t emitted_ = 0, dropped_ = 0, tail_emitted_ = 0, tail_dropped_ = 0;
	std::uint64_t cpu_before_ = 0, refused_before_ = 0;
	std::size_t looked_at_ = 0; // events in the queue, at the latest look
	std::uint64_t moved_ = 0; // when that number was last another one
	backend_report report_;
};

} // namespace

std::unique_ptr<backend> make_mptcpd_stock_backend(const backend_options &)
{
	return std::make_unique<mptcpd_backend>(std::nullopt);
}

std::unique_ptr<backend> make_mptcpd_backend(const backend_options &options)
{
	return std::make_unique<mptcpd_backend>(options);
}

} // namespace pm::replay
