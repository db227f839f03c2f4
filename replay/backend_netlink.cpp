// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The backend `netlink`: events go through the real multicast group into our reader, and the engine runs behind it, on a
// thread and a processor of its own.
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pm-netlink/event_source.hpp"
#include "pm-netlink/socket_memory.hpp"
#include "replay/backend.hpp"
#include "replay/clock.hpp"
#include "replay/group_sender.hpp"

namespace pm::replay {

namespace {

// When each event was due, for the consumer, which finds an event's place by its number. More places than the largest
// buffer that pathlab takes (256 MiB, of which the kernel makes 512) holds events of 832 bytes: nothing in flight is
// overwritten.
class due_times {
public:
	void set(std::uint32_t seq, std::uint64_t due_ns, bool tail) noexcept
	{
		places_[seq % places_.size()].store(due_ns << 1 | tail, std::memory_order_relaxed);
	}
	std::pair<std::uint64_t, bool> get(std::uint32_t seq) const noexcept
	{
		const std::uint64_t place = places_[seq % places_.size()].load(std::memory_order_relaxed);
		return {place >> 1, place & 1};
	}

private:
	std::vector<std::atomic<std::uint64_t>> places_ = std::vector<std::atomic<std::uint64_t>>(std::size_t{1} << 20);
};

// The consumer: the reader and the engine, as a path manager would have them.
class consumer {
public:
	consumer(const backend_options &options, netlink::event_source source, descriptor changed, decision_log log,
		 const due_times &due)
		: source_(std::move(source)), changed_(std::move(changed)),
		  manager_(*options.policy, options.settings, options.most_connections), due_(due)
	{
		report_.decisions.emplace(std::move(log));
	}

	int socket() const noexcept { return source_.fd(); }

	// An address change takes effect between the events around it, although it does not come with them.
	void change_local(const pm_event &event)
	{
		{
			const std::lock_guard hold{mutex_};
			changes_.push_back(event);
			next_change_.store(changes_.front().seq, std::memory_order_release);
		}
		eventfd_write(changed_.get(), 1);
	}

	void run(int stop)
	{
		pollfd waiting[] = {{source_.fd(), POLLIN, 0}, {stop, POLLIN, 0}, {changed_.get(), POLLIN, 0}};
		for (bool stopping = false; !stopping;) {
			poll(waiting, 3, -1);
			stopping = waiting[1].revents != 0;
			if (eventfd_t changes = 0; waiting[2].revents)
				eventfd_read(changed_.get(), &changes);
			const std::uint32_t last_known = last_change();
			const auto read = source_.drain([this](const pm_event &event) noexcept { handle(event); });
			if (!read) {
				failed_ = read.error();
				break;
			}
			change_up_to(last_known); // all that was sent before is behind us
		}
	}

	expected<backend_report> conclude()
	{
		if (failed_)
			return tl::unexpected(*failed_);
		const netlink::event_counters &counters = source_.counters();
		std::uint64_t refused = counters.foreign_sender;
		for (const std::uint64_t reason : counters.refused)
			refused += reason;
		report_.delivered = counters.delivered - manager_.counted().table_full;
		report_.lost["socket"] = counters.lost;
		report_.lost["refused"] = refused;
		report_.lost["table"] = manager_.counted().table_full;
		report_.counted = manager_.counted();
		return std::move(report_);
	}

private:
	void handle(const pm_event &event) noexcept
	{
		if (next_change_.load(std::memory_order_acquire) < event.seq)
			change_up_to(event.seq);
		manager_.handle(event, [&](const pm_result &result) {
			report_.decisions->add(result);
			if (result.status == PM_TABLE_FULL)
				return;
			const auto [due, tail] = due_.get(event.seq);
			report_.tail_delivered += tail;
			if (tail)
				return;
			const std::uint64_t now = now_ns();
			report_.latency.record(now > due ? now - due : 0);
		});
	}

