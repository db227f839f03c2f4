// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy in the kernel: loads the BPF programs, hands them events in batches through BPF_PROG_TEST_RUN and yields the
// results. The twin of pm::manager (pm-netlink/manager.hpp), with the connections in a BPF map.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "pm-netlink/manager.hpp"

namespace pm::bpf {

class engine {
public:
	struct options {
		std::uint32_t most_connections = 65536;
		bool stamp = true; // write the time (CLOCK_MONOTONIC) into each result; the benchmark does without
	};

	// Fails without CAP_BPF and CAP_NET_ADMIN, or where the kernel's verifier refuses the program (with its last words).
	[[nodiscard]] static expected<engine> load(const policy_info &policy, const pm_settings &settings,
						   const options &options);
	engine(engine &&) noexcept;
	engine &operator=(engine &&) noexcept;
	~engine();

	// Handles events in order, as many at once as there are, and calls take(const pm_result &) as manager::handle does.
	template <class Take>
	[[nodiscard]] expected<void> handle(std::span<const pm_event> events, Take &&take);

	[[nodiscard]] const tally &counted() const noexcept;
	// Nanoseconds inside the program, as the kernel measured them around all its runs so far.
	[[nodiscard]] std::uint64_t program_ns() const noexcept;
	[[nodiscard]] expected<std::size_t> connections() const;
	[[nodiscard]] std::uint32_t verified_instructions() const noexcept;
	// Memory of the connection map for each connection that it can hold, as the kernel accounts for it.
	[[nodiscard]] expected<double> map_bytes_per_connection() const;

	// For the benchmark: the batch itself, and one test run over its first `n` events. `n` may exceed the batch, which then
	// starts over. Yields the kernel's mean nanoseconds for an event.
	[[nodiscard]] std::span<pm_event, PM_BATCH> batch() noexcept;
	[[nodiscard]] std::span<const pm_result, PM_BATCH> results() const noexcept;
	[[nodiscard]] expected<std::uint32_t> run(std::uint32_t n);

private:
	struct impl;
	std::unique_ptr<impl> impl_;
	explicit engine(std::unique_ptr<impl>);

	// Runs a part of the events that fits the batch and leaves the namespace alone, or is one event about the namespace.
	[[nodiscard]] expected<void> run_part(std::span<const pm_event> part);
	[[nodiscard]] expected<std::vector<u32>> tokens() const;
	[[nodiscard]] static std::size_t part_length(std::span<const pm_event> events) noexcept;
	void count(const pm_result &result, bool event) noexcept;
};

template <class Take>
expected<void> engine::handle(std::span<const pm_event> events, Take &&take)
{
	while (!events.empty()) {
		const std::span<const pm_event> part = events.first(part_length(events));
		if (auto ran = run_part(part); !ran)
			return ran;
		for (std::size_t i = 0; i < part.size(); ++i) {
			count(results()[i], true);
			take(results()[i]);
		}
		events = events.subspan(part.size());
		if (results()[0].status != PM_LOCALS_CHANGED)
			continue;
		auto known = tokens();
		if (!known)
			return tl::unexpected(known.error());
		pm_event copy = part[0];
		copy.type = PM_LOCAL_ADDED;
		for (const u32 token : *known) {
			copy.token = token;
			if (auto ran = run_part({&copy, 1}); !ran)
				return ran;
			count(results()[0], false);
			take(results()[0]);
		}
	}
	return {};
}

} // namespace pm::bpf
