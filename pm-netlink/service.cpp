// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The loop of a path manager over netlink. What a resync adopts is in adoption.cpp; what waits for a later time is in
// pacing.hpp.
#include "pm-netlink/service.hpp"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "pm-netlink/address_source.hpp"
#include "pm-netlink/adoption.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/commander.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mib.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/pacing.hpp"
#include "pm-netlink/resync_state.hpp"
#include "pm-netlink/snapshot.hpp"

namespace pm::netlink {

namespace {

constexpr std::uint64_t second = 1'000'000'000;

std::string text_of(const pm_addr &address)
{
	char text[INET6_ADDRSTRLEN] = "";
	if (is_ipv4(address))
		inet_ntop(AF_INET, address.bytes + 12, text, sizeof text);
	else
		inet_ntop(AF_INET6, address.bytes, text, sizeof text);
	return text;
}

bool is_readable(int fd) noexcept
{
	pollfd one{fd, POLLIN, 0};
	return poll(&one, 1, 0) > 0;
}

class netlink_service final : public service {
public:
	netlink_service(const policy_info &policy, const pm_settings &values, const manager_settings &settings,
			say_function say, event_source events, commander commands, address_source addresses,
			snapshot_reader reader)
		: say_(std::move(say)), events_(std::move(events)), commands_(std::move(commands)),
		  addresses_(std::move(addresses)), reader_(std::move(reader)), policy_(&policy), values_(values),
		  assignments_(settings.policy), most_connections_(settings.most_connections),
		  manager_(policy, values, settings.most_connections)
	{
	}

