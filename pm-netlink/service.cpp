// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The loop of a path manager over netlink. What it waits with is in waiting.hpp; what a resync adopts in adoption.cpp; what
// is put off until a later time in pacing.hpp.
#include "pm-netlink/service.hpp"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#include "pm-netlink/address_source.hpp"
#include "pm-netlink/adoption.hpp"
#include "pm-netlink/announced_list.hpp"
#include "pm-netlink/clock.hpp"
#include "pm-netlink/commander.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mib.hpp"
#include "pm-netlink/pacing.hpp"
#include "pm-netlink/resync_state.hpp"
#include "pm-netlink/snapshot.hpp"
#include "pm-netlink/waiting.hpp"

namespace pm::netlink {

namespace {

constexpr std::uint64_t second = 1'000'000'000;

bool is_readable(int fd) noexcept
{
	pollfd one{fd, POLLIN, 0};
	return poll(&one, 1, 0) > 0;
}

class netlink_service final : public service {
public:
	netlink_service(const policy_info &policy, const pm_settings &values, const manager_settings &settings,
			say_function say, waiting with, std::unique_ptr<event_channel> events, commander commands,
			address_source addresses, snapshot_reader reader, announced_list announced)
		: say_(std::move(say)), waiting_(std::move(with)), events_(std::move(events)),
		  commands_(std::move(commands)), addresses_(std::move(addresses)), reader_(std::move(reader)),
		  announced_(std::move(announced)),
		  assignments_(settings.policy), manager_(policy, values, settings.most_connections)
	{
	}

	expected<void> set_up()
	{
		for (const int fd : {events_->fd(), addresses_.fd(), reader_.fd()})
			if (auto watched = waiting_.watch(fd); !watched)
				return watched;
		if (auto listed = list_addresses(); !listed)
			return listed;
		resync_.ask();
		waiting_.wake_up();
		return {};
	}

	int fd() const noexcept override { return waiting_.fd(); }

	expected<void> dispatch() override
	{
		waiting_.woke_up();
		if (is_readable(addresses_.fd()))
			if (auto done = hear_addresses(); !done)
				return done;
		bool more = true;
		for (unsigned round = 0; more && round < rounds; ++round) {
			// The kernel's buffer is what bounds a peer that causes commands faster than they are carried out.
			const bool busy = resync_.at() == step::idle && commands_.queued() >= most_queued;
			const std::size_t room = busy ? 0 : events_a_round;
			const auto read = events_->read(hear_, room);
			if (!read)
				return tl::unexpected(read.error());
			const auto sent = commands_.exchange([&](const command_answer &answer) { hear(answer); });
			if (!sent)
				return tl::unexpected(sent.error());
			more = (room > 0 && *read == room) || (*sent > 0 && commands_.queued() > 0);
		}
		// Only one that failed has left something unread.
		if (resyncs_.failed > 0 && resync_.at() != step::reading && is_readable(reader_.fd()))
			reader_.drop_rest();
		if (has_lost_more() || has_room_again())
			resync_.ask();
		if (auto done = proceed_with_resync(); !done)
			return done;
		if (resync_.at() == resync_state::step::idle)
			pacer_.retry_due(now_ns(), emit_);
		if (more || commands_.queued() > 0)
			waiting_.wake_up();
		else
			give_memory_back();
		set_timer();
		return {};
	}

	void ask_for_resync() override
	{
		resync_.ask_without_more_patience();
		waiting_.wake_up();
	}

	expected<void> change(const policy_info &policy, const manager_settings &settings) override
	{
		const auto values = make_settings(policy, settings.policy);
		if (!values)
			return tl::unexpected(values.error());
		auto addresses = address_source::open(settings.locals);
		if (!addresses)
			return tl::unexpected(addresses.error());
		if (auto watched = waiting_.watch(addresses->fd()); !watched)
			return watched;
		addresses_ = std::move(*addresses); // closing the old one takes it out of what is waited for
		assignments_ = settings.policy;
		if (settings.most_connections > manager_.most_connections())
			resync_.ask(); // for those that there was no room for
		manager_.change(policy, *values, settings.most_connections);
		look_at_all_ = true;
		addresses_pending_ = true;
		waiting_.wake_up();
		return {};
	}

	service_status status() override
	{
		service_status s;
		s.describe(manager_);
		s.uptime_ns = now_ns() - started_;
		s.pid = static_cast<std::uint64_t>(getpid());
		s.events = events_->counters();
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
		waiting_.wake_up_at(due);
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
		look_at_all_ = manager_.name_interfaces(assignments_) || look_at_all_;
		return {};
	}

