// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/loader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pm-bpf/memlock.hpp"
#include "pm-bpf/pm.skel.h"
#include "pm-bpf/quiet.hpp"
#include "pm-bpf/verifier_log.hpp"

namespace pm::bpf {

namespace {

// An array map that is mapped into our memory: places that the kernel and we both see.
template <class T>
class mapped {
public:
	mapped() = default;
	mapped(mapped &&) = delete;
	~mapped()
	{
		if (places_)
			munmap(places_, size_);
	}

	expected<void> map(const bpf_map *map, std::uint32_t places)
	{
		const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
		size_ = (sizeof(T) * places + page - 1) / page * page;
		void *at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
		if (at == MAP_FAILED)
			return fail_errno(fmt::format("cannot map the BPF map {} into memory", bpf_map__name(map)));
		places_ = static_cast<T *>(at);
		return {};
	}

	T *get() const noexcept { return places_; }

private:
	T *places_ = nullptr;
	std::size_t size_ = 0;
};

static_assert(sizeof(pm_result) % 8 == 0 && sizeof(pm_event) % 8 == 0, "an array map rounds its values up to 8 bytes");

} // namespace

struct engine::impl {
	pm_bpf *skeleton = nullptr;
	int program = -1;
	mapped<pm_event> events;
	mapped<pm_result> results;
	std::string log = std::string(64 << 10, '\0');
	std::uint32_t instructions = 0;
	std::uint32_t most = 0;
	std::uint64_t program_ns = 0;
	pm::tally tally;

	~impl() { pm_bpf__destroy(skeleton); }

	bpf_program *choose(const policy_info &policy)
	{
		std::string name = fmt::format("pm_run_{}", policy.name);
		std::replace(name.begin(), name.end(), '-', '_');
		bpf_program *chosen = nullptr, *each = nullptr;
		bpf_object__for_each_program(each, skeleton->obj)
		{
			const bool wanted = name == bpf_program__name(each);
			bpf_program__set_autoload(each, wanted);
			if (wanted)
				chosen = each;
		}
		return chosen;
	}

	expected<void> load(const policy_info &policy, const engine::options &options)
	{
		skeleton = pm_bpf__open();
		if (!skeleton)
			return fail_errno("cannot open the BPF object");
		bpf_program *chosen = choose(policy);
		if (!chosen)
			return fail(fmt::format("policy {} was not compiled to BPF: rebuild pm-bpf/", policy.name));
		most = options.most_connections;
		bpf_map__set_max_entries(skeleton->maps.pm_connections, most);
		skeleton->rodata->pm_stamp = options.stamp;
		bpf_program__set_log_level(chosen, 4); // statistics only
		bpf_program__set_log_buf(chosen, log.data(), log.size());
		if (const int error = pm_bpf__load(skeleton)) {
			errno = -error;
			if (error == -EPERM)
				return fail("the kernel does not let this process load BPF programs: run as root, or "
					    "with CAP_BPF and "
					    "CAP_NET_ADMIN");
			return fail_errno(fmt::format("the kernel refused the BPF program of policy {} ({})",
						      policy.name, last_words(log)));
		}
		instructions = processed_instructions(log);
		log = {};
		program = bpf_program__fd(chosen);
		if (auto done = events.map(skeleton->maps.pm_events, PM_BATCH); !done)
			return done;
		return results.map(skeleton->maps.pm_results, PM_BATCH);
	}
};

engine::engine(std::unique_ptr<impl> made) : impl_(std::move(made)) {}
engine::engine(engine &&) noexcept = default;
engine &engine::operator=(engine &&) noexcept = default;
engine::~engine() = default;

expected<engine> engine::load(const policy_info &policy, const pm_settings &settings, const options &options)
{
	const quiet_libbpf quiet;
	auto made = std::make_unique<impl>();
	if (auto done = made->load(policy, options); !done)
		return tl::unexpected(done.error());
	const u32 zero = 0;
	if (bpf_map_update_elem(bpf_map__fd(made->skeleton->maps.pm_policy_settings), &zero, &settings, BPF_ANY) != 0)
		return fail_errno("cannot write the policy's settings into their BPF map");
	return engine{std::move(made)};
}

expected<std::uint32_t> engine::run(std::uint32_t n)
{
	impl_->skeleton->bss->pm_cursor = 0;
	unsigned char packet[64] = {}; // the program never looks at it, but a test run wants one
	LIBBPF_OPTS(bpf_test_run_opts, test, .data_in = packet, .data_size_in = sizeof packet,
		    .repeat = static_cast<int>(n));
	if (bpf_prog_test_run_opts(impl_->program, &test) != 0)
		return fail_errno("the kernel refused a test run of the BPF program");
	if (test.retval != 0)
		return fail("the BPF program found one of its maps missing: it was loaded wrongly");
	return test.duration;
}

expected<void> engine::run_part(std::span<const pm_event> part)
{
	std::copy(part.begin(), part.end(), impl_->events.get());
	const auto ran = run(static_cast<std::uint32_t>(part.size()));
	if (!ran)
		return tl::unexpected(ran.error());
	impl_->program_ns += std::uint64_t{*ran} * part.size();
	return {};
}

std::size_t engine::part_length(std::span<const pm_event> events) noexcept
{
	const auto about_namespace = [](const pm_event &event) {
		return event.token == 0 && PM_ABOUT_NAMESPACE(event.type);
	};
	if (about_namespace(events[0]))
		return 1;
	const auto most = events.first(std::min<std::size_t>(events.size(), PM_BATCH));
	return static_cast<std::size_t>(std::find_if(most.begin(), most.end(), about_namespace) - most.begin());
}

void engine::count(const pm_result &result, bool event) noexcept
{
	impl_->tally.events += event;
	impl_->tally.add(result);
}

expected<std::vector<u32>> engine::tokens() const
{
	const int map = bpf_map__fd(impl_->skeleton->maps.pm_connections);
	std::vector<u32> tokens;
	u32 token = 0;
	for (const u32 *last = nullptr; bpf_map_get_next_key(map, last, &token) == 0; last = &tokens.back())
		tokens.push_back(token);
	if (errno != ENOENT)
		return fail_errno("cannot list the connections in their BPF map");
	return tokens;
}

expected<std::size_t> engine::connections() const
{
	return tokens().map([](const std::vector<u32> &all) { return all.size(); });
}

expected<double> engine::map_bytes_per_connection() const
{
	const auto bytes = memlock_bytes(bpf_map__fd(impl_->skeleton->maps.pm_connections));
	if (!bytes)
		return fail("the kernel does not say how much memory a BPF map takes");
	return static_cast<double>(*bytes) / impl_->most;
}

const tally &engine::counted() const noexcept { return impl_->tally; }
std::uint64_t engine::program_ns() const noexcept { return impl_->program_ns; }
std::uint32_t engine::verified_instructions() const noexcept { return impl_->instructions; }
std::span<pm_event, PM_BATCH> engine::batch() noexcept
{
	return std::span<pm_event, PM_BATCH>{impl_->events.get(), PM_BATCH};
}
std::span<const pm_result, PM_BATCH> engine::results() const noexcept
{
	return std::span<const pm_result, PM_BATCH>{impl_->results.get(), PM_BATCH};
}

} // namespace pm::bpf