	expected<void> set_up()
	{
		poll_ = descriptor{epoll_create1(EPOLL_CLOEXEC)};
		timer_ = descriptor{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
		more_ = descriptor{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
		if (!poll_ || !timer_ || !more_)
			return fail_errno("cannot create what the path manager waits with (epoll, timerfd, eventfd)");
		for (const int fd : {events_.fd(), addresses_.fd(), reader_.fd(), timer_.get(), more_.get()})
			if (auto watched = watch(fd); !watched)
				return watched;
		if (auto listed = list_addresses(); !listed)
			return listed;
		resync_.ask();
		wake_up();
		return {};
	}

	int fd() const noexcept override { return poll_.get(); }

	expected<void> dispatch() override
	{
		clear(timer_.get());
		timer_due_.reset();
		clear(more_.get());
		if (is_readable(addresses_.fd()))
			if (auto done = hear_addresses(); !done)
				return done;
		bool more = true;
		for (unsigned round = 0; more && round < rounds; ++round) {
			// The kernel's buffer is what bounds a peer that causes commands faster than they are carried out.
			const bool busy = resync_.at() == step::idle && commands_.queued() >= most_queued;
			const std::size_t room = busy ? 0 : events_a_round;
			const auto read = events_.drain([&](const pm_event &event) { hear(event); }, room);
			if (!read)
				return tl::unexpected(read.error());
			const auto sent = commands_.exchange([&](const command_answer &answer) { hear(answer); });
			if (!sent)
				return tl::unexpected(sent.error());
			more = (room > 0 && *read == room) || (*sent > 0 && commands_.queued() > 0);
		}
		note_losses();
		if (auto done = proceed_with_resync(); !done)
			return done;
		if (resync_.at() == resync_state::step::idle)
			pacer_.retry_due(now_ns(), emit_);
		if (more || commands_.queued() > 0)
			wake_up();
		else
			give_memory_back();
		set_timer();
		return {};
	}

	void ask_for_resync() override
	{
		resync_.ask();
		wake_up();
	}

	expected<void> change(const policy_info &policy, const manager_settings &settings) override
	{
		const auto values = make_settings(policy, settings.policy);
		if (!values)
			return tl::unexpected(values.error());
		auto addresses = address_source::open(settings.locals);
		if (!addresses)
			return tl::unexpected(addresses.error());
		if (auto watched = watch(addresses->fd()); !watched)
			return watched;
		addresses_ = std::move(*addresses); // closing the old one takes it out of what is waited for
		policy_ = &policy;
		values_ = *values;
		assignments_ = settings.policy;
		if (settings.most_connections > most_connections_)
			resync_.ask(); // for those that there was no room for
		most_connections_ = settings.most_connections;
		manager_.change(policy, values_, most_connections_);
		look_at_all_ = true;
		addresses_pending_ = true;
		wake_up();
		return {};
	}

	service_status status() override
	{
		service_status s;
		s.policy = policy_->name;
		for (std::size_t i = 0; i < policy_->settings.size(); ++i)
			s.settings[policy_->settings[i].name] = values_.value[i];
		s.uptime_ns = now_ns() - started_;
		s.pid = static_cast<std::uint64_t>(getpid());
		s.connections = manager_.connections();
		s.most_connections = most_connections_;
		manager_.for_each([&](const pm_connection &c) { count_subflows(c, s); });
		const pm_namespace &ns = manager_.locals();
		for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
			if (ns.present & bit(l))
				s.local_addresses.push_back(text_of(ns.local[l]));
		s.events = events_.counters();
		s.handled = manager_.counted();
		s.address_overruns = addresses_.overruns();
		s.resyncs = resyncs_;
		s.resyncs.postponed = resync_.postponed();
		s.resyncs.running = resync_.at() != resync_state::step::idle;
		s.announcements = announcements_;
		s.announcements.missed = announcements_missed();
		s.commands = commands_.counters();
		s.commands_queued = commands_.queued();
		s.holds = pacer_.holds();
		s.retries = pacer_.retries();
		s.retries_waiting = pacer_.waiting();
		return s;
	}

private:
	// Between two commands' batches at most that many events, and the other way round: a batch takes the kernel about a
	// millisecond, and the event socket's buffer holds thousands.
	static constexpr std::size_t events_a_round = 256;
	static constexpr unsigned rounds = 64;
	static constexpr std::size_t most_queued = 16384;
	static constexpr std::size_t worth_giving_back = 256; // connections

	using step = resync_state::step;

	expected<void> watch(int fd)
	{
		epoll_event event{};
		event.events = EPOLLIN;
		event.data.fd = fd;
		if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
			return fail_errno("cannot wait for a netlink socket (epoll)");
		return {};
	}
	static void clear(int fd) noexcept
	{
		std::uint64_t count = 0;
		[[maybe_unused]] const ssize_t size = ::read(fd, &count, sizeof count);
	}
	void wake_up() noexcept { eventfd_write(more_.get(), 1); }

	// What the connections of a rush have taken goes back to the system: the allocator would keep it for good. It costs
	// less than the rush did, and happens once for each.
	void give_memory_back() noexcept
	{
		most_open_ = std::max(most_open_, manager_.connections());
		if (most_open_ < worth_giving_back || manager_.connections() > most_open_ / 4)
			return;
		malloc_trim(0);
		most_open_ = manager_.connections();
	}

	void set_timer() noexcept
	{
		std::optional<std::uint64_t> due;
		const auto retry = resync_.at() == step::idle ? pacer_.next_due() : std::nullopt;
		for (const auto &each : {resync_.due(), resync_.patience_ends(), retry})
			if (each && (!due || *each < *due))
				due = each;
		if (due == timer_due_)
			return;
		timer_due_ = due;
		itimerspec at{};
		if (due) {
			const std::uint64_t when = std::max<std::uint64_t>(*due, 1); // 0 would switch it off
			at.it_value.tv_sec = static_cast<time_t>(when / second);
			at.it_value.tv_nsec = static_cast<long>(when % second);
		}
		timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
	}

	// ---- events and answers ----

	void hear(const pm_event &event)
	{
		if (event.type == PM_ANNOUNCED)
			++announcements_.heard;
		if (resync_.at() == step::idle)
			handle(event);
		else
			put_by(event);
	}

	void put_by(const pm_event &event)
	{
		if (resync_.put_by(event))
			return;
		++resyncs_.lost_while_running;
		missed_while_running_ = true;
	}

	void handle(const pm_event &event)
	{
		if (event.type == PM_ANNOUNCED || event.type == PM_REMOVED)
			remember(event);
		pacer_.handle(event, now_ns(), emit_);
	}

	void remember(const pm_event &event)
	{
		const pm_connection *connection = manager_.find(event.token);
		if (!connection || (connection->flags & PM_CONN_SERVER_SIDE))
			return;
		if (event.type == PM_ANNOUNCED)
			peers_.add(connection->remote[0], {event.remote, event.remote_port, event.remote_id});
		else
			peers_.remove(connection->remote[0], event.remote_id);
	}

	void hear(const command_answer &answer)
	{
		if (answer.error == 0)
			return;
		if (answer.error == ENOBUFS && answer.text.empty()) {
			resync_.ask(); // carried out or not: the kernel knows
			return;
		}
		hear(failure_of(answer.command, answer.error));
	}

	// ---- local addresses ----

	expected<void> hear_addresses()
	{
		const auto changed = addresses_.changed();
		if (!changed)
			return tl::unexpected(changed.error());
		addresses_pending_ = addresses_pending_ || *changed; // listed when nothing is put by
		return {};
	}

	expected<void> list_addresses()
	{
		const auto listed = addresses_.list();
		if (!listed)
			return tl::unexpected(listed.error());
		addresses_pending_ = false;
		for (const pm_event &event : changes(manager_.locals(), *listed))
			handle(event);
		name_interfaces();
		return {};
	}

	// An interface that went and came back has another index under the same name.
	void name_interfaces()
	{
		const auto values = make_settings(*policy_, assignments_);
		if (!values ||
		    std::equal(std::begin(values->value), std::end(values->value), std::begin(values_.value)))
			return;
		values_ = *values;
		manager_.change(*policy_, values_, most_connections_);
		look_at_all_ = true;
	}

	// ---- resync ----

	void note_losses()
	{
		const std::uint64_t lost = events_.counters().lost;
		if (lost == seen_lost_)
			return;
		unsaid_lost_ += lost - seen_lost_;
		seen_lost_ = lost;
		resync_.ask();
	}

	expected<void> proceed_with_resync()
	{
		const std::uint64_t now = now_ns();
		if (resync_.at() == step::idle) {
			if (addresses_pending_)
				if (auto listed = list_addresses(); !listed)
					return listed;
			look_at_all();
			if (const auto due = resync_.due(); due && *due <= now)
				if (auto begun = begin_resync(now); !begun)
					return begun;
		}
		if (resync_.at() == step::settling && commands_.queued() == 0) {
			if (auto begun = reader_.begin(); !begun)
				return give_up(begun.error());
			resync_.read();
		}
		if (resync_.at() == step::reading) {
			const auto complete = reader_.proceed();
			if (!complete)
				return give_up(complete.error());
			if (*complete)
				finish_resync();
			else if (*resync_.patience_ends() <= now)
				return give_up({"the kernel did not finish its list within 10 seconds"});
		}
		return {};
	}

	// What is in the socket now was sent before anything that is going to be read, and after a loss it is not the whole
	// story: it must not be handled after what is read.
	expected<void> begin_resync(std::uint64_t now)
	{
		const std::size_t fits = events_.counters().buffer_bytes / smallest_charge;
		const auto read = events_.drain([&](const pm_event &event) { hear(event); }, fits);
		if (!read)
			return tl::unexpected(read.error());
		if (const std::uint64_t lost = events_.counters().lost; lost != seen_lost_) {
			unsaid_lost_ += lost - seen_lost_; // still before the reading: this resync mends it
			seen_lost_ = lost;
		}
		resync_.begin(now);
		return {};
	}

	void finish_resync()
	{
		const snapshot listed = reader_.take();
		const std::uint64_t missed = announcements_missed();
		const bool lossy = missed > std::exchange(missed_before_, missed); // since the latest one
		const adoption done = adopt(listed, manager_, peers_, lossy,
					    [&](const pm_event &event) { pacer_.handle(event, now_ns(), emit_); });
		for (const pm_event &event : still_news(listed, resync_.end(now_ns())))
			handle(event);
		++resyncs_.done;
		resyncs_.last_ns = resync_.took();
		resyncs_.adopted += done.adopted;
		resyncs_.dropped += done.dropped;
		announcements_.recovered += done.recovered;
		if (lossy)
			announcements_.unrecovered = done.unrecovered;
		if (std::exchange(missed_while_running_, false))
			resync_.ask();
		say_what_was_done(listed.connections.size(), done);
		wake_up();
	}

	// The kernel's list could not be read: what was put by is handled, and the list asked for again when it may be.
	expected<void> give_up(const error &why)
	{
		for (const pm_event &event : resync_.end(now_ns()))
			handle(event);
		++resyncs_.failed;
		resync_.ask();
		if (resyncs_.failed == 1 || resyncs_.failed % 100 == 0)
			say_(fmt::format("cannot read the connections back, so paths may be missing until that works "
					 "({} attempts have failed): {}",
					 resyncs_.failed, why.text));
		return {};
	}

	void say_what_was_done(std::size_t connections, const adoption &done)
	{
		const std::uint64_t now = now_ns();
		if (unsaid_lost_ == 0 && done.adopted == 0 && done.dropped == 0)
			return;
		if (said_ && now - said_ < second)
			return; // under an overload that lasts, once a second is enough
		said_ = now;
		say_(fmt::format("{}read {} connections back in {:.1f} ms: {} were not known, {} known ones are gone",
				 unsaid_lost_ ? fmt::format("lost {} events; ", unsaid_lost_) : "", connections,
				 static_cast<double>(resync_.took()) / 1e6, done.adopted, done.dropped));
		unsaid_lost_ = 0;
	}

	void look_at_all()
	{
		if (!std::exchange(look_at_all_, false))
			return;
		std::vector<std::uint32_t> tokens;
		manager_.for_each([&](const pm_connection &c) { tokens.push_back(c.token); });
		pm_event again{};
		again.type = PM_RETRY;
		for (const std::uint32_t token : tokens) {
			again.token = token;
			handle(again);
		}
	}

	// ---- status ----

	std::uint64_t announcements_missed() const
	{
		const std::uint64_t counted = received_.read().value_or(0);
		return counted > announcements_.heard ? counted - announcements_.heard : 0;
	}

	static void count_subflows(const pm_connection &c, service_status &s) noexcept
	{
		for (unsigned i = 0; i < c.subflows; ++i) {
			s.subflows += c.subflow[i].state == PM_SUBFLOW_ESTABLISHED;
			s.subflows_opening += c.subflow[i].state == PM_SUBFLOW_OPENING;
			s.subflows_closing += c.subflow[i].state == PM_SUBFLOW_CLOSING;
		}
	}

	static constexpr std::size_t smallest_charge = 512; // no event is charged less to a socket's buffer

	say_function say_;
	event_source events_;
	commander commands_;
	address_source addresses_;
	snapshot_reader reader_;
	const policy_info *policy_;
	pm_settings values_;
	std::vector<std::string> assignments_; // of which values_ was made
	std::size_t most_connections_;
	manager manager_;
	pacer pacer_{manager_};
	peers peers_;
	resync_state resync_;
	mib received_{"AddAddr"};
	std::function<void(const pm_command &)> emit_ = [this](const pm_command &command) { commands_.queue(command); };
	descriptor poll_, timer_, more_;
	std::optional<std::uint64_t> timer_due_;

	struct service_status::resyncs resyncs_;
	struct service_status::announcements announcements_;
	const std::uint64_t started_ = now_ns();
	std::uint64_t seen_lost_ = 0, unsaid_lost_ = 0, said_ = 0;
	std::size_t most_open_ = 0; // connections at once, since memory was last given back
	std::uint64_t missed_before_ = 0; // announcements, when the state was last read back
	bool missed_while_running_ = false, addresses_pending_ = false, look_at_all_ = false;
};

} // namespace

expected<std::unique_ptr<service>> service::start(const policy_info &policy, const manager_settings &settings,
						  say_function say)
{
	const auto values = make_settings(policy, settings.policy);
	if (!values)
		return tl::unexpected(values.error());
	// Listening comes first: what happens while the rest is set up is not missed.
	auto events = event_source::open(
		{.buffer_bytes = settings.buffer_bytes, .accept_replay = settings.accept_replay});
	if (!events)
		return tl::unexpected(events.error());
	auto commands = commander::open();
	if (!commands)
		return tl::unexpected(commands.error());
	auto addresses = address_source::open(settings.locals);
	if (!addresses)
		return tl::unexpected(addresses.error());
	auto reader = snapshot_reader::open();
	if (!reader)
		return tl::unexpected(reader.error());
	auto made = std::make_unique<netlink_service>(policy, *values, settings, std::move(say), std::move(*events),
						      std::move(*commands), std::move(*addresses), std::move(*reader));
	if (auto done = made->set_up(); !done)
		return tl::unexpected(done.error());
	return made;
}

} // namespace pm::netlink