	// ---- resync ----

	// Whether events were lost since this was last asked.
	bool has_lost_more()
	{
		const std::uint64_t lost = events_->counters().lost, more = lost - std::exchange(seen_lost_, lost);
		unsaid_lost_ += more;
		return more > 0;
	}

	// Whether there is room by now for connections that there was none for. Not for the first that comes: while others come
	// and go, that would read everything back for each.
	bool has_room_again()
	{
		const std::uint64_t refused = manager_.counted().table_full;
		missing_for_room_ = refused > std::exchange(seen_refused_, refused) || missing_for_room_;
		const std::size_t most = manager_.most_connections();
		return manager_.connections() < most - most / 8 && std::exchange(missing_for_room_, false);
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
			resync_.read(now);
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
		const std::size_t fits = events_->counters().buffer_bytes / events_->smallest_charge();
		const auto read = events_->read(hear_, fits);
		if (!read)
			return tl::unexpected(read.error());
		has_lost_more(); // still before the reading: this resync mends it
		resync_.begin(now);
		return {};
	}

	void finish_resync()
	{
		const snapshot listed = reader_.take();
		const std::uint64_t missed = announcements_missed();
		const bool lossy = missed > std::exchange(missed_before_, missed); // since the latest one
		const adoption done = adopt(listed, manager_, peers_, lossy,
					    [&](std::uint32_t token) { return announced_.of(token); },
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
		waiting_.wake_up();
	}

	// The kernel's list could not be read: what was put by is handled, and the list asked for again when it may be.
	expected<void> give_up(const error &why)
	{
		for (const pm_event &event : resync_.fail(now_ns()))
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
		for (const pm_event &event : manager_.look_at_all())
			handle(event);
	}

	// ---- status ----

	std::uint64_t announcements_missed() const
	{
		const std::uint64_t counted = received_.read().value_or(0);
		return counted > announcements_.heard ? counted - announcements_.heard : 0;
	}

	say_function say_;
	waiting waiting_;
	std::unique_ptr<event_channel> events_;
	commander commands_;
	address_source addresses_;
	snapshot_reader reader_;
	announced_list announced_;
	std::vector<std::string> assignments_; // of which the manager's settings were made
	manager manager_;
	pacer pacer_{manager_};
	peers peers_;
	resync_state resync_;
	mib received_{"AddAddr"};
	const event_channel::handler hear_ = [this](const pm_event &event) { hear(event); };
	std::function<void(const pm_command &)> emit_ = [this](const pm_command &command) { commands_.queue(command); };

	struct service_status::resyncs resyncs_;
	struct service_status::announcements announcements_;
	const std::uint64_t started_ = now_ns();
	std::uint64_t seen_lost_ = 0, unsaid_lost_ = 0, said_ = 0, seen_refused_ = 0;
	std::size_t most_open_ = 0; // connections at once, since memory was last given back
	std::uint64_t missed_before_ = 0; // announcements, when the state was last read back
	bool missed_while_running_ = false, missing_for_room_ = false;
	bool addresses_pending_ = false, look_at_all_ = false;
};

} // namespace

expected<std::unique_ptr<service>> service::start(const policy_info &policy, const manager_settings &settings,
						  say_function say, std::unique_ptr<event_channel> events)
{
	const auto values = make_settings(policy, settings.policy);
	if (!values)
		return tl::unexpected(values.error());
	// Listening comes first: what happens while the rest is set up is not missed.
	if (!events) {
		auto source = event_source::open(
			{.buffer_bytes = settings.buffer_bytes, .accept_replay = settings.accept_replay});
		if (!source)
			return tl::unexpected(source.error());
		events = std::make_unique<netlink_channel>(std::move(*source));
	}
	auto commands = commander::open();
	if (!commands)
		return tl::unexpected(commands.error());
	auto addresses = address_source::open(settings.locals);
	if (!addresses)
		return tl::unexpected(addresses.error());
	auto reader = snapshot_reader::open();
	if (!reader)
		return tl::unexpected(reader.error());
	auto announced = announced_list::open();
	if (!announced)
		return tl::unexpected(announced.error());
	auto with = waiting::create();
	if (!with)
		return tl::unexpected(with.error());
	auto made = std::make_unique<netlink_service>(policy, *values, settings, std::move(say), std::move(*with),
						      std::move(events), std::move(*commands), std::move(*addresses),
						      std::move(*reader), std::move(*announced));
	if (auto done = made->set_up(); !done)
		return tl::unexpected(done.error());
	return made;
}

} // namespace pm::netlink