	std::uint32_t last_change()
	{
		if (next_change_.load(std::memory_order_acquire) == UINT32_MAX)
			return 0;
		const std::lock_guard hold{mutex_};
		return changes_.empty() ? 0 : changes_.back().seq;
	}

	void change_up_to(std::uint32_t seq)
	{
		if (next_change_.load(std::memory_order_acquire) > seq)
			return;
		const std::lock_guard hold{mutex_};
		for (; !changes_.empty() && changes_.front().seq <= seq; changes_.pop_front())
			manager_.handle(changes_.front(),
					[&](const pm_result &result) { report_.decisions->add(result); });
		next_change_.store(changes_.empty() ? UINT32_MAX : changes_.front().seq, std::memory_order_release);
	}

	netlink::event_source source_;
	descriptor changed_; // an eventfd: there is a change to take over
	manager manager_;
	const due_times &due_;
	backend_report report_;
	std::optional<error> failed_;
	std::mutex mutex_;
	std::deque<pm_event> changes_;
	std::atomic<std::uint32_t> next_change_{UINT32_MAX};
};

class netlink_backend : public backend {
public:
	explicit netlink_backend(const backend_options &options) : options_(options) {}

	~netlink_backend() override { stop(); }

	expected<void> start() override
	{
		auto source = netlink::event_source::open(
			{.buffer_bytes = options_.buffer_bytes, .accept_replay = true});
		if (!source)
			return tl::unexpected(source.error());
		auto log = decision_log::create();
		if (!log)
			return tl::unexpected(log.error());
		auto sender = group_sender::open();
		if (!sender)
			return tl::unexpected(sender.error());
		sender_.emplace(std::move(*sender));
		stop_ = descriptor{eventfd(0, EFD_CLOEXEC)};
		descriptor changed{eventfd(0, EFD_CLOEXEC)};
		if (!stop_ || !changed)
			return fail_errno("cannot create an eventfd for the consumer");
		consumer_ = std::make_unique<consumer>(options_, std::move(*source), std::move(changed),
						       std::move(*log), due_);
		thread_ = std::thread{[this] {
			stay_on_cpu(receiving_cpu);
			consumer_->run(stop_.get());
		}};
		return {};
	}

	expected<void> change_local(const pm_event &event) override
	{
		consumer_->change_local(event);
		return {};
	}

	expected<void> offer(std::span<due_event> events) override
	{
		for (due_event &event : events) {
			if (event.due_ns == 0)
				event.due_ns = now_ns();
			due_.set(event.event.seq, event.due_ns, event.tail);
		}
		return sender_->send(events);
	}

	// The reader empties its socket; a second without progress means that it does not.
	expected<void> settle() override
	{
		std::uint64_t moved = now_ns();
		for (std::uint32_t last = UINT32_MAX; now_ns() - moved < 1'000'000'000;) {
			const std::uint32_t queued = memory_of(consumer_->socket()).queued_bytes;
			if (queued == 0)
				return {};
			if (queued != last)
				moved = now_ns();
			last = queued;
			usleep(200);
		}
		return {};
	}

	void end_load() override
	{
		clockid_t clock{};
		if (pthread_getcpuclockid(thread_.native_handle(), &clock) == 0)
			cpu_ns_ = nanoseconds(clock);
	}

	expected<backend_report> finish() override
	{
		stop();
		auto report = consumer_->conclude();
		if (report)
			report->cpu_ns = cpu_ns_;
		return report;
	}

private:
	void stop()
	{
		if (!thread_.joinable())
			return;
		eventfd_write(stop_.get(), 1);
		thread_.join();
	}

	backend_options options_;
	due_times due_;
	std::optional<group_sender> sender_;
	descriptor stop_;
	std::unique_ptr<consumer> consumer_;
	std::thread thread_;
	std::uint64_t cpu_ns_ = 0; // of the thread, which does nothing else
};

} // namespace

std::unique_ptr<backend> make_netlink_backend(const backend_options &options)
{
	return std::make_unique<netlink_backend>(options);
}

} // namespace pm::replay
