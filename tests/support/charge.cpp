// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/charge.hpp"

#include "tests/support/attachment.hpp"
#include "tests/support/kernel.hpp"

namespace pm::test {

namespace {

class by_daemon : public charge {
public:
	explicit by_daemon(daemon_process &process) : process_(process) {}
	std::uint64_t commands() const override { return process_.figure("/commands/sent"); }
	std::uint64_t connections() const override { return process_.figure("/connections/open"); }
	std::optional<std::uint64_t> subflows() const override { return process_.figure("/subflows/established"); }
	std::uint64_t memory_kib() const override { return process_.memory_kib(); }
	std::uint64_t times(happening what) const override
	{
		switch (what) {
		case happening::announcement: return process_.figure("/announcements/heard");
		case happening::no_room_for_announcement: return process_.figure("/handled/full_remotes");
		case happening::pair_exhausted: return process_.figure("/handled/exhausted");
		case happening::hold: return process_.figure("/holds");
		case happening::look: return process_.figure("/handled/events");
		case happening::retry: break;
		}
		return process_.figure("/retries/done");
	}
	void look_again() override { process_.resync(); }
	std::string troubles() const override
	{
		const auto status = process_.status();
		const auto lost = status.at("events").at("lost").get<std::uint64_t>();
		const auto &refused = status.at("commands").at("refused");
		return (lost ? std::to_string(lost) + " events lost; " : "") + (refused.empty() ? "" : refused.dump());
	}

private:
	daemon_process &process_;
};

class by_attachment : public charge {
public:
	by_attachment(const netns &where, const words &policy) : attached_(where, policy) {}
	std::uint64_t commands() const override
	{
		std::uint64_t sum = 0;
		const auto commands = attached_.status().at("commands");
		for (const auto &each : commands)
			sum += each.get<std::uint64_t>();
		return sum;
	}
	std::uint64_t connections() const override { return attached_.figure("/connections/open"); }
	std::optional<std::uint64_t> subflows() const override { return {}; }
	std::uint64_t memory_kib() const override { return unreclaimable_kib(); }
	bool memory_is_told() const override { return !kernel_checks_itself(); }
	std::uint64_t times(happening what) const override
	{
		switch (what) {
		case happening::announcement: return attached_.figure("/events/add_addr_received");
		case happening::no_room_for_announcement: return attached_.figure("/no_room/remote_address");
		case happening::pair_exhausted: return attached_.figure("/exhausted_pairs");
		case happening::hold: return attached_.figure("/holds");
		case happening::look: return attached_.figure("/looks/done");
		case happening::retry: break;
		}
		return attached_.figure("/retries");
	}
	// Nothing makes it, and nothing has to: it looks at what there is whenever it looks.
	void look_again() override { std::this_thread::sleep_for(std::chrono::milliseconds(300)); }
	std::string troubles() const override
	{
		const auto status = attached_.status();
		const auto &errors = status.at("errors"), &busy = status.at("looks").at("put_off_busy");
		return (errors.empty() ? "" : errors.dump()) + (busy == 0 ? "" : "; looks put off: " + busy.dump());
	}

private:
	attachment attached_;
};

} // namespace

std::unique_ptr<charge> take_charge(scene &of, means by, const words &policy, const netns *where)
{
	if (by == means::daemon)
		return std::make_unique<by_daemon>(of.manage(policy, where));
	return std::make_unique<by_attachment>(where ? *where : of.world.client, policy);
}

void expect_paths_to_stay(scene &of, charge &in_charge, const paths &expected)
{
	of.expect_paths_to_stay(expected, [&] { return in_charge.commands(); }, [&] { in_charge.look_again(); });
}

} // namespace pm::test
