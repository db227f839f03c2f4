// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The backends without a channel: `native` calls the engine in this process, `bpf` runs it in the kernel through test
// runs. Nothing can be lost on the way; what has no room in the table of connections is.
#include "pm-bpf/loader.hpp"
#include "replay/backend.hpp"
#include "replay/clock.hpp"

namespace pm::replay {

namespace {

// What both share: counting what comes out.
class direct : public backend {
public:
	explicit direct(const backend_options &options) : options_(options) {}

	expected<void> settle() override { return {}; }
	void end_load() override { report_.cpu_ns = used_ns(); }

protected:
	[[nodiscard]] virtual std::uint64_t used_ns() const = 0; // by the policy so far

	expected<void> open_log()
	{
		auto log = decision_log::create();
		if (!log)
			return tl::unexpected(log.error());
		report_.decisions.emplace(std::move(*log));
		return {};
	}

	void take(const pm_result &result, const due_event &event, std::uint64_t done_ns) noexcept
	{
		report_.decisions->add(result);
		if (result.status == PM_TABLE_FULL)
			return;
		++report_.delivered;
		report_.tail_delivered += event.tail;
		if (!event.tail)
			report_.latency.record(done_ns > event.due_ns ? done_ns - event.due_ns : 0);
	}

	expected<backend_report> conclude(const tally &counted)
	{
		report_.lost["table"] = counted.table_full;
		report_.counted = counted;
		return std::move(report_);
	}

	backend_options options_;
	backend_report report_;
};

class native_backend : public direct {
public:
	explicit native_backend(const backend_options &options)
		: direct(options), manager_(*options.policy, options.settings, options.most_connections)
	{
	}

	expected<void> start() override { return open_log(); }

	expected<void> change_local(const pm_event &event) override
	{
		const std::uint64_t before = thread_cpu_ns();
		manager_.handle(event, [&](const pm_result &result) { report_.decisions->add(result); });
		cpu_ns_ += thread_cpu_ns() - before;
		return {};
	}

	expected<void> offer(std::span<due_event> events) override
	{
		const std::uint64_t before = thread_cpu_ns();
		const std::uint64_t handed = now_ns();
		for (due_event &event : events) {
			if (event.due_ns == 0)
				event.due_ns = handed;
			manager_.handle(event.event, [&](const pm_result &result) { take(result, event, now_ns()); });
		}
		cpu_ns_ += thread_cpu_ns() - before;
		return {};
	}

	expected<backend_report> finish() override { return conclude(manager_.counted()); }

private:
	std::uint64_t used_ns() const override { return cpu_ns_; }

	manager manager_;
	std::uint64_t cpu_ns_ = 0;
};

class bpf_backend : public direct {
public:
	using direct::direct;

	expected<void> start() override
	{
		auto loaded =
			bpf::engine::load(*options_.policy, options_.settings,
					  {.most_connections = static_cast<std::uint32_t>(options_.most_connections)});
		if (!loaded)
			return tl::unexpected(loaded.error());
		engine_.emplace(std::move(*loaded));
		return open_log();
	}

	expected<void> change_local(const pm_event &event) override
	{
		return engine_->handle({&event, 1}, [&](const pm_result &result) { report_.decisions->add(result); });
	}

	expected<void> offer(std::span<due_event> events) override
	{
		batch_.clear();
		for (due_event &event : events) {
			if (event.due_ns == 0)
				event.due_ns = now_ns();
			batch_.push_back(event.event);
		}
		std::size_t next = 0;
		return engine_->handle(batch_, [&](const pm_result &result) {
			take(result, events[next], result.done_ns);
			++next;
		});
	}

	expected<backend_report> finish() override { return conclude(engine_->counted()); }

private:
	std::uint64_t used_ns() const override { return engine_->program_ns(); }

	std::optional<bpf::engine> engine_;
	std::vector<pm_event> batch_;
};

} // namespace

std::unique_ptr<backend> make_native_backend(const backend_options &options)
{
	return std::make_unique<native_backend>(options);
}

std::unique_ptr<backend> make_bpf_backend(const backend_options &options)
{
	return std::make_unique<bpf_backend>(options);
}

} // namespace pm::replay
